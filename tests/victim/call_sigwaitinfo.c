/* SPDX-License-Identifier: Apache-2.0 */
/* sigwaitinfo() without timeout gets the signal queued after the move, with its value. */
#include "victim.h"

static siginfo_t got;

static long do_wait(void *arg)
{
	sigset_t set;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	return sigwaitinfo(&set, &got);
}

int main(void)
{
	struct caller c = { .call = do_wait };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	caller_start(&c, SYS_rt_sigtimedwait);
	caller_move(&c, SYS_rt_sigtimedwait);
	must(sigqueue(getpid(), SIGRTMIN, (union sigval) { .sival_int = 4711 }) == 0);
	caller_join(&c);
	check_eq(c.ret, SIGRTMIN);
	check_eq(got.si_value.sival_int, 4711);
	check_eq(got.si_code, SI_QUEUE);
	return done();
}
