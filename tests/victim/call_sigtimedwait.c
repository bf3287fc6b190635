/* SPDX-License-Identifier: Apache-2.0 */
/* sigtimedwait() for a signal that does not come, with a timeout. */
#include "victim.h"

static long do_call(void *arg)
{
	struct timespec t = timespec_ns(TIMED_MS * MS);
	sigset_t set;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	return sigtimedwait(&set, NULL, &t);
}

int main(void)
{
	struct caller c = { .call = do_call };

	caller_start(&c, SYS_rt_sigtimedwait);
	caller_move_timed(&c, SYS_rt_sigtimedwait);
	check_eq(c.ret, -1);
	check_eq(c.err, EAGAIN);
	return done();
}
