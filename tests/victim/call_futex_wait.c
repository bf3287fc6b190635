/* SPDX-License-Identifier: Apache-2.0 */
/* FUTEX_WAIT without timeout is woken by a FUTEX_WAKE after the move, and by nothing else. */
#include "victim.h"
#include <linux/futex.h>

static int word = 1;

static long do_wait(void *arg)
{
	(void)arg;
	return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
}

int main(void)
{
	struct caller c = { .call = do_wait };

	caller_start(&c, SYS_futex);
	caller_move(&c, SYS_futex);
	check_eq(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 1);
	caller_join(&c);
	check_eq(c.ret, 0);
	return done();
}
