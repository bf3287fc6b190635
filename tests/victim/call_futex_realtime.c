/* SPDX-License-Identifier: Apache-2.0 */
/* FUTEX_WAIT_BITSET until a moment of CLOCK_REALTIME, as pthread_cond_timedwait() does. */
#include "victim.h"
#include <linux/futex.h>

static int word = 1;

static long do_call(void *arg)
{
	struct timespec t = timespec_ns(clock_ns(CLOCK_REALTIME) + TIMED_MS * MS);

	(void)arg;
	return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 1, &t, NULL, -1);
}

int main(void)
{
	struct caller c = { .call = do_call };

	caller_start(&c, SYS_futex);
	caller_move_timed(&c, SYS_futex);
	check_eq(c.ret, -1);
	check_eq(c.err, ETIMEDOUT);
	return done();
}
