/* SPDX-License-Identifier: Apache-2.0 */
/* select() without timeout for reading one pipe and writing another that is full. */
#include "victim.h"
#include <sys/select.h>

static int ends[2], full[2];
static fd_set readable, writable;

static long do_select(void *arg)
{
	(void)arg;
	return syscall(SYS_select, 64, &readable, &writable, NULL, NULL);
}

int main(void)
{
	struct caller c = { .call = do_select };
	static char page[4096];

	must(pipe(ends) == 0 && pipe2(full, O_NONBLOCK) == 0 && full[1] < 64);
	while (write(full[1], page, sizeof(page)) > 0)
		;
	FD_SET(ends[0], &readable);
	FD_SET(full[1], &writable);
	caller_start(&c, SYS_select);
	caller_move(&c, SYS_select);
	must(read(full[0], page, sizeof(page)) == sizeof(page));
	caller_join(&c);
	check_eq(c.ret, 1);
	check(FD_ISSET(full[1], &writable) && !FD_ISSET(ends[0], &readable), "the wrong descriptor");
	return done();
}
