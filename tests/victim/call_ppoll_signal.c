/* SPDX-License-Identifier: Apache-2.0 */
/* A signal that only the mask of ppoll() lets through ends it after the move. */
#include "victim.h"
#include <poll.h>

static int ends[2];
static volatile int handled;

static void on_signal(int sig)
{
	handled = sig;
}

static long do_ppoll(void *arg)
{
	struct pollfd p = { .fd = ends[0], .events = POLLIN };
	sigset_t mask, blocked, now;
	long n;
	int err;

	(void)arg;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	sigemptyset(&mask);
	n = ppoll(&p, 1, NULL, &mask);
	err = errno;
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	check(sigismember(&now, SIGRTMIN) == 1, "the mask of before ppoll did not come back");
	errno = err;
	return n;
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_signal };
	struct caller c = { .call = do_ppoll };

	must(pipe(ends) == 0);
	sigaction(SIGRTMIN, &act, NULL);
	caller_start(&c, SYS_ppoll);
	caller_move(&c, SYS_ppoll);
	pthread_kill(c.thread, SIGRTMIN);
	caller_join(&c);
	check_eq(c.ret, -1);
	check_eq(c.err, EINTR);
	check_eq(handled, SIGRTMIN);
	return done();
}
