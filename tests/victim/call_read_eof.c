/* SPDX-License-Identifier: Apache-2.0 */
/* A thread in read() of a pipe sees its end when the last writer closes it after the move. */
#include "victim.h"

static int ends[2];

static long do_read(void *arg)
{
	char c;

	(void)arg;
	return read(ends[0], &c, 1);
}

int main(void)
{
	struct caller c = { .call = do_read };

	must(pipe(ends) == 0);
	caller_start(&c, SYS_read);
	caller_move(&c, SYS_read);
	close(ends[1]);
	caller_join(&c);
	check_eq(c.ret, 0);
	return done();
}
