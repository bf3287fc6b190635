/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread is: registers of all kinds, mask, alternate stack, name, and the addresses that the kernel keeps
 * for it (thread pointer, clear_child_tid, robust list, rseq).
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/thread.h"
#include "state/xstate.h"

#define PR_GET_TID_ADDRESS 40
#ifndef ARCH_GET_XCOMP_PERM
#define ARCH_GET_XCOMP_PERM 0x1022
#define ARCH_REQ_XCOMP_PERM 0x1023
#endif
#define ALTSTACK_DISABLED 2
#define NAME_LEN 16

struct kernel_altstack {
	uint64_t sp;
	int32_t flags, pad;
	uint64_t size;
};

/* What ask_thread leaves room for. */
struct answers {
	uint64_t tid_address;
	struct kernel_altstack altstack;
	char name[NAME_LEN];
};

/* --- source --- */

static void refuse(struct state_source *s, const char *object, const char *help, const char *reason)
{
	problem_add(s->problems, s->vpid, -1, object, help, "%s", reason);
}

static int check_exe(struct state_source *s)
{
	unsigned char ident[20];
	_cleanup_fd_ int fd = openat(s->proc, "exe", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, ident, sizeof ident, 0) != (ssize_t)sizeof ident)
		return 0; /* the file table's business */
	if (ident[EI_CLASS] != ELFCLASS64 || ident[18] != EM_X86_64)
		refuse(s, "program", "run a 64-bit build of it", "it is not a 64-bit x86 program");
	return 0;
}

static void check_task(struct state_source *s, const char *tid)
{
	char path[64];
	_cleanup_free_ char *status = NULL;
	const char *line;

	(void)snprintf(path, sizeof path, "task/%s/status", tid);
	if (state_slurp(s->problems, s->proc, path, 65536, &status) < 0)
		return; /* it has ended */
	line = strstr(status, "\nSeccomp:\t");
	if (line)
		seccomp_check_mode(s, line[10] - '0');
}

static int check_threads(struct state_source *s)
{
	struct remote r;
	struct err e;
	char tid[16];
	int n;

	/* A session that is never stopped is a list of threads. */
	if (remote_open(&r, s->pid, &e) < 0)
		return 0;
	n = (int)r.n_threads;
	for (size_t i = 0; i < r.n_threads; i++) {
		(void)snprintf(tid, sizeof tid, "%d", r.threads[i].tid);
		check_task(s, tid);
	}
	remote_done(&r);
	return n;
}

static int check(struct state_source *s, struct err *e)
{
	(void)e;
	xstate_learn();
	if (s->requirements)
		s->requirements->threads = (uint32_t)check_threads(s);
	return check_exe(s);
}

static Godwit__Ckpt__Thread *new_thread(int tid)
{
	Godwit__Ckpt__Thread *m = xmalloc(sizeof *m);

	godwit__ckpt__thread__init(m);
	m->tid = tid;
	return m;
}

/* Only how many there are and what they are called (by number). */
static int describe(struct state_source *s, struct err *e)
{
	struct remote r;
	int err = remote_open(&r, s->pid, e);

	if (err < 0)
		return err;
	s->process->pid = s->vpid;
	s->process->threads = xcalloc(r.n_threads, sizeof(*s->process->threads));
	for (size_t i = 0; i < r.n_threads; i++)
		s->process->threads[s->process->n_threads++] = new_thread(r.threads[i].vtid);
	remote_done(&r);
	return 0;
}

/* Components that a process may use only after it has asked for them are a permission of the process. */
static int ask(struct state_source *s, struct batch *b, struct err *e)
{
	(void)e;
	s->asked->at = batch_room(b, sizeof(uint64_t));
	s->asked->call = batch_call(b, NULL, SYS_arch_prctl, bval(ARCH_GET_XCOMP_PERM), bdata(s->asked->at));
	return b->error;
}

static int take(struct state_source *s, struct batch *b, struct err *e)
{
	uint64_t mask;

	(void)e;
	if (batch_ret(b, s->asked->call) < 0) /* before Linux 5.16 there is nothing to ask for */
		return 0;
	memcpy(&mask, batch_at(b, s->asked->at), sizeof mask);
	s->process->xstate_permission = mask & XSTATE_DYNAMIC;
	return 0;
}

static int ask_thread(struct state_source *s, struct remote_thread *t, struct batch *b, struct err *e)
{
	uint32_t at = batch_room(b, sizeof(struct answers));

	(void)t;
	(void)e;
	s->asked->at = at;
	s->asked->call = batch_call(b, NULL, SYS_prctl, bval(PR_GET_TID_ADDRESS),
				    bdata(at + (uint32_t)offsetof(struct answers, tid_address)));
	(void)batch_call(b, "cannot ask for the alternate stack", SYS_sigaltstack, bval(0),
			 bdata(at + (uint32_t)offsetof(struct answers, altstack)));
	(void)batch_call(b, "cannot ask for a thread's name", SYS_prctl, bval(PR_GET_NAME),
			 bdata(at + (uint32_t)offsetof(struct answers, name)));
	return b->error;
}

static void put_bytes(ProtobufCBinaryData *to, const void *from, size_t len)
{
	to->data = xmalloc(len);
	memcpy(to->data, from, len);
	to->len = len;
}

static int take_xstate(struct remote_thread *t, Godwit__Ckpt__Thread *m, struct err *e)
{
	static _Thread_local uint8_t room[XSTATE_MAX];
	struct iovec iov = { .iov_base = room, .iov_len = sizeof room };

	if (ptrace(PTRACE_GETREGSET, t->tid, NT_X86_XSTATE, &iov) < 0)
		return err_errno(e, "cannot read the vector registers of thread %d", t->vtid);
	put_bytes(&m->xstate, room, xstate_used(room, iov.iov_len));
	return 0;
}

static int take_thread(struct state_source *s, struct remote_thread *t, Godwit__Ckpt__Thread *m, struct batch *b,
		       struct err *e)
{
	const struct answers *a = batch_at(b, s->asked->at);
	Godwit__Ckpt__AltStack *alt = xmalloc(sizeof *alt);
	void *head = NULL;
	size_t len = 0;

	if (batch_ret(b, s->asked->call) < 0)
		return err_code(e, (int)batch_ret(b, s->asked->call),
				"cannot ask for a thread's clear_child_tid address");
	m->tid = t->vtid;
	put_bytes(&m->regs, &t->regs, sizeof t->regs);
	m->sigmask = t->sigmask;
	m->clear_child_tid = a->tid_address;
	m->rseq_ptr = t->rseq.ptr;
	m->rseq_len = t->rseq.len;
	m->rseq_sig = t->rseq.sig;
	m->rseq_flags = t->rseq.flags;
	godwit__ckpt__alt_stack__init(alt);
	alt->sp = a->altstack.sp;
	alt->size = a->altstack.size;
	alt->flags = a->altstack.flags;
	m->altstack = alt;
	m->comm = strndup(a->name, NAME_LEN);
	if (syscall(SYS_get_robust_list, t->tid, &head, &len) < 0)
		return err_errno(e, "cannot read the robust list of thread %d", t->vtid);
	m->robust_list = (uintptr_t)head;
	m->robust_len = len;
	return take_xstate(t, m, e);
}

/* --- destination --- */

static int restore(struct state_target *d, struct batch *b, struct err *e)
{
	uint64_t mask = d->process->xstate_permission & XSTATE_DYNAMIC;

	(void)e;
	for (unsigned i = 0; i < 64; i++)
		if (mask >> i & 1)
			(void)batch_call(b, "cannot get permission for large vector registers", SYS_arch_prctl,
					 bval(ARCH_REQ_XCOMP_PERM), bval(i));
	return b->error;
}

static void restore_altstack(const Godwit__Ckpt__AltStack *m, struct batch *b)
{
	struct kernel_altstack alt = { .sp = m->sp, .flags = m->flags & ~1, .size = m->size };

	if (!(m->flags & ALTSTACK_DISABLED))
		(void)batch_call(b, "cannot set the alternate stack", SYS_sigaltstack,
				 bdata(batch_put(b, &alt, sizeof alt)), bval(0));
}

static int restore_thread(struct state_target *d, struct remote_thread *t, const Godwit__Ckpt__Thread *m,
			  struct batch *b, struct err *e)
{
	char name[NAME_LEN] = "";
	int err = state_room(d, t, b, 8, sizeof name + sizeof(struct kernel_altstack), e);

	if (err < 0)
		return err;
	if (xstate_in_use(m->xstate.data, m->xstate.len) & XSTATE_DYNAMIC)
		batch_touch_tiles(b);
	(void)strncpy(name, m->comm, sizeof name - 1);
	(void)batch_call(b, "cannot set a thread's name", SYS_prctl, bval(PR_SET_NAME),
			 bdata(batch_put(b, name, sizeof name)));
	if (m->robust_len)
		(void)batch_call(b, "cannot set a robust list", SYS_set_robust_list, bval(m->robust_list),
				 bval(m->robust_len));
	(void)batch_call(b, "cannot set a thread id address", SYS_set_tid_address, bval(m->clear_child_tid));
	if (m->altstack)
		restore_altstack(m->altstack, b);
	if (m->rseq_ptr)
		(void)batch_call(b, "cannot register rseq", SYS_rseq, bval(m->rseq_ptr), bval(m->rseq_len),
				 bval(m->rseq_flags), bval(m->rseq_sig));
	return b->error;
}

int thread_settle(struct state_target *d, struct remote_thread *t, const Godwit__Ckpt__Thread *m, struct err *e)
{
	uint8_t room[XSTATE_MAX];
	struct iovec iov = { .iov_base = room, .iov_len = sizeof room };
	int err;

	(void)d;
	if (ptrace(PTRACE_GETREGSET, t->tid, NT_X86_XSTATE, &iov) < 0)
		return err_errno(e, "cannot read the vector registers of thread %d", t->vtid);
	err = xstate_fit(m->xstate.data, m->xstate.len, room, iov.iov_len, e);
	if (err < 0)
		return err;
	if (ptrace(PTRACE_SETREGSET, t->tid, NT_X86_XSTATE, &iov) < 0)
		return err_errno(e, "cannot set the vector registers of thread %d", t->vtid);
	t->sigmask = m->sigmask;
	if (ptrace(PTRACE_SETREGS, t->tid, 0, &t->regs) < 0)
		return err_errno(e, "cannot set the registers of thread %d", t->vtid);
	if (ptrace(PTRACE_SETSIGMASK, t->tid, sizeof t->sigmask, &t->sigmask) < 0)
		return err_errno(e, "cannot set the signal mask of thread %d", t->vtid);
	return 0;
}

const struct state_module state_thread = {
	.name = "thread",
	.phase = STATE_THREADS,
	.check = check,
	.describe = describe,
	.ask = ask,
	.take = take,
	.ask_thread = ask_thread,
	.take_thread = take_thread,
	.restore = restore,
	.restore_thread = restore_thread,
};
