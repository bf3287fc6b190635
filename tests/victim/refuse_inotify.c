/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: an inotify instance. */
#include "victim.h"
#include <sys/inotify.h>

int main(void)
{
	must(inotify_init1(0) >= 0);
	move();
	return done();
}
