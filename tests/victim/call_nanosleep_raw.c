/* SPDX-License-Identifier: Apache-2.0 */
/* The nanosleep system call itself, of which libc makes no use. */
#include "victim.h"

static long do_call(void *arg)
{
	struct timespec t = timespec_ns(TIMED_MS * MS);

	(void)arg;
	return syscall(SYS_nanosleep, &t, NULL);
}

int main(void)
{
	struct caller c = { .call = do_call };

	caller_start(&c, SYS_nanosleep);
	caller_move_timed(&c, SYS_nanosleep);
	check_eq(c.ret, 0);
	return done();
}
