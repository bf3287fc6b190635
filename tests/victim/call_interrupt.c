/* SPDX-License-Identifier: Apache-2.0 */
/* A handler without SA_RESTART that runs after the move ends read() with EINTR. */
#include "victim.h"

static int ends[2];
static volatile int handled;

static void on_signal(int sig)
{
	handled = sig;
}

static long do_read(void *arg)
{
	char c;

	(void)arg;
	return read(ends[0], &c, 1);
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_signal };
	struct caller c = { .call = do_read };

	must(pipe(ends) == 0);
	sigaction(SIGRTMIN, &act, NULL);
	caller_start(&c, SYS_read);
	caller_move(&c, SYS_read);
	check_eq(handled, 0);
	pthread_kill(c.thread, SIGRTMIN);
	caller_join(&c);
	check_eq(c.ret, -1);
	check_eq(c.err, EINTR);
	check_eq(handled, SIGRTMIN);
	return done();
}
