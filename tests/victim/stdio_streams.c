/* SPDX-License-Identifier: Apache-2.0 */
/* The standard streams: still pipes, in their places, with their flags, and writable to the end. */
#include "victim.h"

int main(void)
{
	struct stat s[3], now;
	int flags[3];

	for (int i = 0; i < 3; i++) {
		must(fstat(i, &s[i]) == 0);
		flags[i] = fcntl(i, F_GETFL);
	}
	move();
	if (sabotaged())
		must(close(2) == 0 && open("/dev/null", O_WRONLY) == 2);
	for (int i = 0; i < 3; i++) {
		check(fstat(i, &now) == 0, "stream %d: %s", i, strerror(errno));
		check_eq(now.st_mode & S_IFMT, s[i].st_mode & S_IFMT);
		check_eq(fcntl(i, F_GETFL), flags[i]);
	}
	for (int i = 0; i < 2000; i++)
		must(printf("output %d\n", i) > 0);
	return done();
}
