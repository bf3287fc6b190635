/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: a record lock. */
#include "victim.h"

int main(void)
{
	struct flock lock = { .l_type = F_WRLCK };
	char path[64];
	int fd = temp_file(path);

	unlink(path);
	must(fcntl(fd, F_SETLK, &lock) == 0);
	move();
	return done();
}
