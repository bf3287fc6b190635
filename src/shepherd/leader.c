/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "shepherd/shepherd.h"

#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND 127

static void default_signals(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		(void)signal(s, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void __attribute__((noreturn)) give_up(const char *what, const char *object)
{
	int saved = errno;

	(void)dprintf(STDERR_FILENO, "godwit: %s%s: %s\n", what, object, strerror(saved));
	_exit(saved == ENOENT || saved == ENOTDIR ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
}

static void place_streams(struct shepherd *sh, const int ends[STREAM_N])
{
	(void)setsid();
	for (int i = 0; i < (int)STREAM_N; i++)
		if (dup2(sh->terminal ? ends[0] : ends[i], i) < 0)
			_exit(EXIT_CANNOT_RUN);
	if (sh->terminal && ioctl(0, TIOCSCTTY, 0) < 0)
		give_up("cannot make the terminal its own", "");
	(void)close_range(3, ~0u, 0);
}

static void apply_limits(const Godwit__Procd__Exec *x)
{
	for (size_t i = 0; i < x->n_limits; i++) {
		struct rlimit l = { .rlim_cur = x->limits[i]->soft, .rlim_max = x->limits[i]->hard };

		if (setrlimit((__rlimit_resource_t)x->limits[i]->resource, &l) < 0)
			give_up("cannot set a resource limit", "");
	}
	if (x->nice && setpriority(PRIO_PROCESS, 0, x->nice) < 0)
		give_up("cannot set the priority", "");
}

static void become_user(const Godwit__Procd__Exec *x)
{
	gid_t groups[256];
	size_t n = MIN(x->n_groups, ARRAY_LEN(groups));

	for (size_t i = 0; i < n; i++)
		groups[i] = x->groups[i];
	if (setgroups(n, groups) < 0 || setresgid(x->gid, x->gid, x->gid) < 0 ||
	    setresuid(x->uid, x->uid, x->uid) < 0)
		give_up("cannot become the user", "");
}

static char **string_array(char **list, size_t n)
{
	char **a = xcalloc(n + 1, sizeof *a);

	for (size_t i = 0; i < n; i++)
		a[i] = list[i];
	return a;
}

static void __attribute__((noreturn))
run(struct shepherd *sh, const Godwit__Procd__Exec *x, const int ends[STREAM_N])
{
	char **argv = string_array(x->argv, x->n_argv);

	place_streams(sh, ends);
	default_signals();
	apply_limits(x);
	(void)umask(x->umask & 0777);
	become_user(x);
	if (chdir(x->cwd) < 0)
		give_up("cannot enter ", x->cwd);
	environ = string_array(x->env, x->n_env);
	(void)execvp(argv[0], argv);
	give_up("cannot run ", argv[0]);
}

static int open_streams(struct shepherd *sh, const Godwit__Procd__Exec *x, int ends[STREAM_N], struct err *e)
{
	int r;

	if (x->terminal)
		return streams_open_pty(sh, x->uid, x->terminal, &ends[0], e);
	r = streams_open_pipes(sh, x->uid, x->gid, ends, e);
	if (!r && x->no_input)
		sh->streams[STREAM_INPUT].eof = true;
	return r;
}

int leader_start(struct shepherd *sh, const Godwit__Procd__Exec *x, struct err *e)
{
	/* CLONE_VFORK: whoever hears that the job has begun finds the command, and its user's process. */
	struct clone_args args = { .flags = CLONE_INTO_CGROUP | CLONE_PIDFD | CLONE_VFORK,
				   .exit_signal = SIGCHLD,
				   .cgroup = (uint64_t)sh->cgroup,
				   .pidfd = (uint64_t)(uintptr_t)&sh->leader_pidfd };
	int ends[STREAM_N] = { -EBADF, -EBADF, -EBADF };
	long pid;
	int r;

	r = open_streams(sh, x, ends, e);
	/* The job gets a time namespace of its own, with our offsets: so its clocks can go on elsewhere, and there
	 * is no difference between a job that has moved and one that has not. */
	if (!r && unshare(CLONE_NEWTIME) < 0)
		r = err_errno(e, "cannot make a time namespace");
	if (!r) {
		pid = syscall(SYS_clone3, &args, sizeof args);
		if (!pid)
			run(sh, x, ends);
		if (pid < 0)
			r = err_errno(e, "cannot start a process");
		sh->leader = (pid_t)pid;
	}
	for (unsigned i = 0; i < STREAM_N; i++)
		fd_close(&ends[i]);
	if (r < 0)
		return r;
	sh->log_bytes = x->log_bytes;
	sh->phase = GODWIT__SHEPHERD__STATE__PHASE__RUNNING;
	leader_drop_privileges(sh, x->uid, x->gid);
	return 0;
}

void leader_drop_privileges(struct shepherd *sh, uid_t uid, gid_t gid)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	fd_close(&sh->cgroup);
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ||
	    syscall(SYS_capset, &header, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
		log_error("cannot drop privileges: %s", strerror(errno));
		_exit(1); /* takes the namespace with it */
	}
}

int leader_adopt(struct shepherd *sh, const Godwit__Shepherd__Adopt *a, struct err *e)
{
	if (sh->phase != GODWIT__SHEPHERD__STATE__PHASE__EMPTY)
		return err_set(e, -EINVAL, "there is a job already");
	sh->phase = GODWIT__SHEPHERD__STATE__PHASE__RUNNING;
	leader_drop_privileges(sh, a->uid, a->gid);
	return 0;
}

void leader_ended(struct shepherd *sh, const Godwit__Procd__Exited *x)
{
	if (sh->leader || sh->phase == GODWIT__SHEPHERD__STATE__PHASE__EXITED)
		return;
	sh->status = W_EXITCODE(x->status & 0xff, x->signal & 0x7f) | (x->core ? WCOREFLAG : 0);
	sh->exited_at_us = x->at_us;
	sh->phase = GODWIT__SHEPHERD__STATE__PHASE__EXITED;
}

int leader_reap(struct shepherd *sh)
{
	int status, ended = 0;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != sh->leader)
			continue;
		sh->status = status;
		sh->leader = 0;
		sh->exited_at_us = realtime_us();
		ended = 1;
	}
	if (!ended)
		return 0;
	/* The job is over when its leader is; procd clears its cgroup, this is for when procd is not there. */
	(void)kill(-1, SIGKILL);
	fd_close(&sh->leader_pidfd);
	sh->phase = GODWIT__SHEPHERD__STATE__PHASE__EXITED;
	streams_after_exit(sh);
	return 1;
}
