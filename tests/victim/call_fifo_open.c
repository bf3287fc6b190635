/* SPDX-License-Identifier: Apache-2.0 */
/* open() of a FIFO that waits for the other end is still waiting after the move. */
#include "victim.h"

static char path[64];

static long do_open(void *arg)
{
	(void)arg;
	return open(path, O_RDONLY);
}

int main(void)
{
	struct caller c = { .call = do_open };
	char got[8];
	int fd;

	fd = temp_file(path);
	close(fd);
	must(unlink(path) == 0 && mkfifo(path, 0600) == 0);
	caller_start(&c, SYS_openat);
	caller_move(&c, SYS_openat);
	fd = open(path, O_WRONLY);
	must(fd >= 0);
	caller_join(&c);
	unlink(path);
	check(c.ret >= 0, "open: %s", strerror(c.err));
	must(write(fd, "fifo", 4) == 4 && read((int)c.ret, got, sizeof(got)) == 4);
	return done();
}
