/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: an io_uring. */
#include "victim.h"

int main(void)
{
	uint8_t params[120] = { 0 };

	if (syscall(425 /* io_uring_setup */, 4, params) < 0)
		skip("no io_uring");
	move();
	return done();
}
