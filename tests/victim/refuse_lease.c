/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: a lease on a file. */
#include "victim.h"

int main(void)
{
	char path[64];
	int fd = temp_file(path);

	unlink(path);
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		skip("no leases here");
	move();
	return done();
}
