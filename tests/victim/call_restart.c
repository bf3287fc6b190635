/* SPDX-License-Identifier: Apache-2.0 */
/* A handler with SA_RESTART runs after the move in the middle of a read(), which goes on. */
#include "victim.h"

static int ends[2];
static volatile int handled;
static char got;

static void on_signal(int sig)
{
	handled = sig;
}

static long do_read(void *arg)
{
	(void)arg;
	return read(ends[0], &got, 1);
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct caller c = { .call = do_read };

	must(pipe(ends) == 0);
	sigaction(SIGRTMIN, &act, NULL);
	caller_start(&c, SYS_read);
	caller_move(&c, SYS_read);
	pthread_kill(c.thread, SIGRTMIN);
	while (!handled)
		sched_yield();
	await_call(c.tid, SYS_read, &c.ended);
	check(!c.ended, "read returned %ld, %s", c.ret, strerror(c.err));
	must(write(ends[1], "r", 1) == 1);
	caller_join(&c);
	check_eq(c.ret, 1);
	check_eq(got, 'r');
	return done();
}
