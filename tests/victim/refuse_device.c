/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: an unknown device. */
#include "victim.h"

int main(void)
{
	if (open("/dev/kmsg", O_RDONLY | O_NONBLOCK) < 0)
		skip("no /dev/kmsg");
	move();
	return done();
}
