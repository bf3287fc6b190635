/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "inject/filter.h"
#include "inject/internal.h"

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

static uint64_t status_hex(const char *status, const char *name)
{
	const char *at = strstr(status, name);

	return at ? strtoull(at + strlen(name), NULL, 16) : 0;
}

/* A signal that this process does not handle and whose default is to be ignored: it can ring without a trace. One
 * that is pending would be confused with it. SIGCONT comes last, since it wakes a stopped process. */
static void choose_doorbell(struct remote *r, uint64_t bad)
{
	static const int candidates[] = { SIGWINCH, SIGURG, SIGCHLD, SIGCONT };

	r->link->doorbell = SIGWINCH;
	for (size_t i = 0; i < ARRAY_LEN(candidates); i++) {
		if (bad >> (candidates[i] - 1) & 1)
			continue;
		r->link->doorbell = candidates[i];
		return;
	}
	log_warn("pid %d handles every signal that could serve as a doorbell", r->pid);
}

int session_unreadable(const struct remote *r, int code, const char *what, struct err *e)
{
	if (code == -ENOENT || code == -ESRCH)
		return err_set(e, -ESRCH, "process %d has ended", r->pid);
	return err_code(e, code, "cannot read %s of process %d", what, r->pid);
}

static int look(struct remote *r, struct err *e)
{
	_cleanup_free_ char *status = NULL;
	const char *line;
	int tracer;
	ssize_t n = fd_slurp(r->link->proc, "status", 65536, &status);

	if (n < 0)
		return session_unreadable(r, (int)n, "status", e);
	line = strstr(status, "\nTracerPid:");
	tracer = line ? atoi(line + 11) : 0;
	if (tracer && !r->link->stopped)
		return err_set(e, -EBUSY, "process %d is being traced by process %d", r->pid, tracer);
	choose_doorbell(r, status_hex(status, "\nSigCgt:") | status_hex(status, "\nShdPnd:") |
				   status_hex(status, "\nSigPnd:"));
	return 0;
}

int remote_open(struct remote *r, pid_t pid, struct err *e)
{
	char path[32];
	sigset_t chld;
	int err;

	memset(r, 0, sizeof *r);
	r->pid = pid;
	r->link = xcalloc(1, sizeof *r->link);
	fail_init(r->link);
	r->link->can_suspend = filter_can_suspend();
	(void)snprintf(path, sizeof path, "/proc/%d", pid);
	r->link->mem = -EBADF;
	r->link->proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r->link->proc >= 0)
		r->link->mem = openat(r->link->proc, "mem", O_RDWR | O_CLOEXEC);
	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &chld, NULL);
	if (r->link->mem < 0)
		err = err_errno(e, "cannot open process %d", pid);
	else
		err = look(r, e);
	if (!err)
		err = threads_list(r, e);
	if (err >= 0 && !r->n_threads)
		err = err_set(e, -ESRCH, "process %d has ended", pid);
	if (err < 0) {
		remote_done(r);
		return err;
	}
	r->vpid = r->threads[0].vtid;
	foothold_find(r);
	return 0;
}

/* A signal may have been on its way: it is delivered as ever, and the stop that we asked for follows. */
int session_wait_stopped(struct remote *r, pid_t tid, uint64_t deadline_us)
{
	for (;;) {
		int status;
		int err = trace_wait(tid, deadline_us, &status);

		if (err < 0)
			return err;
		if (status >> 16 == PTRACE_EVENT_STOP) {
			if (WSTOPSIG(status) != SIGTRAP)
				r->group_stop = WSTOPSIG(status);
			return 0;
		}
		err = trace_go(tid, status >> 16 ? 0 : WSTOPSIG(status));
		if (err < 0)
			return err;
	}
}

static int seize_from(struct remote *r, size_t first, struct err *e)
{
	for (size_t i = first; i < r->n_threads;) {
		pid_t tid = r->threads[i].tid;

		if (ptrace(PTRACE_SEIZE, tid, 0, r->link->options) < 0) {
			if (errno != ESRCH)
				return err_errno(e, "cannot trace thread %d", r->threads[i].vtid);
			threads_remove(r, i);
			continue;
		}
		(void)ptrace(PTRACE_INTERRUPT, tid, 0, 0);
		if (!r->stopped_at_us)
			r->stopped_at_us = now_us();
		i++;
	}
	return 0;
}

/* Each thread's registers are mended as soon as it stands still: should we die before, some calls show EINTR. */
static int wait_from(struct remote *r, size_t first, uint64_t deadline_us, struct err *e)
{
	for (size_t i = first; i < r->n_threads;) {
		struct remote_thread *t = &r->threads[i];
		int err = session_wait_stopped(r, t->tid, deadline_us);

		if (err == -ETIME)
			return err_set(e, err,
				       "thread %d cannot be stopped: it sleeps in the kernel and cannot be woken",
				       t->vtid);
		if (!err)
			err = thread_read(r, t, e);
		if (err == -ESRCH) {
			threads_remove(r, i);
			continue;
		}
		if (err < 0)
			return err;
		i++;
	}
	return 0;
}

/* New threads appear only as long as one runs: the first list without a new one, taken when all that are known are
 * stopped, is complete. */
int session_stop_rest(struct remote *r, size_t known, uint64_t deadline_us, struct err *e)
{
	for (;;) {
		int err = seize_from(r, known, e);

		if (!err)
			err = wait_from(r, known, deadline_us, e);
		if (err < 0)
			return err;
		known = r->n_threads;
		err = threads_list(r, e);
		if (err <= 0)
			return err;
	}
}

/* A thread may be on its way home still, in the foothold or the agent of a mover that has just died. That takes it
 * no time, but the foothold must not be written meanwhile, and an agent that is inhabited would stay. */
static bool on_its_way_home(const struct remote *r)
{
	const struct agent_link *link = r->link;

	for (size_t i = 0; i < r->n_threads; i++) {
		uint64_t rip = r->threads[i].regs.rip;

		if (link->foothold.at && rip - link->foothold.at < link->foothold.len)
			return true;
		for (size_t k = 0; k < link->n_lingering; k++)
			if (link->lingering[k].code_len == AGENT_CODE_SIZE &&
			    rip - link->lingering[k].start < AGENT_CODE_SIZE)
				return true;
	}
	return false;
}

int remote_stop_listed(struct remote *r, uint64_t deadline_us, struct err *e)
{
	int err;

	r->link->stopped = true;
	err = seize_from(r, 0, e);
	if (!err)
		err = wait_from(r, 0, deadline_us, e);
	if (err < 0)
		remote_release(r);
	return err;
}

static int stop_once(struct remote *r, uint64_t deadline_us, struct err *e)
{
	int err;

	r->link->stopped = true;
	r->stopped_at_us = 0;
	err = session_stop_rest(r, 0, deadline_us, e);
	if (!err && !r->n_threads)
		err = err_set(e, -ESRCH, "process %d has ended", r->pid);
	if (!err) /* dispositions may have changed since remote_open */
		err = look(r, e);
	if (err < 0)
		remote_release(r);
	return err;
}

int remote_stop(struct remote *r, uint64_t deadline_us, struct err *e)
{
	/* Longer each time: on a busy machine a thread that is stopped every 100 us may never run in between. */
	for (unsigned pause_us = 100;; pause_us = MIN(2 * pause_us, 20000u)) {
		int err = stop_once(r, deadline_us, e);

		if (err < 0 || !on_its_way_home(r))
			return err;
		remote_release(r);
		if (now_us() > deadline_us)
			return err_set(e, -ETIME, "process %d does not leave what another mover has begun",
				       r->pid);
		(void)usleep(pause_us);
	}
}

int remote_stop_blank(struct remote *r, uint64_t deadline_us, struct err *e)
{
	/* Nothing runs in it but what we want, so its filters, once it gets them, are suspended from the start. */
	r->link->options =
		PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL | (r->link->can_suspend ? PTRACE_O_SUSPEND_SECCOMP : 0);
	return remote_stop(r, deadline_us, e);
}

int remote_adopt(struct remote *r, pid_t vtid, struct err *e)
{
	struct agent_link *link = r->link;
	pid_t tid;
	int err;

	if (!link->n_born)
		return err_set(e, -EPROTO, "thread %d was not born", vtid);
	tid = link->born[0];
	memmove(link->born, link->born + 1, --link->n_born * sizeof(*link->born));
	err = session_wait_stopped(r, tid, now_us() + 5000000);
	if (err < 0)
		return err_code(e, err, "new thread %d does not stop", vtid);
	return thread_read(r, threads_add(r, tid, vtid), e);
}

int remote_end_thread(struct remote *r, size_t i, struct err *e)
{
	struct remote_thread *t = &r->threads[i];
	const uint64_t *head = (const void *)agent_blob_start;
	struct user_regs_struct go;
	int status, err = 0;

	/* A blank's vDSO, where the foothold was to go, may have gone before. */
	if (!r->agent.a)
		err = foothold_plant(r, t, e);
	if (err < 0)
		return err;
	arch_exit(&go, &t->regs, r->agent.a ? r->agent.a + head[2] : r->link->foothold.at);
	err = trace_set_regs(t->tid, &go);
	if (!err)
		err = trace_go(t->tid, 0);
	while (!err)
		err = trace_wait(t->tid, now_us() + 5000000, &status) ?: trace_go(t->tid, 0);
	foothold_remove(r);
	if (err != -ESRCH)
		return err_code(e, err, "cannot end thread %d", t->vtid);
	threads_remove(r, i);
	return 0;
}

void remote_look_again(struct remote *r, uint64_t avoid)
{
	foothold_find(r);
	if (avoid)
		choose_doorbell(r, avoid);
}

int remote_put_regs(struct remote *r, struct err *e)
{
	for (size_t i = 0; i < r->n_threads; i++) {
		int err = trace_set_regs(r->threads[i].tid, &r->threads[i].regs);

		if (err < 0)
			return err_code(e, err, "cannot set the registers of thread %d", r->threads[i].vtid);
	}
	return 0;
}

void remote_release(struct remote *r)
{
	if (!r->link || !r->link->stopped)
		return;
	foothold_remove(r);
	for (size_t i = 0; i < r->n_threads; i++) {
		struct remote_thread *t = &r->threads[i];

		(void)ptrace(PTRACE_DETACH, t->tid, 0, 0);
	}
	if (r->link->kept_stop)
		(void)kill(r->pid, SIGSTOP);
	r->link->kept_stop = false;
	r->link->stopped = false;
}

void remote_done(struct remote *r)
{
	if (!r->link)
		return;
	remote_release(r);
	fd_close(&r->link->mem);
	fd_close(&r->link->proc);
	free(r->link->born);
	free(r->link->lingering);
	for (size_t i = 0; i < r->n_threads; i++)
		filters_free(r->threads[i].filters);
	free(r->link);
	free(r->threads);
	memset(r, 0, sizeof *r);
}

/* --- memory --- */

int remote_read(const struct remote *r, raddr_t from, void *to, size_t len)
{
	struct iovec here = { .iov_base = to, .iov_len = len };
	struct iovec there = { .iov_base = (void *)from.a, .iov_len = len };
	ssize_t n;

	if (process_vm_readv(r->pid, &here, 1, &there, 1, 0) == (ssize_t)len)
		return 0;
	n = pread(r->link->mem, to, len, (off_t)from.a); /* sees what is mapped without read permission, too */
	if (n < 0)
		return errno == EIO ? -EFAULT : -errno;
	return (size_t)n == len ? 0 : -EFAULT;
}

int remote_write(const struct remote *r, raddr_t to, const void *from, size_t len)
{
	struct iovec here = { .iov_base = (void *)(uintptr_t)from, .iov_len = len };
	struct iovec there = { .iov_base = (void *)to.a, .iov_len = len };
	ssize_t n;

	if (process_vm_writev(r->pid, &here, 1, &there, 1, 0) == (ssize_t)len)
		return 0;
	n = pwrite(r->link->mem, from, len, (off_t)to.a);
	if (n < 0)
		return errno == EIO ? -EFAULT : -errno;
	return (size_t)n == len ? 0 : -EFAULT;
}

int remote_getfd(const struct remote *r, int fd, struct err *e)
{
	int pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
	int got;

	if (pidfd < 0)
		return err_errno(e, "cannot open process %d", r->pid);
	got = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (got < 0)
		got = err_errno(e, "cannot take descriptor %d of process %d", fd, r->pid);
	(void)close(pidfd);
	return got;
}
