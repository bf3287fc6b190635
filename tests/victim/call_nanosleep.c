/* SPDX-License-Identifier: Apache-2.0 */
/* nanosleep() without a place for the rest sleeps exactly what was left. */
#include "victim.h"

static long do_call(void *arg)
{
	struct timespec t = timespec_ns(TIMED_MS * MS);

	(void)arg;
	return nanosleep(&t, NULL);
}

int main(void)
{
	struct caller c = { .call = do_call };

	caller_start(&c, SYS_clock_nanosleep);
	caller_move_timed(&c, SYS_clock_nanosleep);
	check_eq(c.ret, 0);
	return done();
}
