/* SPDX-License-Identifier: Apache-2.0 */
/* A file open for appending, which somebody else has made longer. */
#include "victim.h"

int main(void)
{
	char path[64], text[16] = "";
	int fd = temp_file(path), append = open(path, O_WRONLY | O_APPEND);

	must(append >= 0 && write(append, "one", 3) == 3);
	move();
	must(pwrite(fd, "two", 3, 3) == 3);
	if (sabotaged())
		must(fcntl(append, F_SETFL, 0) == 0);
	must(write(append, "three", 5) == 5);
	must(pread(fd, text, sizeof(text) - 1, 0) > 0);
	check(!strcmp(text, "onetwothree"), "the file is %s", text);
	unlink(path);
	return done();
}
