/* SPDX-License-Identifier: Apache-2.0 */
/* A directory in the middle of being read: every entry comes once. */
#include "victim.h"
#include <dirent.h>

#define COUNT 3000

int main(void)
{
	char path[64], name[64];
	static int seen[COUNT];
	struct dirent *entry;
	int dirfd_, fd;
	DIR *dir;

	temp_dir(path);
	dirfd_ = open(path, O_RDONLY | O_DIRECTORY);
	must(dirfd_ >= 0);
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "entry-with-a-long-name-%d", i);
		fd = openat(dirfd_, name, O_CREAT | O_WRONLY, 0600);
		must(fd >= 0 && close(fd) == 0);
	}
	dir = fdopendir(dirfd_);
	for (int i = 0; i < COUNT / 2 && (entry = readdir(dir)); i++)
		if (entry->d_name[0] == 'e')
			seen[atoi(entry->d_name + 23)]++;
	move();
	if (sabotaged())
		rewinddir(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] == 'e')
			seen[atoi(entry->d_name + 23)]++;
	for (int i = 0; i < COUNT; i++)
		check(seen[i] == 1, "entry %d came %d times", i, seen[i]);
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "entry-with-a-long-name-%d", i);
		check(unlinkat(dirfd(dir), name, 0) == 0, "%s: %s", name, strerror(errno));
	}
	rmdir(path);
	return done();
}
