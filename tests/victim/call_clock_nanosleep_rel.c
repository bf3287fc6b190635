/* SPDX-License-Identifier: Apache-2.0 */
/* A relative clock_nanosleep() on CLOCK_BOOTTIME. */
#include "victim.h"

static long do_call(void *arg)
{
	struct timespec t = timespec_ns(TIMED_MS * MS);

	(void)arg;
	return clock_nanosleep(CLOCK_BOOTTIME, 0, &t, NULL);
}

int main(void)
{
	struct caller c = { .call = do_call };

	caller_start(&c, SYS_clock_nanosleep);
	caller_move_timed(&c, SYS_clock_nanosleep);
	check_eq(c.ret, 0);
	return done();
}
