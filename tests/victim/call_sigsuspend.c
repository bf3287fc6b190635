/* SPDX-License-Identifier: Apache-2.0 */
/* sigsuspend() keeps its mask across the move and gives the old one back afterwards. */
#include "victim.h"

static volatile int order[4], count;

static void on_signal(int sig)
{
	order[count++ & 3] = sig;
}

static long do_suspend(void *arg)
{
	sigset_t set, now;

	(void)arg;
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGRTMIN + 1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigdelset(&set, SIGRTMIN + 1); /* so SIGRTMIN alone stays blocked */
	sigsuspend(&set);
	check_eq(count, 1);
	check_eq(order[0], SIGRTMIN + 1);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	check(sigismember(&now, SIGRTMIN + 1) == 1, "the old mask did not come back");
	pthread_sigmask(SIG_UNBLOCK, &now, NULL);
	check_eq(count, 2);
	return 0;
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_signal };
	struct caller c = { .call = do_suspend };

	sigaction(SIGRTMIN, &act, NULL);
	sigaction(SIGRTMIN + 1, &act, NULL);
	caller_start(&c, SYS_rt_sigsuspend);
	pthread_kill(c.thread, SIGRTMIN);
	caller_move(&c, SYS_rt_sigsuspend);
	pthread_kill(c.thread, SIGRTMIN + 1);
	caller_join(&c);
	return done();
}
