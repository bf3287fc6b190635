/* SPDX-License-Identifier: Apache-2.0 */
/* A splice() from a file, its offset given by address, that waits for room in a pipe. */
#include "victim.h"

static int ends[2], source;
static uint8_t page[PAGE] __attribute__((aligned(PAGE)));

static long do_call(void *arg)
{
	loff_t at = 0;

	(void)arg;
	return splice(source, &at, ends[1], NULL, PAGE, 0);
}

/* The pipe is full; once one page is out of it the call puts one page in. */
int main(void)
{
	struct caller c = { .call = do_call };
	uint8_t got[PAGE];
	int pages = 0;
	ssize_t n;

	must(pipe2(ends, O_NONBLOCK) == 0);
	while (write(ends[1], page, PAGE) == (ssize_t)PAGE)
		pages++;
	must(fcntl(ends[0], F_SETFL, 0) == 0 && fcntl(ends[1], F_SETFL, 0) == 0);
	pattern_fill(page, PAGE, 13);
	source = (int)syscall(SYS_open, temp_place(), O_TMPFILE | O_RDWR, 0600);
	must(source >= 0 && write(source, page, PAGE) == (ssize_t)PAGE);
	caller_start(&c, SYS_splice);
	caller_move(&c, SYS_splice);
	must(read(ends[0], got, PAGE) == (ssize_t)PAGE);
	caller_join(&c);
	check(c.ret == (long)PAGE, "the call returned %ld, %s", c.ret, strerror(c.err));
	for (int i = 0; i < pages; i++) {
		n = read(ends[0], got, PAGE);
		check(n == (ssize_t)PAGE, "the pipe gave %zd", n);
	}
	pattern_check(got, PAGE, 13);
	return done();
}
