/* SPDX-License-Identifier: Apache-2.0 */
/* The current directory, by name and by what is in it. */
#include "victim.h"

int main(void)
{
	char path[64], now[256];
	int fd;

	temp_dir(path);
	must(chdir(path) == 0);
	fd = open("inside", O_CREAT | O_WRONLY, 0600);
	must(fd >= 0 && close(fd) == 0);
	move();
	if (sabotaged())
		must(chdir("/") == 0);
	must(getcwd(now, sizeof(now)));
	check(!strcmp(now, path), "is %s, was %s", now, path);
	check(unlink("inside") == 0, "%s", strerror(errno));
	rmdir(path);
	return done();
}
