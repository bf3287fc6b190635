/* SPDX-License-Identifier: Apache-2.0 */
/* A lock to write with on a file that both hosts share: it cannot be held twice. */
#include "victim.h"
#include <sys/file.h>

int main(void)
{
	char path[64];
	int fd = temp_file(path);

	must(flock(fd, LOCK_EX) == 0);
	move();
	unlink(path);
	return done();
}
