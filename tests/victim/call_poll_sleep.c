/* SPDX-License-Identifier: Apache-2.0 */
/* poll() of nothing, used to sleep. */
#include "victim.h"
#include <poll.h>

static long do_call(void *arg)
{
	(void)arg;
	return poll(NULL, 0, (int)TIMED_MS);
}

int main(void)
{
	struct caller c = { .call = do_call };

	caller_start(&c, SYS_poll);
	caller_move_timed(&c, SYS_poll);
	check_eq(c.ret, 0);
	return done();
}
