/* SPDX-License-Identifier: Apache-2.0 */
/* The flags files were opened with or got later. */
#include "victim.h"

static const int modes[] = { O_RDONLY,	       O_WRONLY,	 O_RDWR | O_APPEND,    O_RDONLY | O_NONBLOCK,
			     O_RDWR | O_SYNC,  O_RDWR | O_DSYNC, O_RDONLY | O_NOATIME, O_WRONLY | O_LARGEFILE,
			     O_RDWR | O_DIRECT };

#define COUNT (int)(sizeof(modes) / sizeof(modes[0]))

int main(void)
{
	int fds[COUNT], before[COUNT], last, now;
	char path[64];

	close(temp_file(path));
	for (int i = 0; i < COUNT; i++) {
		fds[i] = open(path, modes[i]);
		must(fds[i] >= 0 || errno == EINVAL);
		before[i] = fcntl(fds[i], F_GETFL);
	}
	must(fcntl(fds[1], F_SETFL, O_NONBLOCK | O_APPEND) == 0);
	before[1] = fcntl(fds[1], F_GETFL);
	last = fcntl(fds[0], F_DUPFD, 0);
	move();
	if (sabotaged())
		must(fcntl(fds[3], F_SETFL, 0) == 0);
	for (int i = 0; i < COUNT; i++) {
		now = fcntl(fds[i], F_GETFL);
		check(now == before[i], "flags %o were %o", now, before[i]);
	}
	check_eq(fcntl(last, F_GETFL), before[0]);
	unlink(path);
	return done();
}
