/* SPDX-License-Identifier: Apache-2.0 */
/* clock_nanosleep() until a moment of CLOCK_REALTIME. */
#include "victim.h"

static long do_call(void *arg)
{
	struct timespec t = timespec_ns(clock_ns(CLOCK_REALTIME) + TIMED_MS * MS);

	(void)arg;
	return clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL);
}

int main(void)
{
	struct caller c = { .call = do_call };

	caller_start(&c, SYS_clock_nanosleep);
	caller_move_timed(&c, SYS_clock_nanosleep);
	check_eq(c.ret, 0);
	return done();
}
