/* SPDX-License-Identifier: Apache-2.0 */
/* A FIFO whose name is gone. */
#include "victim.h"

int main(void)
{
	char path[64], got[16] = "";
	int fd = temp_file(path), reader, writer;

	close(fd);
	must(unlink(path) == 0 && mkfifo(path, 0600) == 0);
	reader = open(path, O_RDWR | O_NONBLOCK);
	writer = open(path, O_WRONLY);
	must(reader >= 0 && writer >= 0 && write(writer, "inside", 6) == 6 && unlink(path) == 0);
	move();
	if (sabotaged())
		must(read(reader, got, 1) == 1);
	check(read(reader, got, sizeof(got)) == 6 && !memcmp(got, "inside", 6), "got %s", got);
	must(write(writer, "more", 4) == 4);
	check_eq(read(reader, got, sizeof(got)), 4);
	return done();
}
