/* SPDX-License-Identifier: Apache-2.0 */
/* A file made with O_TMPFILE, sparse. */
#include "victim.h"

int main(void)
{
	int fd = open(temp_place(), O_TMPFILE | O_RDWR, 0600);
	char text[8] = "";
	struct stat s;

	if (fd < 0)
		skip("no O_TMPFILE in /tmp");
	must(pwrite(fd, "begin", 5, 0) == 5 && pwrite(fd, "end", 3, 50 << 20) == 3);
	move();
	if (sabotaged())
		must(pwrite(fd, "END", 3, 50 << 20) == 3);
	must(pread(fd, text, 5, 0) == 5);
	check(!strcmp(text, "begin"), "the file begins with %s", text);
	memset(text, 0, sizeof(text));
	must(pread(fd, text, 3, 50 << 20) == 3);
	check(!strcmp(text, "end"), "the file ends with %s", text);
	must(fstat(fd, &s) == 0);
	check(s.st_blocks < 2048, "the hole is filled: %ld blocks", (long)s.st_blocks);
	return done();
}
