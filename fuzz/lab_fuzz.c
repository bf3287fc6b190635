/* SPDX-License-Identifier: Apache-2.0 */
/* What `godwit lab` wrote about a lab and reads again: another version of it may have, or a full disk. */
#include "cage.h"
#include "cli/lab_state.c"
#include "fuzz.h"

#define DIRECTORY "/tmp/lab"

int cgroup_root(char *buf, size_t size, struct err *e)
{
	(void)e;
	(void)snprintf(buf, size, "/tmp");
	return 0;
}

int cgroup_kill(const char *dir, struct err *e)
{
	(void)dir;
	(void)e;
	return 0;
}

int cgroup_remove(const char *dir, struct err *e)
{
	(void)dir;
	(void)e;
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	cage_close();
	if (mkdir(DIRECTORY, 0700) < 0)
		cage_fail(DIRECTORY);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lab lab = { .lock = -EBADF, .prefix = "fuzz", .dir = DIRECTORY }, again = lab;
	int fd = open(DIRECTORY "/lab.json", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct err e = { 0 };

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	(void)close(fd);
	if (!lab_load(&lab, &e)) {
		if (!lab.hosts || lab.hosts > LAB_HOSTS_MAX)
			abort();
		(void)lab_host(&lab, "h12");
		if (lab_save(&lab, &e) < 0 || lab_load(&again, &e) < 0 || again.hosts != lab.hosts ||
		    strcmp(again.rate, lab.rate) != 0)
			abort();
	}
	lab_done(&lab);
	lab_done(&again);
	return 0;
}
