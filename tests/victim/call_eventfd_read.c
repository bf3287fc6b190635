/* SPDX-License-Identifier: Apache-2.0 */
/* A read() of an eventfd at zero gets what is added after the move. */
#include "victim.h"
#include <sys/eventfd.h>

static int fd;
static uint64_t got;

static long do_read(void *arg)
{
	(void)arg;
	return read(fd, &got, sizeof(got));
}

int main(void)
{
	struct caller c = { .call = do_read };
	uint64_t add = 42;

	fd = eventfd(0, 0);
	must(fd >= 0);
	caller_start(&c, SYS_read);
	caller_move(&c, SYS_read);
	must(write(fd, &add, sizeof(add)) == sizeof(add));
	caller_join(&c);
	check_eq(c.ret, 8);
	check_eq(got, 42);
	return done();
}
