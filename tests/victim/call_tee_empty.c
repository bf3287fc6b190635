/* SPDX-License-Identifier: Apache-2.0 */
/* A tee() between two pipes that waits for something to come into the first. */
#include "victim.h"

static int in[2], out[2];

static long do_call(void *arg)
{
	(void)arg;
	return tee(in[0], out[1], 4096, 0);
}

int main(void)
{
	struct caller c = { .call = do_call };
	char got[16];

	must(pipe(in) == 0 && pipe(out) == 0);
	caller_start(&c, SYS_tee);
	caller_move(&c, SYS_tee);
	must(write(in[1], "through", 7) == 7);
	caller_join(&c);
	check(c.ret == 7, "the call returned %ld, %s", c.ret, strerror(c.err));
	must(read(out[0], got, sizeof(got)) == 7);
	check(!memcmp(got, "through", 7), "got %.7s", got);
	must(fcntl(in[0], F_SETFL, O_NONBLOCK) == 0);
	check(read(in[0], got, sizeof(got)) == 7, "it is not still in the first pipe");
	return done();
}
