/* SPDX-License-Identifier: Apache-2.0 */
/* A FIFO with something in it, both ends open in the program. */
#include "victim.h"

int main(void)
{
	char path[64], got[16] = "";
	int fd = temp_file(path), reader, writer, again;

	close(fd);
	must(unlink(path) == 0 && mkfifo(path, 0600) == 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);
	writer = open(path, O_WRONLY);
	must(reader >= 0 && writer >= 0 && write(writer, "inside", 6) == 6);
	move();
	if (sabotaged())
		must(read(reader, got, 1) == 1);
	must(write(writer, " more", 5) == 5);
	check_eq(read(reader, got, sizeof(got)), 11);
	check(!memcmp(got, "inside more", 11), "got %s", got);
	/* whoever opens it by its name gets the same one */
	again = open(path, O_WRONLY | O_NONBLOCK);
	check(again >= 0, "%s", strerror(errno));
	must(write(again, "named", 5) == 5);
	check(read(reader, got, sizeof(got)) == 5 && !memcmp(got, "named", 5), "by its name it is another");
	unlink(path);
	return done();
}
