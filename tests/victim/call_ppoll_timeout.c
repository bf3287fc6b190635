/* SPDX-License-Identifier: Apache-2.0 */
/* ppoll() with a timeout and a signal mask of its own. */
#include "victim.h"
#include <poll.h>

static int ends[2];

static long do_call(void *arg)
{
	struct pollfd p = { .fd = ends[0], .events = POLLIN };
	struct timespec t = timespec_ns(TIMED_MS * MS);
	sigset_t mask;

	(void)arg;
	sigfillset(&mask);
	sigdelset(&mask, SIGUSR2);
	return ppoll(&p, 1, &t, &mask);
}

int main(void)
{
	struct caller c = { .call = do_call };

	must(pipe(ends) == 0);
	caller_start(&c, SYS_ppoll);
	caller_move_timed(&c, SYS_ppoll);
	check_eq(c.ret, 0);
	return done();
}
