/* SPDX-License-Identifier: Apache-2.0 */
/* A deleted file, open twice, one of them for writing only. */
#include "victim.h"

int main(void)
{
	char path[64], text[32] = "", link[64], name[256] = "";
	int fd = temp_file(path), other = open(path, O_WRONLY);
	struct stat before, after;

	must(other >= 0 && write(fd, "some text", 9) == 9 && unlink(path) == 0);
	must(fchmod(fd, 0640) == 0 && fstat(fd, &before) == 0);
	move();
	if (sabotaged())
		must(ftruncate(fd, 5) == 0);
	must(fstat(fd, &after) == 0);
	check_eq(after.st_size, before.st_size);
	check_eq(after.st_mode, before.st_mode);
	check_eq(after.st_nlink, 0);
	check_eq(lseek(fd, 0, SEEK_CUR), 9);
	must(pwrite(other, "SOME", 4, 0) == 4);
	must(pread(fd, text, sizeof(text) - 1, 0) == 9);
	check(!strcmp(text, "SOME text"), "the file is %s", text);
	check(access(path, F_OK) < 0, "%s is back", path);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	must(readlink(link, name, sizeof(name) - 1) > 0);
	check(strstr(name, "(deleted)"), "it is called %s", name);
	return done();
}
