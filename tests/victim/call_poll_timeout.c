/* SPDX-License-Identifier: Apache-2.0 */
/* poll() of an empty pipe with a timeout. */
#include "victim.h"
#include <poll.h>

static int ends[2];

static long do_call(void *arg)
{
	struct pollfd p = { .fd = ends[0], .events = POLLIN };

	(void)arg;
	return poll(&p, 1, (int)TIMED_MS);
}

int main(void)
{
	struct caller c = { .call = do_call };

	must(pipe(ends) == 0);
	caller_start(&c, SYS_poll);
	caller_move_timed(&c, SYS_poll);
	check_eq(c.ret, 0);
	return done();
}
