/* SPDX-License-Identifier: Apache-2.0 */
/* What around the process would be lost: children, System V objects, mounts, namespaces. Found while the job runs.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/kinds.h"

static void refuse(struct state_source *s, const char *object, const char *help, const char *reason)
{
	problem_add(s->problems, s->vpid, -1, object, help, "%s", reason);
}

static void check_children_of(struct state_source *s, const char *tid)
{
	_cleanup_free_ char *list = NULL, *comm = NULL;
	char path[64];
	int child;

	(void)snprintf(path, sizeof path, "task/%.16s/children", tid);
	if (state_slurp(s->problems, s->proc, path, 1 << 20, &list) <= 0 || sscanf(list, "%d", &child) != 1)
		return;
	(void)snprintf(path, sizeof path, "/proc/%d/comm", child);
	if (fd_slurp(-1, path, 64, &comm) > 0)
		comm[strcspn(comm, "\n")] = '\0';
	problem_add(s->problems, s->vpid, -1, "child process",
		    "wait until it has ended; jobs of several processes will move later",
		    "it has a child process, %d (%s)", child, comm ? comm : "?");
}

static void check_tasks(struct state_source *s)
{
	int fd = openat(s->proc, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		(void)problem_scarce(s->problems, -errno, "cannot list the threads of the job");
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	while ((d = readdir(dir)))
		if (isdigit((unsigned char)d->d_name[0]))
			check_children_of(s, d->d_name);
	(void)closedir(dir);
}

static pid_t parent_of(const struct state_source *s)
{
	_cleanup_free_ char *status = NULL;
	const char *line;

	if (state_slurp(s->problems, s->proc, "status", 65536, &status) <= 0 ||
	    !(line = strstr(status, "\nPPid:")))
		return 0;
	return atoi(line + 6);
}

/* --- namespaces --- */

static const char *const namespaces[] = { "mnt", "ipc", "net", "uts", "user", "cgroup", "pid", "time" };

static bool same_namespace(int proc, const char *dir, const char *name)
{
	struct stat own, other;
	char path[64];
	_cleanup_free_ char *there = xasprintf("%s/ns/%s", dir, name);

	(void)snprintf(path, sizeof path, "ns/%s", name);
	if (fstatat(proc, path, &own, 0) < 0)
		return true; /* this kernel has no such kind */
	if (stat(there, &other) == 0 && own.st_ino == other.st_ino)
		return true;
	free(there);
	there = xasprintf("%s/ns/%s_for_children", dir, name);
	return stat(there, &other) == 0 && own.st_ino == other.st_ino;
}

/* A job is in its shepherd's namespaces; what others started, in ours. */
static void check_namespaces(struct state_source *s)
{
	_cleanup_free_ char *dir = s->adopted ? xstrdup("/proc/self") : xasprintf("/proc/%d", parent_of(s));

	for (size_t i = 0; i < ARRAY_LEN(namespaces); i++)
		if (!same_namespace(s->proc, dir, namespaces[i]))
			problem_add(s->problems, s->vpid, -1, "namespace", "start it without unshare() or setns()",
				    "it is in a %s namespace of its own, which cannot move yet", namespaces[i]);
}

/* --- mounts --- */

/* The fields of a line of mountinfo: "id parent major:minor root point ..." */
static bool mount_point(const char *line, char *point, size_t room, unsigned *ret_major, unsigned *ret_minor)
{
	char format[48];

	(void)snprintf(format, sizeof format, "%%*d %%*d %%u:%%u %%*s %%%zus", room - 1);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	return sscanf(line, format, ret_major, ret_minor, point) == 3;
#pragma GCC diagnostic pop
}

static bool is_mounted(const char *mountinfo, const char *wanted)
{
	char point[4096];
	unsigned major_nr, minor_nr;

	for (const char *line = mountinfo; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (mount_point(line, point, sizeof point, &major_nr, &minor_nr) && strcmp(point, wanted) == 0)
			return true;
	}
	return false;
}

/* The container's mounts are the host's, but for its own /proc; whatever else stands there the job has mounted. */
static void check_mounts(struct state_source *s)
{
	_cleanup_free_ char *theirs = NULL, *ours = NULL;
	char point[4096];
	unsigned major_nr, minor_nr;

	if (state_slurp(s->problems, s->proc, "mountinfo", 16 << 20, &theirs) <= 0 ||
	    state_slurp(s->problems, -1, "/proc/self/mountinfo", 16 << 20, &ours) <= 0)
		return;
	for (const char *line = theirs; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!mount_point(line, point, sizeof point, &major_nr, &minor_nr) || is_mounted(ours, point) ||
		    strcmp(point, "/proc") == 0)
			continue;
		problem_add(s->problems, s->vpid, -1, "mount", "unmount it",
			    "a file system is mounted inside the job, at %s; such mounts cannot move yet", point);
	}
}

/* --- System V IPC --- */

static int count_lines(const char *path, const struct state_source *s)
{
	_cleanup_free_ char *text = NULL;
	int n = -1; /* the first line is a heading */

	if (state_slurp(s->problems, -1, path, 16 << 20, &text) <= 0)
		return 0;
	(void)s;
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		n++;
	return n > 0 ? n : 0;
}

/* The job's IPC namespace is its own, so whatever is in it is the job's, attached or not. /proc/sysvipc shows that
 * of who opens it. */
static int check_sysv(struct state_source *s, struct err *e)
{
	static const struct {
		const char *path, *what;
	} kinds[] = { { "/proc/sysvipc/shm", "System V shared memory" },
		      { "/proc/sysvipc/sem", "System V semaphores" },
		      { "/proc/sysvipc/msg", "System V message queues" } };
	_cleanup_fd_ int theirs = openat(s->proc, "ns/ipc", O_RDONLY | O_CLOEXEC);
	_cleanup_fd_ int ours = open("/proc/self/ns/ipc", O_RDONLY | O_CLOEXEC);
	struct stat a, b;

	if (theirs < 0 || ours < 0)
		(void)problem_scarce(s->problems, -errno, "cannot open the job's IPC namespace");
	if (theirs < 0 || ours < 0 || fstat(theirs, &a) < 0 || fstat(ours, &b) < 0)
		return 0;
	if (a.st_ino == b.st_ino)
		return 0; /* the host's own: whose they are nobody can tell; attached ones show in the memory map
			   */
	if (setns(theirs, CLONE_NEWIPC) < 0)
		return err_errno(e, "looking into the job's IPC namespace");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		int n = count_lines(kinds[i].path, s);

		if (n)
			problem_add(s->problems, s->vpid, -1, kinds[i].what,
				    "remove them (ipcrm), or use POSIX objects",
				    "it has %d objects of %s, which cannot move yet", n, kinds[i].what);
	}
	return setns(ours, CLONE_NEWIPC) < 0 ? err_errno(e, "coming back from the job's IPC namespace") : 0;
}

static int refuse_check(struct state_source *s, struct err *e)
{
	_cleanup_free_ char *status = NULL;
	const char *line;

	if (state_slurp(s->problems, s->proc, "status", 65536, &status) > 0 &&
	    (line = strstr(status, "\nCoreDumping:")) && atoi(line + 13))
		refuse(s, "core dump", "wait for its end", "it is dumping core");
	check_tasks(s);
	check_namespaces(s);
	check_mounts(s);
	return check_sysv(s, e);
}

/* Between check and stop the job may have forked. */
static int refuse_take(struct state_source *s, struct batch *b, struct err *e)
{
	(void)b;
	for (size_t i = 0; i < s->remote->n_threads; i++) {
		_cleanup_free_ char *list = NULL;
		char path[64];
		int child;

		(void)snprintf(path, sizeof path, "task/%d/children", s->remote->threads[i].tid);
		if (state_slurp(s->problems, s->proc, path, 1 << 20, &list) > 0 && sscanf(list, "%d", &child) == 1)
			return err_set(e, -EBUSY, "pid %d has a child process, %d", s->vpid, child);
	}
	return 0;
}

const struct state_module state_refuse = {
	.name = "refuse",
	.phase = STATE_PROCESS,
	.check = refuse_check,
	.take = refuse_take,
};
