/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "procd/container.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#define MOUNTINFO_MAX (4u << 20)
#define SHEPHERD_LISTEN_FD 3
#define SHEPHERD_CGROUP_FD 4

/* --- cgroups --- */

static int find_cgroup2(char *ret, size_t size, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char *next, *line;
	ssize_t n = fd_slurp(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text);

	if (n < 0)
		return err_code(e, (int)n, "cannot read /proc/self/mountinfo");
	next = text;
	while ((line = strsep(&next, "\n"))) {
		char root[PATH_MAX], point[PATH_MAX];

		if (!strstr(line, " - cgroup2 ") || sscanf(line, "%*d %*d %*s %4095s %4095s", root, point) != 2)
			continue;
		if (strlen(point) >= size)
			continue;
		(void)snprintf(ret, size, "%s", point);
		return 0;
	}
	return err_set(e, -ENOENT, "no cgroup2 file system is mounted (mount -t cgroup2 none /sys/fs/cgroup)");
}

int cgroups_open(struct cgroups *c, const char *name, struct err *e)
{
	char mount_point[PATH_MAX];
	int r;

	c->dir = -EBADF;
	r = find_cgroup2(mount_point, sizeof c->path - 70, e);
	if (r < 0)
		return r;
	(void)snprintf(c->path, sizeof c->path, "%.180s/%.64s", mount_point, name);
	if (mkdir(c->path, 0755) < 0 && errno != EEXIST)
		return err_errno(e, "cannot make cgroup %s", c->path);
	c->dir = open(c->path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (c->dir < 0)
		return err_errno(e, "cannot open cgroup %s", c->path);
	return 0;
}

static int make_cgroups(const struct container *c, const struct cgroups *cg, struct err *e)
{
	static const char *const parts[] = { "", "/shepherd", "/job" };
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		(void)snprintf(path, sizeof path, "%s%s", c->cgroup, parts[i]);
		if (mkdirat(cg->dir, path, 0755) < 0)
			return err_errno(e, "cannot make cgroup %s/%s", cg->path, path);
	}
	return 0;
}

static void remove_cgroups(const struct container *c, const struct cgroups *cg)
{
	static const char *const parts[] = { "/job", "/shepherd", "" };
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		(void)snprintf(path, sizeof path, "%s%s", c->cgroup, parts[i]);
		if (unlinkat(cg->dir, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
			log_warn("cgroup %s/%s stays: %s", cg->path, path, strerror(errno));
	}
}

static int write_cgroup(const struct container *c, const struct cgroups *cg, const char *file, const char *text)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof path, "%s/%s", c->cgroup, file);
	return fd_write_file(cg->dir, path, text);
}

void container_kill(const struct container *c, const struct cgroups *cg, bool job_only)
{
	int r = write_cgroup(c, cg, job_only ? "job/cgroup.kill" : "cgroup.kill", "1");

	if (r < 0 && r != -ENOENT)
		log_warn("job %s: cannot kill its cgroup: %s", c->cgroup, strerror(-r));
	if (!job_only && c->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
}

int container_freeze(const struct container *c, const struct cgroups *cg, bool frozen)
{
	return write_cgroup(c, cg, "job/cgroup.freeze", frozen ? "1" : "0");
}

int container_count(const struct container *c, const struct cgroups *cg)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	ssize_t len;
	int n = 0;

	(void)snprintf(path, sizeof path, "%s/job/cgroup.procs", c->cgroup);
	len = fd_slurp(cg->dir, path, 1u << 20, &text);
	if (len < 0)
		return (int)len;
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		n++;
	return n;
}

void container_job_cgroup(const struct container *c, const struct cgroups *cg, char *ret, size_t size)
{
	(void)snprintf(ret, size, "%s/%s/job", cg->path, c->cgroup);
}

/* --- the shepherd --- */

void container_init(struct container *c)
{
	*c = (struct container) { .pidfd = -EBADF, .sock = -EBADF };
}

static int socket_address(const struct container *c, struct sockaddr_un *a, struct err *e)
{
	*a = (struct sockaddr_un) { .sun_family = AF_UNIX };
	if (snprintf(a->sun_path, sizeof a->sun_path, "%s/shepherd", c->dir) >= (int)sizeof a->sun_path)
		return err_set(e, -ENAMETOOLONG, "the path of the shepherd's socket is too long");
	return 0;
}

static int connect_shepherd(struct container *c, struct err *e)
{
	struct sockaddr_un a;
	int r = socket_address(c, &a, e);

	if (r < 0)
		return r;
	c->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->sock < 0 || connect(c->sock, (struct sockaddr *)&a, sizeof a) < 0)
		return err_errno(e, "cannot connect to the shepherd");
	return 0;
}

static int listen_for_shepherd(struct container *c, int *ret, struct err *e)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a;
	int r = socket_address(c, &a, e);

	if (r < 0)
		return r;
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4) < 0)
		return err_errno(e, "cannot make the shepherd's socket");
	*ret = steal_fd(&fd);
	/* The backlog takes us in before the shepherd exists: what we say then is there when it looks. */
	return connect_shepherd(c, e);
}

/* In the child, which shares nothing with us: only system calls and no way back. */
static void __attribute__((noreturn)) become_shepherd(const char *program, int listener, int cgroup)
{
	char *argv[] = { (char *)(uintptr_t) "shepherd", NULL };
	char level[32];
	char *env[] = { NULL, NULL };
	const char *wanted = getenv("GODWIT_LOG");
	sigset_t none;
	int null;

	if (wanted) {
		(void)snprintf(level, sizeof level, "GODWIT_LOG=%s", wanted);
		env[0] = level;
	}
	for (int s = 1; s < NSIG; s++)
		(void)signal(s, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();
	null = open("/dev/null", O_RDWR);
	/* Above 4 first, so that neither is overwritten by the other. */
	listener = fcntl(listener, F_DUPFD, 10);
	cgroup = fcntl(cgroup, F_DUPFD, 10);
	if (null < 0 || listener < 0 || cgroup < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
	    dup2(listener, SHEPHERD_LISTEN_FD) < 0 || dup2(cgroup, SHEPHERD_CGROUP_FD) < 0)
		_exit(110);
	(void)close_range(SHEPHERD_CGROUP_FD + 1, ~0u, 0);
	(void)umask(022);
	if (chdir("/") < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		_exit(111);
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		_exit(112);
	(void)execve(program, argv, env);
	_exit(113);
}

static int spawn(struct container *c, const struct cgroups *cg, int listener, const char *program, struct err *e)
{
	_cleanup_fd_ int home = -EBADF, job = -EBADF;
	struct clone_args args = { .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_INTO_CGROUP |
					    CLONE_PIDFD,
				   .exit_signal = SIGCHLD,
				   .pidfd = (uint64_t)(uintptr_t)&c->pidfd };
	char path[PATH_MAX];
	long pid;

	(void)snprintf(path, sizeof path, "%s/shepherd", c->cgroup);
	home = openat(cg->dir, path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	(void)snprintf(path, sizeof path, "%s/job", c->cgroup);
	job = openat(cg->dir, path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (home < 0 || job < 0)
		return err_errno(e, "cannot open the job's cgroups");
	args.cgroup = (uint64_t)home;
	pid = syscall(SYS_clone3, &args, sizeof args);
	if (!pid)
		become_shepherd(program, listener, job);
	if (pid < 0)
		return err_errno(e, "cannot make the job's namespaces");
	c->shepherd = (pid_t)pid;
	return 0;
}

int container_create(struct container *c, const struct cgroups *cg, const char *jobs_dir, const char *name,
		     const char *programs, struct err *e)
{
	_cleanup_free_ char *program = xasprintf("%s/shepherd", programs);
	_cleanup_fd_ int listener = -EBADF;
	int r;

	container_init(c);
	(void)snprintf(c->cgroup, sizeof c->cgroup, "%s", name);
	if (snprintf(c->dir, sizeof c->dir, "%s/%s", jobs_dir, name) >= (int)sizeof c->dir)
		return err_set(e, -ENAMETOOLONG, "the path of the job's directory is too long");
	if (mkdir(c->dir, 0700) < 0)
		return err_errno(e, "cannot make %s", c->dir);
	r = make_cgroups(c, cg, e);
	if (!r)
		r = listen_for_shepherd(c, &listener, e);
	if (!r)
		r = spawn(c, cg, listener, program, e);
	if (r < 0)
		container_remove(c, cg);
	return r;
}

static pid_t first_of(const struct container *c, const struct cgroups *cg, const char *part)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];

	(void)snprintf(path, sizeof path, "%s/%s/cgroup.procs", c->cgroup, part);
	if (fd_slurp(cg->dir, path, 4096, &text) <= 0)
		return 0;
	return (pid_t)strtol(text, NULL, 10);
}

pid_t container_any(const struct container *c, const struct cgroups *cg)
{
	return first_of(c, cg, "job");
}

int container_take_in(const struct container *c, const struct cgroups *cg, pid_t pid)
{
	char text[16];

	(void)snprintf(text, sizeof text, "%d", pid);
	return write_cgroup(c, cg, "job/cgroup.procs", text);
}

int container_reopen(struct container *c, const struct cgroups *cg, const char *jobs_dir, const char *name,
		     struct err *e)
{
	container_init(c);
	(void)snprintf(c->cgroup, sizeof c->cgroup, "%s", name);
	(void)snprintf(c->dir, sizeof c->dir, "%s/%s", jobs_dir, name);
	c->shepherd = first_of(c, cg, "shepherd");
	if (c->shepherd > 0)
		c->pidfd = (int)syscall(SYS_pidfd_open, c->shepherd, 0);
	if (c->pidfd < 0)
		return err_set(e, -ESRCH, "the shepherd of job %s is gone", name);
	return connect_shepherd(c, e);
}

void container_remove(struct container *c, const struct cgroups *cg)
{
	static const char *const files[] = { "shepherd", "job", "job.new", "checkpoint" };
	char path[PATH_MAX];

	if (c->pidfd >= 0) {
		siginfo_t info;

		(void)waitid((idtype_t)P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG);
	}
	fd_close(&c->pidfd);
	fd_close(&c->sock);
	remove_cgroups(c, cg);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		(void)snprintf(path, sizeof path, "%s/%s", c->dir, files[i]);
		(void)unlink(path);
	}
	if (rmdir(c->dir) < 0 && errno != ENOENT)
		log_warn("%s stays: %s", c->dir, strerror(errno));
	c->shepherd = 0;
}
