/* SPDX-License-Identifier: Apache-2.0 */
/* poll() without timeout of several pipes reports the one that becomes ready. */
#include "victim.h"
#include <poll.h>

static int pipes[5][2];
static struct pollfd polled[5];

static long do_poll(void *arg)
{
	(void)arg;
	return poll(polled, 5, -1);
}

int main(void)
{
	struct caller c = { .call = do_poll };

	for (int i = 0; i < 5; i++) {
		must(pipe(pipes[i]) == 0);
		polled[i] = (struct pollfd) { .fd = pipes[i][0], .events = POLLIN };
	}
	caller_start(&c, SYS_poll);
	caller_move(&c, SYS_poll);
	must(write(pipes[3][1], "x", 1) == 1);
	caller_join(&c);
	check_eq(c.ret, 1);
	for (int i = 0; i < 5; i++)
		check_eq(polled[i].revents, i == 3 ? POLLIN : 0);
	return done();
}
