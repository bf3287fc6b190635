/* SPDX-License-Identifier: Apache-2.0 */
/* A file that was renamed after it was opened. */
#include "victim.h"

int main(void)
{
	char path[64], moved[80], text[8] = "";
	int fd = temp_file(path), again;

	snprintf(moved, sizeof(moved), "%s-renamed", path);
	must(write(fd, "abc", 3) == 3 && rename(path, moved) == 0);
	move();
	if (sabotaged())
		must(unlink(moved) == 0);
	must(write(fd, "def", 3) == 3);
	again = open(moved, O_RDONLY);
	check(again >= 0, "%s", strerror(errno));
	must(read(again, text, 6) == 6);
	check(!strcmp(text, "abcdef"), "the file is %s", text);
	unlink(moved);
	return done();
}
