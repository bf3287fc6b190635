/* SPDX-License-Identifier: Apache-2.0 */
/* A thread in readv() of an empty pipe fills its vectors in order. */
#include "victim.h"
#include <sys/uio.h>

static int ends[2];
static char first[3], second[13];

static long do_readv(void *arg)
{
	struct iovec v[2] = { { first, sizeof(first) }, { second, sizeof(second) } };

	(void)arg;
	return readv(ends[0], v, 2);
}

int main(void)
{
	struct caller c = { .call = do_readv };

	must(pipe(ends) == 0);
	caller_start(&c, SYS_readv);
	caller_move(&c, SYS_readv);
	must(write(ends[1], "abcdef", 6) == 6);
	caller_join(&c);
	check_eq(c.ret, 6);
	check(!memcmp(first, "abc", 3) && !memcmp(second, "def", 3), "got %.3s and %.3s", first, second);
	return done();
}
