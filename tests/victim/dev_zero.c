/* SPDX-License-Identifier: Apache-2.0 */
/* /dev/zero. */
#include "victim.h"

int main(void)
{
	uint8_t buffer[64] = { 0 }, other[64] = { 0 };
	int fd = open("/dev/zero", O_RDWR | O_NONBLOCK), flags;
	struct stat before, after;

	must(fd >= 0 && fstat(fd, &before) == 0);
	flags = fcntl(fd, F_GETFL);
	move();
	if (sabotaged())
		must(dup2(0, fd) == fd);
	must(fstat(fd, &after) == 0);
	check(S_ISCHR(after.st_mode) && after.st_rdev == before.st_rdev, "it is another device");
	check_eq(fcntl(fd, F_GETFL), flags);
	buffer[9] = 1;
	check_eq(read(fd, buffer, 64), 64);
	check_eq(buffer[9], 0);
	(void)buffer;
	(void)other;
	return done();
}
