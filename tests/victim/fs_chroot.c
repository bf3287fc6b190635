/* SPDX-License-Identifier: Apache-2.0 */
/* A root directory of its own, and a current directory below it. */
#include "victim.h"

int main(void)
{
	char path[64], now[256];
	int outside, fd;

	if (geteuid() != 0)
		skip("needs root");
	outside = open("/", O_PATH | O_DIRECTORY);
	must(outside >= 0);
	temp_dir(path);
	must(chdir(path) == 0);
	must(mkdir("below", 0700) == 0);
	fd = open("marker", O_CREAT | O_WRONLY, 0600);
	must(fd >= 0 && close(fd) == 0);
	must(chroot(".") == 0 && chdir("/below") == 0);
	move();
	if (sabotaged())
		must(fchdir(outside) == 0 && chroot(".") == 0);
	must(getcwd(now, sizeof(now)));
	check(!strcmp(now, "/below"), "the current directory is %s", now);
	check(access("/marker", F_OK) == 0, "the root is another");
	check(access("/tmp", F_OK) < 0, "the old root is visible");
	must(unlink("/marker") == 0 && rmdir("/below") == 0);
	must(fchdir(outside) == 0 && chroot(".") == 0);
	rmdir(path);
	return done();
}
