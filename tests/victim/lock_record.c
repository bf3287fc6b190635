/* SPDX-License-Identifier: Apache-2.0 */
/* Record locks, of the process and of an open file description, with their ranges, are still held. */
#include "victim.h"
#include <sys/wait.h>

/* What a child, who is another owner, finds in the way of writing one byte at `at`. */
static void expect(int fd, off_t at, int type)
{
	pid_t child = fork();
	int status;

	must(child >= 0);
	if (child == 0) {
		struct flock l = { .l_type = F_WRLCK, .l_start = at, .l_len = 1 };

		_exit(fcntl(fd, F_GETLK, &l) < 0 ? 99 : l.l_type);
	}
	must(waitpid(child, &status, 0) == child);
	check(WIFEXITED(status) && WEXITSTATUS(status) == type, "byte %ld: lock of type %d, was %d", (long)at,
	      WEXITSTATUS(status), type);
}

int main(void)
{
	char path[64], shared_path[64];
	int fd = temp_file(path), shared = temp_file(shared_path), of_file = temp_file(shared_path);

	unlink(path);
	unlink(shared_path);
	must(fcntl(fd, F_SETLK, &(struct flock) { .l_type = F_WRLCK, .l_start = 10, .l_len = 5 }) == 0);
	must(fcntl(fd, F_SETLK, &(struct flock) { .l_type = F_RDLCK, .l_start = 20 }) == 0);
	must(fcntl(shared, F_SETLK, &(struct flock) { .l_type = F_RDLCK, .l_start = 1, .l_len = 1 }) == 0);
	must(fcntl(of_file, F_OFD_SETLK, &(struct flock) { .l_type = F_WRLCK, .l_start = 3, .l_len = 2 }) == 0);
	move();
	if (sabotaged())
		must(fcntl(fd, F_SETLK, &(struct flock) { .l_type = F_UNLCK }) == 0);
	expect(fd, 9, F_UNLCK);
	expect(fd, 10, F_WRLCK);
	expect(fd, 14, F_WRLCK);
	expect(fd, 15, F_UNLCK);
	expect(fd, 1 << 20, F_RDLCK);
	expect(shared, 1, F_RDLCK);
	expect(shared, 2, F_UNLCK);
	expect(of_file, 4, F_WRLCK);
	return done();
}
