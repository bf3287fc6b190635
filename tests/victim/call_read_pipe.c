/* SPDX-License-Identifier: Apache-2.0 */
/* A thread in read() of an empty pipe gets what is written later. */
#include "victim.h"

static int ends[2];
static char got[16];

static long do_read(void *arg)
{
	(void)arg;
	return read(ends[0], got, sizeof(got));
}

int main(void)
{
	struct caller c = { .call = do_read };

	must(pipe(ends) == 0);
	caller_start(&c, SYS_read);
	caller_move(&c, SYS_read);
	must(write(ends[1], "after", 5) == 5);
	caller_join(&c);
	check_eq(c.ret, 5);
	check(!memcmp(got, "after", 5), "got %.5s", got);
	return done();
}
