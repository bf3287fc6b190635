/* SPDX-License-Identifier: Apache-2.0 */
/* A sleep whose thread may not call restart_syscall(), by which the kernel would go on with it, sleeps on. */
#include "seccomp.h"

static long do_call(void *arg)
{
	struct timespec t = timespec_ns(300 * MS);

	(void)arg;
	forbid(SYS_restart_syscall, SECCOMP_RET_ERRNO | 77, 0);
	return syscall(SYS_nanosleep, &t, NULL);
}

int main(void)
{
	struct caller c = { .call = do_call };

	caller_start(&c, SYS_nanosleep);
	move();
	if (sabotaged())
		pthread_kill(c.thread, SIGUSR2);
	caller_join(&c);
	check(c.ret == 0, "the call returned %ld, %s", c.ret, strerror(c.err));
	return done();
}
