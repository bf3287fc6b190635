/* SPDX-License-Identifier: Apache-2.0 */
/* /dev/full. */
#include "victim.h"

int main(void)
{
	uint8_t buffer[64] = { 0 }, other[64] = { 0 };
	int fd = open("/dev/full", O_RDWR | O_NONBLOCK), flags;
	struct stat before, after;

	must(fd >= 0 && fstat(fd, &before) == 0);
	flags = fcntl(fd, F_GETFL);
	move();
	if (sabotaged())
		must(dup2(0, fd) == fd);
	must(fstat(fd, &after) == 0);
	check(S_ISCHR(after.st_mode) && after.st_rdev == before.st_rdev, "it is another device");
	check_eq(fcntl(fd, F_GETFL), flags);
	check(write(fd, buffer, 64) < 0 && errno == ENOSPC, "it is not full");
	(void)buffer;
	(void)other;
	return done();
}
