/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: an epoll instance. */
#include "victim.h"
#include <sys/epoll.h>

int main(void)
{
	must(epoll_create1(0) >= 0);
	move();
	return done();
}
