/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: an asynchronous I/O context. */
#include "victim.h"

int main(void)
{
	unsigned long context = 0;

	if (syscall(SYS_io_setup, 8, &context) < 0)
		skip("no asynchronous I/O");
	move();
	return done();
}
