/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: a signalfd. */
#include "victim.h"
#include <sys/signalfd.h>

int main(void)
{
	sigset_t set;

	sigemptyset(&set);
	must(signalfd(-1, &set, 0) >= 0);
	move();
	return done();
}
