/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blank: the process that becomes the job's leader when the job arrives from another host. It is cloned here,
 * so that the shepherd is its parent for the rest of its life, with the pid it had and in the time namespace that
 * lets its clocks go on. It is given one end of a socket, over which the mover hands it descriptors, and the
 * terminal, if there is one; then it waits. A mover empties it and fills it with the job.
 */
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "shepherd/shepherd.h"

/* Out of the way of the job's own descriptors, most of which are small; the mover moves it if it is not. */
#define AGENT_SOCKET_MIN 900

static int set_clocks(const Godwit__Shepherd__Blank *b, struct err *e)
{
	const int64_t second = 1000000000;
	int64_t mono = b->monotonic_offset_ns, boot = b->boottime_offset_ns;
	char text[128];
	int r;

	if (unshare(CLONE_NEWTIME) < 0)
		return err_errno(e, "cannot make a time namespace");
	/* Nanoseconds are counted upwards: -0.3 s is -1 s + 700 ms. */
	(void)snprintf(text, sizeof text, "monotonic %lld %lld\nboottime %lld %lld\n",
		       (long long)((mono - (mono < 0 ? second - 1 : 0)) / second),
		       (long long)(((mono % second) + second) % second),
		       (long long)((boot - (boot < 0 ? second - 1 : 0)) / second),
		       (long long)(((boot % second) + second) % second));
	r = fd_write_file(AT_FDCWD, "/proc/self/timens_offsets", text);
	return r < 0 ? err_code(e, r, "cannot set the job's clocks (%s)", text) : 0;
}

static int open_ends(struct shepherd *sh, const Godwit__Shepherd__Blank *b, int ends[STREAM_N], size_t *ret_n,
		     struct err *e)
{
	bool pty = b->n_streams == 1 && b->streams[0]->kind == GODWIT__MOVER__STREAM__KIND__PTY_SLAVE;
	static const Godwit__Procd__Terminal no_size = GODWIT__PROCD__TERMINAL__INIT;

	*ret_n = 0;
	if (!b->n_streams)
		return 0; /* adopted, and its standard streams are files of its own */
	if (pty) {
		*ret_n = 1;
		return streams_open_pty(sh, b->uid, b->terminal ? b->terminal : &no_size, &ends[0], e);
	}
	*ret_n = STREAM_N;
	return streams_open_pipes(sh, b->uid, b->gid, ends, e);
}

static void __attribute__((noreturn)) wait_for_the_mover(struct shepherd *sh, int agent, const int ends[STREAM_N])
{
	sigset_t all;

	/* All signals stay blocked until the mover sets the job's own mask. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	(void)setsid();
	if (sh->terminal && ioctl(ends[0], TIOCSCTTY, 0) < 0)
		_exit(1);
	(void)close_range(0, (unsigned)agent - 1, 0);
	(void)close_range((unsigned)agent + 1, ~0u, 0);
	for (int s = 1; s < NSIG; s++)
		(void)signal(s, SIG_DFL);
	for (;;)
		(void)syscall(SYS_pause);
}

static long clone_blank(struct shepherd *sh, pid_t pid, int *pidfd)
{
	struct clone_args args = { .flags = CLONE_INTO_CGROUP | CLONE_PIDFD,
				   .exit_signal = SIGCHLD,
				   .set_tid = (uint64_t)(uintptr_t)&pid,
				   .set_tid_size = 1,
				   .cgroup = (uint64_t)sh->cgroup,
				   .pidfd = (uint64_t)(uintptr_t)pidfd };

	return syscall(SYS_clone3, &args, sizeof args);
}

/* The limit is what procd happened to have; the job's own is set at the end, from what it had. */
static void allow_high_numbers(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > 2 * AGENT_SOCKET_MIN)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int start(struct shepherd *sh, const Godwit__Shepherd__Blank *b, const int ends[STREAM_N],
		 struct blank_ends *ret, struct err *e)
{
	_cleanup_fd_ int agent = -EBADF;
	int pair[2];
	long pid;

	allow_high_numbers();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, "cannot make a socket pair");
	ret->fds[1] = pair[0];
	agent = fcntl(pair[1], F_DUPFD,
		      AGENT_SOCKET_MIN); /* without CLOEXEC: it never execs, and nothing else inherits */
	(void)close(pair[1]);
	if (agent < 0)
		return err_errno(e, "cannot place the agent's socket");
	pid = clone_blank(sh, b->pid, &sh->leader_pidfd);
	if (!pid)
		wait_for_the_mover(sh, agent, ends);
	if (pid < 0)
		return err_errno(e, "cannot make a process with pid %d", b->pid);
	sh->leader = (pid_t)pid;
	ret->agent_socket = (uint32_t)agent;
	return 0;
}

int blank_make(struct shepherd *sh, const Godwit__Shepherd__Blank *b, struct blank_ends *ret, struct err *e)
{
	int ends[STREAM_N] = { -EBADF, -EBADF, -EBADF };
	size_t n = 0;
	int r;

	for (size_t i = 0; i < ARRAY_LEN(ret->fds); i++)
		ret->fds[i] = -EBADF;
	r = set_clocks(b, e);
	if (!r)
		r = open_ends(sh, b, ends, &n, e);
	if (!r)
		r = start(sh, b, ends, ret, e);
	for (size_t i = 0; i < STREAM_N; i++)
		ret->fds[2 + i] = ends[i];
	ret->n = 2 + n;
	if (r < 0)
		return r;
	ret->fds[0] = fcntl(sh->leader_pidfd, F_DUPFD_CLOEXEC, 3);
	if (ret->fds[0] < 0)
		return err_errno(e, "cannot copy a pidfd");
	sh->log_bytes = b->log_bytes;
	sh->phase = GODWIT__SHEPHERD__STATE__PHASE__BLANK;
	leader_drop_privileges(sh, b->uid, b->gid);
	return 0;
}
