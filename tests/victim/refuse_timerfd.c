/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: a timerfd. */
#include "victim.h"
#include <sys/timerfd.h>

int main(void)
{
	must(timerfd_create(CLOCK_MONOTONIC, 0) >= 0);
	move();
	return done();
}
