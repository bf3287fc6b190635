/* SPDX-License-Identifier: Apache-2.0 */
/* A write() to an eventfd near its maximum waits until it is read after the move. */
#include "victim.h"
#include <sys/eventfd.h>

static int fd;

static long do_write(void *arg)
{
	uint64_t add = 5;

	(void)arg;
	return write(fd, &add, sizeof(add));
}

int main(void)
{
	struct caller c = { .call = do_write };
	uint64_t n = UINT64_MAX - 1, got;

	fd = eventfd(0, 0);
	must(fd >= 0 && write(fd, &n, sizeof(n)) == sizeof(n));
	caller_start(&c, SYS_write);
	caller_move(&c, SYS_write);
	must(read(fd, &got, sizeof(got)) == sizeof(got));
	check(got == n, "read %lx", got);
	caller_join(&c);
	check_eq(c.ret, 8);
	must(read(fd, &got, sizeof(got)) == sizeof(got));
	check_eq(got, 5);
	return done();
}
