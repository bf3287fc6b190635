/* SPDX-License-Identifier: Apache-2.0 */
/* pause() ends only by the signal sent after the move. */
#include "victim.h"

static volatile int handled;

static void on_signal(int sig)
{
	handled = sig;
}

static long do_pause(void *arg)
{
	(void)arg;
	return pause();
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct caller c = { .call = do_pause };

	sigaction(SIGRTMIN + 1, &act, NULL);
	caller_start(&c, SYS_pause);
	caller_move(&c, SYS_pause);
	check_eq(handled, 0);
	pthread_kill(c.thread, SIGRTMIN + 1);
	caller_join(&c);
	check_eq(c.err, EINTR);
	check_eq(handled, SIGRTMIN + 1);
	return done();
}
