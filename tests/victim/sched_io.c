/* SPDX-License-Identifier: Apache-2.0 */
/* The I/O priority of each thread. */
#include "victim.h"

static long get(void)
{
	return syscall(SYS_ioprio_get, 1, 0);
}

int main(void)
{
	long before;

	if (syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6) < 0)
		skip("no I/O priorities");
	before = get();
	must(before == (2 << 13 | 6));
	move();
	if (sabotaged())
		syscall(SYS_ioprio_set, 1, 0, 3 << 13);
	check_eq(get(), before);
	return done();
}
