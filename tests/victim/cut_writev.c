/* SPDX-License-Identifier: Apache-2.0 */
/* A big writev() to a pipe, cut short in the middle of a vector, is completed. */
#include "victim.h"
#include <sys/uio.h>

#define TOTAL (768 * 1024)

static int ends[2];
static uint8_t *sent;

static long do_call(void *arg)
{
	struct iovec v[4] = {
		{ sent, 100001 },
		{ sent + 100001, 0 },
		{ sent + 100001, 300000 },
		{ sent + 400001, TOTAL - 400001 },
	};

	(void)arg;
	return writev(ends[1], v, 4);
}

/* Takes all out of the pipe in odd pieces. */
static void drain(uint8_t *got)
{
	size_t have = 0;
	ssize_t n;

	while (have < TOTAL) {
		n = read(ends[0], got + have, TOTAL - have < 5000 ? TOTAL - have : 5000);
		check(n > 0, "the pipe gave %zd after %zu bytes", n, have);
		have += (size_t)n;
	}
}

int main(void)
{
	struct caller c = { .call = do_call };
	uint8_t *got = malloc(TOTAL);

	sent = map(TOTAL, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	pattern_fill(sent, TOTAL, 11);
	must(pipe(ends) == 0);
	caller_start(&c, SYS_writev);
	caller_move(&c, SYS_writev);
	drain(got);
	caller_join(&c);
	check(c.ret == TOTAL, "the call returned %ld, %s", c.ret, strerror(c.err));
	check(!memcmp(sent, got, TOTAL), "other bytes came out of the pipe");
	return done();
}
