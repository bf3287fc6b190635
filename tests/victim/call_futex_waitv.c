/* SPDX-License-Identifier: Apache-2.0 */
/* futex_waitv() on two words until a moment of CLOCK_MONOTONIC. */
#include "victim.h"
#include <linux/futex.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

static int words[2] = { 1, 2 };

static long do_call(void *arg)
{
	struct timespec t = timespec_ns(now_ns() + TIMED_MS * MS);
	struct futex_waitv v[2] = {
		{ .val = 1, .uaddr = (uintptr_t)&words[0], .flags = FUTEX_32 },
		{ .val = 2, .uaddr = (uintptr_t)&words[1], .flags = FUTEX_32 },
	};

	(void)arg;
	return syscall(SYS_futex_waitv, v, 2, 0, &t, CLOCK_MONOTONIC);
}

int main(void)
{
	struct caller c = { .call = do_call };

	if (syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) < 0 && errno == ENOSYS)
		skip("the kernel has no futex_waitv");
	caller_start(&c, SYS_futex_waitv);
	caller_move_timed(&c, SYS_futex_waitv);
	check_eq(c.ret, -1);
	check_eq(c.err, ETIMEDOUT);
	return done();
}
