/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "cli/lab.h"

/* The line of mountinfo is "ID PARENT DEV ROOT MOUNTPOINT OPTIONS [TAGS] - TYPE SOURCE OPTIONS". */
int cgroup_root(char *path, size_t len, struct err *e)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096], at[512];
	int found = 0;

	if (!f)
		return err_errno(e, "/proc/self/mountinfo");
	while (!found && fgets(line, sizeof line, f)) {
		const char *type = strstr(line, " - ");

		found = type && !strncmp(type, " - cgroup2 ", 11) &&
			sscanf(line, "%*s %*s %*s %*s %511s", at) == 1;
	}
	fclose(f);
	if (!found)
		return err_set(e, -ENOENT, "no cgroup2 is mounted: mount -t cgroup2 none /sys/fs/cgroup");
	if (strlen(at) >= len)
		return err_set(e, -ENAMETOOLONG, "%s", at);
	strcpy(path, at);
	return 0;
}

/* Controllers are handed down where there are any (not on a machine that still uses cgroup v1 for them). */
static void hand_down_controllers(const char *path)
{
	_cleanup_free_ char *from = xasprintf("%s/cgroup.controllers", path);
	_cleanup_free_ char *to = xasprintf("%s/cgroup.subtree_control", path);
	_cleanup_free_ char *list = NULL;
	char *save = NULL;

	if (fd_slurp(AT_FDCWD, from, 4096, &list) < 0)
		return;
	for (char *c = strtok_r(list, " \n", &save); c; c = strtok_r(NULL, " \n", &save)) {
		_cleanup_free_ char *word = xasprintf("+%s", c);

		(void)!fd_write_file(AT_FDCWD, to, word);
	}
}

int cgroup_make(const char *path, struct err *e)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return err_errno(e, "cannot make cgroup %s", path);
	hand_down_controllers(path);
	return 0;
}

/* cgroup.events signals each change with POLLPRI; "populated 0" covers everything below. */
static int wait_unpopulated(const char *path, struct err *e)
{
	_cleanup_free_ char *events = xasprintf("%s/cgroup.events", path);
	_cleanup_fd_ int fd = open(events, O_RDONLY | O_CLOEXEC);
	uint64_t deadline = now_us() + LAB_WAIT_US;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, "%s", events);
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLPRI };
		char text[256];
		ssize_t n = pread(fd, text, sizeof text - 1, 0);
		uint64_t now = now_us();

		if (n < 0)
			return errno == ENODEV ? 0 : err_errno(e, "%s", events);
		text[n] = '\0';
		if (strstr(text, "populated 0"))
			return 0;
		if (now >= deadline)
			return err_set(e, -ETIMEDOUT, "processes in %s do not die", path);
		(void)poll(&p, 1, (int)((deadline - now) / 1000) + 1);
	}
}

int cgroup_kill(const char *path, struct err *e)
{
	_cleanup_free_ char *file = xasprintf("%s/cgroup.kill", path);
	int r = fd_write_file(AT_FDCWD, file, "1");

	if (r == -ENOENT && access(path, F_OK) < 0)
		return 0;
	if (r < 0)
		return err_code(e, r, "%s (it needs Linux 5.14)", file);
	return wait_unpopulated(path, e);
}

int cgroup_remove(const char *path, struct err *e)
{
	DIR *d = opendir(path);
	struct dirent *de;
	int r = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_errno(e, "%s", path);
	while (!r && (de = readdir(d))) {
		_cleanup_free_ char *sub = NULL;

		if (de->d_type != DT_DIR || !strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		sub = xasprintf("%s/%s", path, de->d_name);
		r = cgroup_remove(sub, e);
	}
	closedir(d);
	if (!r && rmdir(path) < 0 && errno != ENOENT)
		r = err_errno(e, "cannot remove cgroup %s", path);
	return r;
}

pid_t cgroup_fork_at(int cgroup, unsigned long flags, bool sibling, struct err *e)
{
	struct clone_args args = {
		.flags = flags | CLONE_INTO_CGROUP | (sibling ? CLONE_PARENT : 0),
		.exit_signal = sibling ? 0 : SIGCHLD, /* CLONE_PARENT takes our own */
		.cgroup = (uint64_t)cgroup,
	};
	long pid = syscall(SYS_clone3, &args, sizeof args);

	return pid < 0 ? err_errno(e, "cannot start a process") : (pid_t)pid;
}

pid_t cgroup_fork(const char *path, unsigned long flags, bool sibling, struct err *e)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t pid;

	if (fd < 0)
		return err_errno(e, "%s", path);
	pid = cgroup_fork_at(fd, flags, sibling, e);
	return pid < 0 ? err_wrap(e, "%s", path) : pid;
}
