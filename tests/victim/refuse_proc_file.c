/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: a file of /proc that says who it is. */
#include "victim.h"

int main(void)
{
	must(open("/proc/1/status", O_RDONLY) >= 0);
	move();
	return done();
}
