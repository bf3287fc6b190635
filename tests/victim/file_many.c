/* SPDX-License-Identifier: Apache-2.0 */
/* A thousand descriptors of many files, with gaps between their numbers. */
#include "victim.h"
#include <sys/resource.h>

#define COUNT 1000

int main(void)
{
	struct rlimit limit = { 4096, 4096 };
	char path[64], proc[64], byte;
	int fds[COUNT];

	must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	for (int i = 0; i < COUNT; i++) {
		if (i % 50 == 0) {
			fds[i] = temp_file(path);
			for (int k = 0; k < 100; k++)
				must(dprintf(fds[i], "%c", k + i / 50) == 1);
		} else {
			snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fds[i / 50 * 50]);
			fds[i] = open(proc, O_RDONLY);
		}
		if (i % 50 == 49)
			unlink(path);
		must(dup2(fds[i], 1000 + 2 * i) == 1000 + 2 * i && close(fds[i]) == 0);
		fds[i] = 1000 + 2 * i;
		must(lseek(fds[i], i % 100, SEEK_SET) == i % 100);
	}
	move();
	if (sabotaged())
		lseek(fds[500], 1, SEEK_CUR);
	for (int i = 0; i < COUNT; i++) {
		check(read(fds[i], &byte, 1) == 1, "descriptor %d: %s", fds[i], strerror(errno));
		check_eq(byte, i % 100 + i / 50);
		check(fcntl(fds[i] + 1, F_GETFD) < 0, "descriptor %d came from nowhere", fds[i] + 1);
	}
	return done();
}
