/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Letting threads leave their system calls, and stopping them there.
 *
 * Theory of operation. A thread that sleeps in a call cannot be told to stop when it comes out: whatever reaches
 * it wakes it. But a thread that has been stopped once, its call to be made again, can be let go by
 * PTRACE_SYSCALL. It enters the call anew (a stop), sleeps in it as long as it takes, and stops at its exit,
 * before it has executed an instruction of its own. There the number of the call is wiped out of its registers, so
 * that the result is a result and nothing else, and the thread is led into the kind of stop in which all others
 * are.
 *
 * Signals are delivered as ever. One with a handler makes the thread leave its call; the next call it makes, in
 * the handler or behind it, is then the one that is waited for.
 *
 * When we die, or give up, the kernel detaches those threads where they are: none of them is interrupted.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "inject/internal.h"
#include "inject/interrupted.h"

#define SYSCALL_STOP (SIGTRAP | 0x80)
#define SETTLE_US 500000u

static int go_on(pid_t tid, int signal)
{
	return ptrace(PTRACE_SYSCALL, tid, 0, signal) < 0 ? -errno : 0;
}

/* Has the thread come out of a call, for good? What is to be made again by the kernel is not over. */
static bool has_left(pid_t tid)
{
	struct __ptrace_syscall_info info = { 0 };

	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) <= 0 || info.op != PTRACE_SYSCALL_INFO_EXIT)
		return false;
	return info.exit.rval > -ERESTARTSYS || info.exit.rval < -ERESTART_RESTARTBLOCK;
}

/* From the stop at the exit to the stop in which all others are. */
static int settle(struct remote *r, struct remote_thread *t, struct err *e)
{
	struct user_regs_struct regs;
	int err = trace_get_regs(t->tid, &regs);

	regs.orig_rax = (uint64_t)-1;
	if (!err)
		err = trace_set_regs(t->tid, &regs);
	if (!err && ptrace(PTRACE_INTERRUPT, t->tid, 0, 0) < 0)
		err = -errno;
	if (!err)
		err = trace_go(t->tid, 0);
	if (!err)
		err = session_wait_stopped(r, t->tid, now_us() + SETTLE_US);
	if (!err)
		err = thread_read(r, t, e);
	t->draining = false;
	return err;
}

/* What a stop of a thread that drains means. */
static int judge(struct remote *r, struct remote_thread *t, int status, struct err *e)
{
	int sig = WSTOPSIG(status);

	if (status >> 16 == PTRACE_EVENT_STOP && sig != SIGTRAP) {
		r->group_stop = sig; /* somebody has stopped the whole job; its call goes on when it does */
		t->draining = false;
		t->left_nr = -1;
		return thread_read(r, t, e);
	}
	if (status >> 16)
		return go_on(t->tid, 0);
	if (sig != SYSCALL_STOP)
		return go_on(t->tid, sig);
	return has_left(t->tid) ? settle(r, t, e) : go_on(t->tid, 0);
}

/* Looks once at every thread that drains; how many still do, or an error. */
static int look_round(struct remote *r, struct err *e)
{
	int left = 0;

	for (size_t i = 0; i < r->n_threads;) {
		struct remote_thread *t = &r->threads[i];
		int status, err = 0;
		pid_t got = t->draining ? waitpid(t->tid, &status, __WALL | WNOHANG) : 0;

		if (got == t->tid && WIFSTOPPED(status))
			err = judge(r, t, status, e);
		else if (got)
			err = -ESRCH;
		if (err == -ESRCH) {
			threads_remove(r, i);
			continue;
		}
		if (err < 0)
			return err_code(e, err, "thread %d cannot leave its call", t->vtid);
		left += t->draining;
		i++;
	}
	return left;
}

static int let_go(struct remote *r, struct err *e)
{
	for (size_t i = 0; i < r->n_threads; i++) {
		struct remote_thread *t = &r->threads[i];
		int err;

		if (!t->draining)
			continue;
		if (ptrace(PTRACE_SETOPTIONS, t->tid, 0, r->link->options | PTRACE_O_TRACESYSGOOD) < 0)
			err = -errno;
		else
			err = go_on(t->tid, 0);
		if (err < 0 && err != -ESRCH)
			return err_code(e, err, "thread %d cannot go on in its call", t->vtid);
	}
	return 0;
}

/* Until a thread has stopped. */
static int wait_for_stop(int stops, uint64_t deadline_us, int cancel, int left, struct err *e)
{
	struct pollfd fds[2] = { { .fd = stops, .events = POLLIN }, { .fd = cancel, .events = POLLIN } };
	struct signalfd_siginfo dropped;
	uint64_t now = now_us();

	if (now >= deadline_us)
		return err_set(e, -ETIME, "%d of its threads have not left their calls", left);
	if (poll(fds, 2, (int)MIN((deadline_us - now) / 1000 + 1, 60000u)) > 0 && fds[1].revents)
		return err_set(e, -ECANCELED, "given up");
	(void)!read(stops, &dropped, sizeof dropped);
	return 0;
}

int remote_drain(struct remote *r, uint64_t deadline_us, int cancel, struct err *e)
{
	_cleanup_fd_ int stops = -EBADF;
	sigset_t chld;
	int left, err;

	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	stops = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	if (stops < 0)
		return err_errno(e, "cannot wait for threads");
	err = let_go(r, e);
	while (!err && (left = look_round(r, e)))
		err = left < 0 ? left : wait_for_stop(stops, deadline_us, cancel, left, e);
	if (err < 0)
		return err;
	if (!r->n_threads)
		return err_set(e, -ESRCH, "process %d has ended", r->pid);
	return session_stop_rest(r, r->n_threads, now_us() + SETTLE_US, e);
}
