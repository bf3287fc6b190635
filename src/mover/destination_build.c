/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building the job in the blank process.
 *
 * Theory of operation. The blank is a fork of the shepherd, asleep. It is stopped, given the agent in a hole that
 * is free here and at the source, and freed of what its C library has registered with the kernel. Then the modules
 * act in the table's order: `prepare` while the job still runs at the source, `restore` when the checkpoint is
 * there. Threads are made early, by the agent, and stop before they have executed one instruction, since their
 * maker is traced. At the end the agent leaves by way of the foothold in the job's own vDSO, every thread gets its
 * registers, and all are let go into the frozen cgroup. If this mover dies before, the kernel kills the blank
 * (PTRACE_O_EXITKILL).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "mover/mover.h"
#include "state/mm.h"
#include "state/thread.h"

#define STOP_DEADLINE_US 2000000u
#define RSEQ_UNREGISTER 1
#define THREADS_AT_ONCE 64
#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

/* --- the blank --- */

static raddr_t find_hole(struct mover *m)
{
	const Godwit__Ckpt__Memory *mem = m->to.early->processes[0]->memory;
	uint64_t(*busy)[2] = NULL;
	size_t n = mem ? mm_busy(mem, &busy) : 0;
	raddr_t at = remote_hole(&m->remote, remote_agent_size(), (const uint64_t(*)[2])busy, n);

	free(busy);
	return at;
}

/* What the blank's C library has registered lies in memory that is about to go. */
static int strip_blank(struct mover *m, struct err *e)
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	struct remote_thread *t = &m->remote.threads[0];

	batch_init(b);
	if (t->rseq.ptr)
		(void)batch_call(b, "cannot unregister rseq", SYS_rseq, bval(t->rseq.ptr), bval(t->rseq.len),
				 bval(RSEQ_UNREGISTER), bval(t->rseq.sig));
	(void)batch_call(b, "cannot clear the robust list", SYS_set_robust_list, bval(0), bval(24));
	(void)batch_call(b, "cannot clear the thread id address", SYS_set_tid_address, bval(0));
	return batch_run(&m->remote, t, b, e);
}

/* It may still be on its way from clone() to its pause(): then it is let run again. */
static int stop_blank(struct mover *m, struct err *e)
{
	uint64_t deadline = now_us() + STOP_DEADLINE_US;
	struct remote *r = &m->remote;

	for (;;) {
		int err = remote_open(r, m->to.d.pid, e);

		if (err < 0)
			return err;
		err = remote_stop_blank(r, deadline, e);
		if (err < 0)
			return err;
		if (r->threads[0].call_nr == SYS_pause)
			return 0;
		if (now_us() > deadline)
			return err_set(e, -ETIME, "the blank does not come to rest");
		remote_done(r);
		(void)usleep(200);
	}
}

static int take_blank(struct mover *m, struct err *e)
{
	struct remote *r = &m->remote;
	raddr_t hole;
	int err = stop_blank(m, e);

	if (err < 0)
		return err;
	if (r->vpid != m->to.d.vpid)
		return err_set(e, -EPROTO, "the blank has pid %d, the job %d", r->vpid, m->to.d.vpid);
	m->to.d.remote = r;
	(void)setpriority(PRIO_PROCESS, (id_t)m->to.d.pid, -20); /* as ours; state_sched sets the job's own */
	r->threads[0].regs.orig_rax = (uint64_t)-1;		 /* its pause() is over */
	hole = find_hole(m);
	if (!hole.a)
		return remote_no_hole(r, "the agent", e);
	err = remote_agent_map(r, hole, e);
	return err < 0 ? err : strip_blank(m, e);
}

/* --- threads --- */

/* It never runs on that stack: it is stopped before its first instruction and leaves with its own registers. */
static void ask_thread(struct mover *m, struct batch *b, pid_t tid)
{
	uint32_t set_tid = batch_put(b, &tid, sizeof tid);
	uint32_t stack = batch_room(b, 64);
	struct clone_args args = { .flags = THREAD_FLAGS,
				   .set_tid = remote_batch_addr(&m->remote, set_tid).a,
				   .set_tid_size = 1,
				   .stack = remote_batch_addr(&m->remote, stack).a,
				   .stack_size = 64 };

	(void)batch_call(b, "cannot make a thread", SYS_clone3, bdata(batch_put(b, &args, sizeof args)),
			 bval(sizeof args));
}

static int adopt_all(struct mover *m, Godwit__Ckpt__Thread **list, size_t n, struct err *e)
{
	int err = 0;

	for (size_t i = 0; i < n && !err; i++)
		err = remote_adopt(&m->remote, list[i]->tid, e);
	return err;
}

static int make_threads(struct mover *m, Godwit__Ckpt__Thread **list, size_t n, struct err *e)
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	int err = 0;

	while (n && !err) {
		size_t some = MIN(n, (size_t)THREADS_AT_ONCE);

		batch_init(b);
		for (size_t i = 0; i < some; i++)
			ask_thread(m, b, list[i]->tid);
		err = batch_run(&m->remote, &m->remote.threads[0], b, e);
		if (!err)
			err = adopt_all(m, list, some, e);
		list += some;
		n -= some;
	}
	return err;
}

static Godwit__Ckpt__Thread *find_message(const Godwit__Ckpt__Process *p, pid_t tid)
{
	for (size_t i = 0; i < p->n_threads; i++)
		if (p->threads[i]->tid == tid)
			return p->threads[i];
	return NULL;
}

static struct remote_thread *find_thread(struct remote *r, pid_t vtid)
{
	for (size_t i = 0; i < r->n_threads; i++)
		if (r->threads[i].vtid == vtid)
			return &r->threads[i];
	return NULL;
}

/* Threads have come and gone while the first ones were made. */
static int correct_threads(struct mover *m, struct err *e)
{
	const Godwit__Ckpt__Process *p = m->to.final->processes[0];
	Godwit__Ckpt__Thread **missing = xcalloc(p->n_threads, sizeof(*missing));
	size_t n = 0;
	int err = 0;

	for (size_t i = 1; i < m->remote.n_threads && !err;) {
		if (find_message(p, m->remote.threads[i].vtid))
			i++;
		else
			err = remote_end_thread(&m->remote, i, e);
	}
	for (size_t i = 0; i < p->n_threads; i++)
		if (!find_thread(&m->remote, p->threads[i]->tid))
			missing[n++] = p->threads[i];
	if (!err)
		err = make_threads(m, missing, n, e);
	free(missing);
	return err;
}

/* --- modules --- */

int destination_prepare(struct mover *m, struct err *e)
{
	const Godwit__Ckpt__Process *p = m->to.early->processes[0];
	int err = take_blank(m, e);

	if (err < 0)
		return err;
	if (!m->to.d.mm)
		err = memory_target_new(&m->remote, &m->to.d.mm, e);
	for (size_t i = 0; state_modules[i] && !err; i++)
		if (state_modules[i]->prepare)
			err = state_modules[i]->prepare(&m->to.d, e);
	if (!err)
		err = make_threads(m, p->threads + 1, p->n_threads - 1, e);
	return err;
}

static int restore_phase(struct mover *m, enum state_phase phase, struct batch *b, struct err *e)
{
	struct state_target *d = &m->to.d;
	int err = 0;

	batch_init(b);
	for (size_t i = 0; state_modules[i] && !err; i++)
		if (state_modules[i]->phase == phase && state_modules[i]->restore)
			err = state_modules[i]->restore(d, b, e);
	return err ? err : state_flush(d, NULL, b, e);
}

static int restore_thread(struct mover *m, struct remote_thread *t, enum state_phase from, enum state_phase to,
			  struct batch *b, struct err *e)
{
	const Godwit__Ckpt__Thread *msg = find_message(m->to.final->processes[0], t->vtid);
	int err = 0;

	if (!msg)
		return err_set(e, -EPROTO, "thread %d is not in the checkpoint", t->vtid);
	batch_init(b);
	for (size_t i = 0; state_modules[i] && !err; i++)
		if (state_modules[i]->phase >= from && state_modules[i]->phase <= to &&
		    state_modules[i]->restore_thread)
			err = state_modules[i]->restore_thread(&m->to.d, t, msg, b, e);
	return err ? err : state_flush(&m->to.d, t, b, e);
}

static int finish_memory(struct mover *m, struct batch *b, struct err *e)
{
	int err = memory_receive(m->to.d.mm, m->strategy, m->stream, &m->stats, e);

	timing_add(&m->timings, "receive");
	batch_init(b);
	for (size_t i = 0; state_modules[i] && !err; i++)
		if (state_modules[i]->finish)
			err = state_modules[i]->finish(&m->to.d, b, e);
	return err ? err : state_flush(&m->to.d, NULL, b, e);
}

static int restore_all(struct mover *m, struct batch *b, struct err *e)
{
	struct state_target *d = &m->to.d;
	int err = correct_threads(m, e);

	if (!err)
		err = restore_phase(m, STATE_MEMORY, b, e);
	if (!err)
		err = finish_memory(m, b, e);
	if (!err)
		err = restore_phase(m, STATE_FILES, b, e);
	if (!err)
		err = restore_phase(m, STATE_PROCESS, b, e);
	timing_add(&m->timings, "restore");
	if (!err)
		err = restore_phase(m, STATE_THREADS, b, e);
	if (!err)
		err = restore_phase(m, STATE_LAST, b, e);
	remote_look_again(&m->remote, signals_queued(d->process));
	/* The leader last: what the threads share is lost with its privileges. */
	for (size_t i = m->remote.n_threads; i-- > 0 && !err;)
		err = restore_thread(m, &m->remote.threads[i], STATE_MEMORY, STATE_LAST, b, e);
	timing_add(&m->timings, "threads");
	return err;
}

/* --- letting go --- */

static int adopt_registers(struct mover *m, struct err *e)
{
	for (size_t i = 0; i < m->remote.n_threads; i++) {
		struct remote_thread *t = &m->remote.threads[i];
		const Godwit__Ckpt__Thread *msg = find_message(m->to.final->processes[0], t->vtid);

		if (msg->regs.len != sizeof t->regs)
			return err_set(e, -EPROTO, "thread %d has %zu bytes of registers", t->vtid, msg->regs.len);
		memcpy(&t->regs, msg->regs.data, sizeof t->regs);
		t->sigmask = msg->sigmask;
		t->call_nr = (long)t->regs.orig_rax < 0 ? -1 : (long)t->regs.orig_rax;
	}
	return 0;
}

static int settle_all(struct mover *m, struct err *e)
{
	int err = adopt_registers(m, e);

	if (!err)
		err = call_resume_target(&m->to.d, e);
	if (!err)
		err = remote_agent_unmap(&m->remote, e);
	for (size_t i = 0; i < m->remote.n_threads && !err; i++)
		err = thread_settle(&m->to.d, &m->remote.threads[i],
				    find_message(m->to.final->processes[0], m->remote.threads[i].vtid), e);
	return err;
}

/* A stopped thread counts as frozen: nothing runs between our hands and the freezer's. */
static int let_go(struct mover *m, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/cgroup.freeze", m->to.cgroup);
	int err = fd_write_file(AT_FDCWD, path, "1");

	if (err < 0)
		return err_code(e, err, "cannot freeze %s", m->to.cgroup);
	remote_release(&m->remote);
	return 0;
}

int destination_apply(struct mover *m, struct err *e)
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	int err = restore_all(m, b, e);

	if (!err)
		err = settle_all(m, e);
	if (!err)
		err = let_go(m, e);
	timing_add(&m->timings, "let go");
	return err;
}
