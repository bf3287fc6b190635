/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: a lock on a file. */
#include "victim.h"
#include <sys/file.h>

int main(void)
{
	char path[64];
	int fd = temp_file(path);

	unlink(path);
	must(flock(fd, LOCK_EX) == 0);
	move();
	return done();
}
