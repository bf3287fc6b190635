/* SPDX-License-Identifier: Apache-2.0 */
/* A flock() on a file of its own (it has no name) is still held; so is one that is shared with others. */
#include "victim.h"
#include <sys/file.h>

static int again(int fd)
{
	char path[64];
	int other;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other = open(path, O_RDWR);
	must(other >= 0);
	return other;
}

int main(void)
{
	char path[64], shared_path[64];
	int fd = temp_file(path), shared = temp_file(shared_path);

	unlink(path);
	must(flock(fd, LOCK_EX) == 0);
	must(flock(shared, LOCK_SH) == 0);
	move();
	if (sabotaged())
		flock(fd, LOCK_UN);
	check(flock(again(fd), LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK, "the lock is lost");
	check(flock(again(shared), LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK, "the shared lock is lost");
	check(flock(again(shared), LOCK_SH | LOCK_NB) == 0, "the shared lock is exclusive");
	unlink(shared_path);
	return done();
}
