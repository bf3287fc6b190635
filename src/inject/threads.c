/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "inject/filter.h"
#include "inject/internal.h"
#include "inject/interrupted.h"

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif

struct remote_thread *threads_add(struct remote *r, pid_t tid, pid_t vtid)
{
	struct remote_thread *t;

	r->threads = xrealloc(r->threads, (r->n_threads + 1) * sizeof *r->threads);
	t = &r->threads[r->n_threads++];
	memset(t, 0, sizeof *t);
	t->tid = tid;
	t->vtid = vtid;
	t->call_nr = -1;
	t->left_nr = -1;
	t->call_expires_ns = -1;
	return t;
}

void threads_remove(struct remote *r, size_t i)
{
	filters_free(r->threads[i].filters);
	memmove(&r->threads[i], &r->threads[i + 1], (r->n_threads - i - 1) * sizeof *r->threads);
	r->n_threads--;
}

static struct remote_thread *threads_find(struct remote *r, pid_t tid)
{
	for (size_t i = 0; i < r->n_threads; i++)
		if (r->threads[i].tid == tid)
			return &r->threads[i];
	return NULL;
}

/* The last number of "NSpid:" is the one that the process itself sees. */
static int read_vtid(struct remote *r, pid_t tid, pid_t *ret_vtid)
{
	char path[48];
	_cleanup_free_ char *text = NULL;
	char *line, *end;
	ssize_t n;

	(void)snprintf(path, sizeof path, "task/%d/status", tid);
	n = fd_slurp(r->link->proc, path, 65536, &text);
	if (n < 0)
		return (int)n;
	line = strstr(text, "\nNSpid:");
	if (!line)
		return -EPROTO;
	end = strchrnul(line + 1, '\n');
	*end = '\0';
	line = strrchr(line, '\t');
	*ret_vtid = line ? atoi(line + 1) : 0;
	return *ret_vtid > 0 ? 0 : -EPROTO;
}

/* Adds the threads that are not known yet; returns how many. The kernel lists the leader first. */
int threads_list(struct remote *r, struct err *e)
{
	int fd = openat(r->link->proc, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int added = 0, err = 0;

	if (!dir) {
		err = session_unreadable(r, -errno, "threads", e);
		fd_close(&fd);
		return err;
	}
	while ((entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name), vtid = 0;

		if (tid <= 0 || threads_find(r, tid))
			continue;
		err = read_vtid(r, tid, &vtid);
		if (err == -EMFILE || err == -ENFILE || err == -ENOMEM || err == -EIO) {
			err = session_unreadable(r, err, "a thread's status", e);
			break;
		}
		if (!err) { /* else it has ended meanwhile */
			(void)threads_add(r, tid, vtid);
			added++;
		}
		err = 0;
	}
	(void)closedir(dir);
	return err < 0 ? err : added;
}

/*
 * A thread stopped inside a restartable sequence must leave it through its abort handler. The kernel would see to
 * that itself when the thread returns to user mode, but the first system call that we make in it would wipe
 * rseq_cs out.
 */
static int leave_rseq(struct remote *r, struct remote_thread *t)
{
	struct {
		uint32_t version, flags;
		uint64_t start, len, abort;
	} cs;
	uint64_t at;
	int err;

	if (!t->rseq.ptr || t->regs.orig_rax != (uint64_t)-1)
		return 0;
	err = remote_read(r, (raddr_t) { t->rseq.ptr + 8 }, &at, sizeof at);
	if (err < 0 || !at)
		return err;
	err = remote_read(r, (raddr_t) { at }, &cs, sizeof cs);
	if (err < 0)
		return 0; /* rubbish: the kernel will deal with it as it would have */
	if (t->regs.rip - cs.start >= cs.len)
		return 0;
	t->regs.rip = cs.abort;
	return trace_set_regs(t->tid, &t->regs);
}

#define SYSCALL_INSN_LEN 2

static bool is_syscall(const struct remote *r, uint64_t at)
{
	uint8_t code[SYSCALL_INSN_LEN];

	return remote_read(r, (raddr_t) { at }, code, sizeof code) == 0 && code[0] == 0x0f && code[1] == 0x05;
}

/*
 * 1. A stop is over, and the kernel has moved the thread back to make its call again: rax the number, orig_rax
 *    still the call's (Linux 6.18).
 * 2. Before it comes to user mode it is stopped once more.
 * Its rax is no result. As before the first stop, it is said to be in a call that is to be made again.
 */
static void undo_restart(struct remote *r, struct remote_thread *t)
{
	struct user_regs_struct *regs = &t->regs;
	bool block = regs->rax == SYS_restart_syscall;

	if ((long)regs->orig_rax < 0 || (regs->rax != regs->orig_rax && !block) || !is_syscall(r, regs->rip))
		return;
	regs->rip += SYSCALL_INSN_LEN;
	regs->rax = (uint64_t)-ERESTARTNOINTR;
	if (block)
		regs->rax = (uint64_t)-ERESTART_RESTARTBLOCK;
	else if (call_shows_eintr((long)regs->orig_rax))
		regs->rax = (uint64_t)-ERESTARTNOHAND;
}

/* Calls that show EINTR after any stop: let the kernel restart them instead, or give EINTR if a handler runs. */
static int mend_eintr(struct remote_thread *t)
{
	if ((int64_t)t->regs.rax != -EINTR || !call_shows_eintr(t->call_nr))
		return 0;
	t->regs.rax = (uint64_t)-ERESTARTNOHAND;
	return trace_set_regs(t->tid, &t->regs);
}

/*
 * The filters are suspended from here until the thread is let go, and not before it has stopped: what it does by
 * itself they must judge.
 *
 * One that does not let restart_syscall() pass: then the call itself is to be made again.
 */
static int read_filters(struct remote *r, struct remote_thread *t)
{
	static const uint64_t none[6];
	int err;

	filters_free(t->filters);
	t->filters = NULL;
	if (!r->link->can_suspend)
		return 0;
	err = filters_read(t->tid, &t->filters);
	if (!err && t->filters &&
	    ptrace(PTRACE_SETOPTIONS, t->tid, 0, r->link->options | PTRACE_O_SUSPEND_SECCOMP) < 0)
		err = -errno;
	if (err < 0 || !t->filters || (int64_t)t->regs.rax != -ERESTART_RESTARTBLOCK ||
	    filters_ask(t->filters, SYS_restart_syscall, none, t->regs.rip) == FILTER_LETS)
		return err;
	t->regs.rax = (uint64_t)-ERESTARTNOHAND;
	return trace_set_regs(t->tid, &t->regs);
}

int thread_read(struct remote *r, struct remote_thread *t, struct err *e)
{
	int err = trace_get_regs(t->tid, &t->regs);

	if (!err)
		err = trace_get_mask(t->tid, &t->sigmask);
	if (err < 0)
		return err_code(e, err, "cannot read the registers of thread %d", t->vtid);
	undo_restart(r, t);
	t->call_nr = (long)t->regs.orig_rax < 0 ? -1 : (long)t->regs.orig_rax;
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, t->tid, sizeof t->rseq, &t->rseq) < 0)
		memset(&t->rseq, 0, sizeof t->rseq);
	err = leave_rseq(r, t);
	if (!err)
		err = mend_eintr(t);
	if (err < 0)
		return err_code(e, err, "cannot set the registers of thread %d", t->vtid);
	err = read_filters(r, t);
	if (err < 0)
		return err_code(e, err, "cannot read the seccomp filters of thread %d", t->vtid);
	return 0;
}
