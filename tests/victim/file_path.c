/* SPDX-License-Identifier: Apache-2.0 */
/* O_PATH descriptors of a file, a directory and a symbolic link. */
#include "victim.h"

int main(void)
{
	char path[64], link[80], text[8] = "";
	int fd = temp_file(path), file, dir, symlink_, again;

	snprintf(link, sizeof(link), "%s-link", path);
	must(write(fd, "abc", 3) == 3 && symlink(path, link) == 0);
	file = open(path, O_PATH);
	dir = open(temp_place(), O_PATH | O_DIRECTORY);
	symlink_ = open(link, O_PATH | O_NOFOLLOW);
	must(file >= 0 && dir >= 0 && symlink_ >= 0);
	move();
	if (sabotaged())
		must(dup2(fd, file) == file);
	check(read(file, text, 1) < 0 && errno == EBADF, "an O_PATH descriptor can be read");
	check(fcntl(file, F_GETFL) & O_PATH, "flags %o", fcntl(file, F_GETFL));
	again = openat(dir, path + strlen(temp_place()) + 1, O_RDONLY);
	check(again >= 0, "%s", strerror(errno));
	check(readlinkat(symlink_, "", text, 4) == 4 && !memcmp(text, path, 4), "the link reads %s", text);
	unlink(link);
	unlink(path);
	return done();
}
