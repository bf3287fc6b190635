/* SPDX-License-Identifier: Apache-2.0 */
/* select() with a timeout, which the kernel writes back. */
#include "victim.h"
#include <sys/select.h>

static int ends[2];
static long left_us = -1;

static long do_call(void *arg)
{
	struct timeval t = { .tv_sec = TIMED_MS / 1000, .tv_usec = TIMED_MS % 1000 * 1000 };
	fd_set set;
	long n;

	(void)arg;
	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	n = syscall(SYS_select, ends[0] + 1, &set, NULL, NULL, &t);
	left_us = t.tv_sec * 1000000 + t.tv_usec;
	return n;
}

int main(void)
{
	struct caller c = { .call = do_call };

	must(pipe(ends) == 0);
	caller_start(&c, SYS_select);
	caller_move_timed(&c, SYS_select);
	check_eq(c.ret, 0);
	check_eq(left_us, 0);
	return done();
}
