/* SPDX-License-Identifier: Apache-2.0 */
/* pselect() with a timeout and a signal mask of its own. */
#include "victim.h"
#include <sys/select.h>

static int ends[2];

static long do_call(void *arg)
{
	struct timespec t = timespec_ns(TIMED_MS * MS);
	sigset_t mask;
	fd_set set;

	(void)arg;
	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	sigfillset(&mask);
	sigdelset(&mask, SIGUSR2);
	return pselect(ends[0] + 1, &set, NULL, NULL, &t, &mask);
}

int main(void)
{
	struct caller c = { .call = do_call };

	must(pipe(ends) == 0);
	caller_start(&c, SYS_pselect6);
	caller_move_timed(&c, SYS_pselect6);
	check_eq(c.ret, 0);
	return done();
}
