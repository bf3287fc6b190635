/* SPDX-License-Identifier: Apache-2.0 */
/* A record lock to write with on a file that both hosts share: it cannot be held twice. */
#include "victim.h"

int main(void)
{
	struct flock lock = { .l_type = F_WRLCK };
	char path[64];
	int fd = temp_file(path);

	must(fcntl(fd, F_SETLK, &lock) == 0);
	move();
	unlink(path);
	return done();
}
