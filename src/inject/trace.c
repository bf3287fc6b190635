/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "inject/internal.h"

#define BATCH_DEADLINE_US 60000000u

/* A stop of a traced thread raises SIGCHLD in its tracer, which keeps that signal blocked; so there is no moment
 * between the look and the sleep in which a stop could be missed. */
int trace_wait(pid_t tid, uint64_t deadline_us, int *ret_status)
{
	sigset_t chld;

	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	for (;;) {
		pid_t got = waitpid(tid, ret_status, __WALL | WNOHANG);
		uint64_t now;
		struct timespec left;

		if (got == tid)
			return WIFSTOPPED(*ret_status) ? 0 : -ESRCH;
		if (got < 0 && errno != EINTR)
			return -ESRCH;
		now = now_us();
		if (now >= deadline_us)
			return -ETIME;
		left.tv_sec = (time_t)((deadline_us - now) / 1000000);
		left.tv_nsec = (long)((deadline_us - now) % 1000000 * 1000);
		(void)sigtimedwait(&chld, NULL, &left);
	}
}

static int request(int what, pid_t tid, uintptr_t addr, uintptr_t data)
{
	return ptrace(what, tid, addr, data) < 0 ? -errno : 0;
}

int trace_get_regs(pid_t tid, struct user_regs_struct *regs)
{
	return request(PTRACE_GETREGS, tid, 0, (uintptr_t)regs);
}

int trace_set_regs(pid_t tid, const struct user_regs_struct *regs)
{
	return request(PTRACE_SETREGS, tid, 0, (uintptr_t)regs);
}

int trace_get_mask(pid_t tid, uint64_t *mask)
{
	return request(PTRACE_GETSIGMASK, tid, sizeof *mask, (uintptr_t)mask);
}

int trace_set_mask(pid_t tid, uint64_t mask)
{
	return request(PTRACE_SETSIGMASK, tid, sizeof mask, (uintptr_t)&mask);
}

int trace_go(pid_t tid, int signal)
{
	return request(PTRACE_CONT, tid, 0, (uintptr_t)signal);
}

static int note_birth(struct remote *r, pid_t parent, struct err *e)
{
	struct agent_link *link = r->link;
	unsigned long tid;

	if (ptrace(PTRACE_GETEVENTMSG, parent, 0, &tid) < 0)
		return err_errno(e, "cannot learn which thread was born");
	link->born = xrealloc(link->born, (link->n_born + 1) * sizeof(*link->born));
	link->born[link->n_born++] = (pid_t)tid;
	return 0;
}

/* What a stop on the way to the doorbell means. 1: rung; 0: let it go on; else an error. */
static int judge_stop(struct remote *r, pid_t tid, int status, uint64_t rang, struct user_regs_struct *regs,
		      struct err *e)
{
	int sig = WSTOPSIG(status);
	int err;

	if (status >> 16 == PTRACE_EVENT_CLONE)
		return note_birth(r, tid, e);
	if (status >> 16) /* PTRACE_EVENT_STOP of a group stop: nothing to us here */
		return 0;
	if (sig == SIGSTOP) {
		r->link->kept_stop = true;
		return 0;
	}
	err = trace_get_regs(tid, regs);
	if (err < 0)
		return err_code(e, err, "cannot read the registers of thread %d", tid);
	if (sig == r->link->doorbell)
		return regs->rip == rang;
	return err_set(e, -EIO, "thread %d got signal %d at %#llx while it worked for us", tid, sig,
		       (unsigned long long)regs->rip);
}

static int run_to_doorbell(struct remote *r, struct remote_thread *t, uint64_t rang, struct user_regs_struct *regs,
			   struct err *e)
{
	uint64_t deadline = now_us() + BATCH_DEADLINE_US;

	for (;;) {
		int status;
		int err = trace_go(t->tid, 0);

		if (err < 0)
			return err_code(e, err, "cannot let thread %d run", t->tid);
		err = trace_wait(t->tid, deadline, &status);
		if (err < 0)
			return err_set(e, err,
				       err == -ESRCH ? "the process has ended"
						     : "thread %d does not come back from a batch",
				       t->tid);
		err = judge_stop(r, t->tid, status, rang, regs, e);
		if (err)
			return err < 0 ? err : 0;
	}
}

/*
 * The order matters should we be killed between two of these requests. On the way in: registers, then mask; if
 * only the registers were set, the thread runs our code under its own mask and that code restores the same mask.
 * On the way out: mask, then registers; if only the mask was set, the thread goes on in our code, and home,
 * likewise.
 */
int trace_run(struct remote *r, struct remote_thread *t, const struct user_regs_struct *go, uint64_t rang,
	      struct user_regs_struct *after, struct err *e)
{
	struct user_regs_struct regs;
	int err, home;

	err = trace_set_regs(t->tid, go);
	if (!err)
		err = trace_set_mask(t->tid, batch_mask(r->link));
	if (err < 0)
		return err_code(e, err, "cannot set the registers of thread %d", t->tid);
	err = run_to_doorbell(r, t, rang, &regs, e);
	if (err == -ESRCH || err == -ETIME)
		return err;
	home = trace_set_mask(t->tid, t->sigmask);
	if (!home)
		home = trace_set_regs(t->tid, &t->regs);
	if (!err && home < 0)
		err = err_code(e, home, "cannot put thread %d back", t->tid);
	if (!err && after)
		*after = regs;
	return err;
}

/*
 * The kernel enters the call, sees that there is something to do before it could sleep, and returns. The stop at
 * the entry is needed: interrupted before it, the thread would stop without having entered.
 */
static int interrupt_at_entry(struct remote_thread *t, const struct user_regs_struct *go,
			      struct user_regs_struct *after)
{
	uint64_t deadline = now_us() + BATCH_DEADLINE_US;
	int status, err = trace_set_regs(t->tid, go);

	if (!err)
		err = trace_set_mask(t->tid, ~UINT64_C(0));
	if (!err)
		err = request(PTRACE_SYSCALL, t->tid, 0, 0);
	if (!err)
		err = trace_wait(t->tid, deadline, &status);
	if (!err)
		err = request(PTRACE_INTERRUPT, t->tid, 0, 0);
	if (!err)
		err = trace_go(t->tid, 0);
	if (!err)
		err = trace_wait(t->tid, deadline, &status);
	if (!err)
		err = trace_get_regs(t->tid, after);
	return err;
}

int64_t remote_sleep(struct remote *r, struct remote_thread *t, long nr, const uint64_t arg[6], uint8_t in_data,
		     const void *data, size_t len, struct err *e)
{
	const uint64_t *head = (const void *)agent_blob_start;
	uint64_t args[6], at = remote_batch_addr(r, 0).a;
	struct user_regs_struct go, after;
	int err = remote_write(r, (raddr_t) { at }, data, len);

	for (int i = 0; i < 6; i++)
		args[i] = arg[i] + (in_data >> i & 1 ? at : 0);
	arch_call(&go, &t->regs, r->agent.a + head[2], nr, args);
	if (!err)
		err = interrupt_at_entry(t, &go, &after);
	if (!err)
		err = trace_set_mask(t->tid, t->sigmask);
	if (!err)
		err = trace_set_regs(t->tid, &t->regs);
	if (err < 0)
		return err_code(e, err, "cannot put thread %d to sleep again", t->vtid);
	return (int64_t)after.rax;
}
