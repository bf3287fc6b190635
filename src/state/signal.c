/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal actions (a process's) and queued signals (of a process and of each thread). Masks are in thread.c.
 *
 * A queued signal is put back by the thread that has it queued, into its own queue: only to itself may a process
 * send a siginfo with any si_code it likes. This happens when the actions are in place, all signals are blocked,
 * and the doorbell is a signal that is not queued.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "base/util.h"
#include "state/thread.h"
#include "state/timer.h"

#define SIGNALS 64
#define SIGINFO_LEN 128
#define QUEUE_MAX 100000u
#define PEEK_AT_ONCE 32

struct kernel_sigaction {
	uint64_t handler, flags, restorer, mask;
};

_Static_assert(sizeof(siginfo_t) == SIGINFO_LEN, "what the kernel copies");

static bool fixed(int sig)
{
	return sig == SIGKILL || sig == SIGSTOP;
}

/* --- actions --- */

static int ask(struct state_source *s, struct batch *b, struct err *e)
{
	(void)e;
	s->asked->at = batch_room(b, SIGNALS * sizeof(struct kernel_sigaction));
	for (int sig = 1; sig <= SIGNALS; sig++) {
		uint32_t at = s->asked->at + (uint32_t)((size_t)(sig - 1) * sizeof(struct kernel_sigaction));

		if (!fixed(sig))
			(void)batch_call(b, "cannot ask for a signal action", SYS_rt_sigaction,
					 bval((uint64_t)sig), bval(0), bdata(at), bval(8));
	}
	return b->error;
}

static void add_action(Godwit__Ckpt__Process *p, int sig, const struct kernel_sigaction *sa)
{
	Godwit__Ckpt__SignalAction *a = xmalloc(sizeof *a);

	godwit__ckpt__signal_action__init(a);
	a->signal = sig;
	a->handler = sa->handler;
	a->flags = sa->flags;
	a->restorer = sa->restorer;
	a->mask = sa->mask;
	p->actions[p->n_actions++] = a;
}

/* What is queued, from the `start`th on: appended to *list. */
static int peek_queue(pid_t tid, uint32_t flags, uint64_t start, ProtobufCBinaryData **list, size_t *n,
		      struct err *e)
{
	for (;;) {
		siginfo_t info[PEEK_AT_ONCE];
		struct __ptrace_peeksiginfo_args args = { .off = start, .flags = flags, .nr = PEEK_AT_ONCE };
		long got = ptrace(PTRACE_PEEKSIGINFO, tid, &args, info);

		if (got < 0)
			return err_errno(e, "cannot read the signals queued for thread %d", tid);
		for (long i = 0; i < got; i++) {
			ProtobufCBinaryData *d;

			*list = xrealloc(*list, (*n + 1) * sizeof(**list));
			d = &(*list)[(*n)++];
			d->len = SIGINFO_LEN;
			d->data = xmalloc(SIGINFO_LEN);
			memcpy(d->data, &info[i], SIGINFO_LEN);
		}
		start += (uint64_t)got;
		if (got < PEEK_AT_ONCE || start > QUEUE_MAX)
			return 0;
	}
}

static int take(struct state_source *s, struct batch *b, struct err *e)
{
	Godwit__Ckpt__Process *p = s->process;
	static const struct kernel_sigaction none;

	p->actions = xcalloc(SIGNALS, sizeof(*p->actions));
	for (int sig = 1; sig <= SIGNALS; sig++) {
		const struct kernel_sigaction *sa =
			(struct kernel_sigaction *)batch_at(b, s->asked->at) + (sig - 1);

		if (!fixed(sig) && memcmp(sa, &none, sizeof none) != 0)
			add_action(p, sig, sa);
	}
	return peek_queue(s->pid, PTRACE_PEEKSIGINFO_SHARED, 0, &p->pending, &p->n_pending, e);
}

static int take_thread(struct state_source *s, struct remote_thread *t, Godwit__Ckpt__Thread *m, struct batch *b,
		       struct err *e)
{
	(void)s;
	(void)b;
	return peek_queue(t->tid, 0, 0, &m->pending, &m->n_pending, e);
}

static const Godwit__Ckpt__SignalAction *find_action(const Godwit__Ckpt__Process *p, int sig)
{
	for (size_t i = 0; i < p->n_actions; i++)
		if (p->actions[i]->signal == sig)
			return p->actions[i];
	return NULL;
}

/* Actions that are the default are set as well: the blank inherits whatever its parents ignore. */
static int restore(struct state_target *d, struct batch *b, struct err *e)
{
	int err = 0;

	for (int sig = 1; sig <= SIGNALS && !err; sig++) {
		const Godwit__Ckpt__SignalAction *a = find_action(d->process, sig);
		struct kernel_sigaction sa = { 0 };

		if (fixed(sig))
			continue;
		if (a)
			sa = (struct kernel_sigaction) { a->handler, a->flags, a->restorer, a->mask };
		err = state_room(d, NULL, b, 1, sizeof sa, e);
		(void)batch_call(b, "cannot set a signal action", SYS_rt_sigaction, bval((uint64_t)sig),
				 bdata(batch_put(b, &sa, sizeof sa)), bval(0), bval(8));
	}
	return err;
}

const struct state_module state_signal = {
	.name = "signal",
	.phase = STATE_PROCESS,
	.ask = ask,
	.take = take,
	.take_thread = take_thread,
	.restore = restore,
};

/* --- queues --- */

static int queue_one(struct state_target *d, struct remote_thread *t, const ProtobufCBinaryData *m, bool shared,
		     struct batch *b, struct err *e)
{
	siginfo_t info;
	uint32_t at;
	int err;

	if (m->len != SIGINFO_LEN)
		return err_set(e, -EPROTO, "a queued signal has %zu bytes", m->len);
	memcpy(&info, m->data, sizeof info);
	if (info.si_signo < 1 || info.si_signo > SIGNALS || fixed(info.si_signo))
		return err_set(e, -EPROTO, "signal %d cannot be queued", info.si_signo);
	if (timer_rings_itself(d->process, &info))
		return 0;
	err = state_room(d, t, b, 1, sizeof info, e);
	if (err < 0)
		return err;
	at = batch_put(b, &info, sizeof info);
	if (shared)
		(void)batch_call(b, "cannot queue a signal", SYS_rt_sigqueueinfo, bval((uint64_t)d->vpid),
				 bval((uint64_t)info.si_signo), bdata(at));
	else
		(void)batch_call(b, "cannot queue a signal", SYS_rt_tgsigqueueinfo, bval((uint64_t)d->vpid),
				 bval((uint64_t)t->vtid), bval((uint64_t)info.si_signo), bdata(at));
	return 0;
}

static int restore_queues(struct state_target *d, struct remote_thread *t, const Godwit__Ckpt__Thread *m,
			  struct batch *b, struct err *e)
{
	int err = 0;

	for (size_t i = 0; i < m->n_pending && !err; i++)
		err = queue_one(d, t, &m->pending[i], false, b, e);
	if (t != &d->remote->threads[0])
		return err;
	for (size_t i = 0; i < d->process->n_pending && !err; i++)
		err = queue_one(d, t, &d->process->pending[i], true, b, e);
	return err;
}

const struct state_module state_pending = {
	.name = "pending",
	.phase = STATE_LAST,
	.restore_thread = restore_queues,
};

static uint64_t queued(const ProtobufCBinaryData *list, size_t n)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < n; i++) {
		siginfo_t info;

		if (list[i].len != SIGINFO_LEN)
			continue;
		memcpy(&info, list[i].data, sizeof info);
		if (info.si_signo >= 1 && info.si_signo <= SIGNALS)
			mask |= UINT64_C(1) << (info.si_signo - 1);
	}
	return mask;
}

uint64_t signals_queued(const Godwit__Ckpt__Process *p)
{
	uint64_t mask = queued(p->pending, p->n_pending);

	for (size_t i = 0; i < p->n_threads; i++)
		mask |= queued(p->threads[i]->pending, p->threads[i]->n_pending);
	return mask;
}

static int late_of(const Godwit__Ckpt__Process *p, pid_t tid, uint32_t flags, int32_t vtid, size_t known,
		   Godwit__Mover__LateSignal ***ret, size_t *ret_n, struct err *e)
{
	ProtobufCBinaryData *list = NULL;
	size_t n = 0;
	int err = peek_queue(tid, flags, known, &list, &n, e);

	*ret = xrealloc(*ret, (*ret_n + n) * sizeof(**ret));
	for (size_t i = 0; i < n; i++) {
		Godwit__Mover__LateSignal *m;

		/* The timers still run here, and have rung at the destination as well. */
		if (timer_will_ring(p, list[i].data)) {
			free(list[i].data);
			continue;
		}
		m = xmalloc(sizeof *m);
		godwit__mover__late_signal__init(m);
		m->tid = vtid;
		m->siginfo = list[i];
		(*ret)[(*ret_n)++] = m;
	}
	free(list);
	return err;
}

/* A process that was stopped by a signal is to be so again. */
static void late_stop(int sig, Godwit__Mover__LateSignal ***ret, size_t *ret_n)
{
	Godwit__Mover__LateSignal *m = xmalloc(sizeof *m);
	siginfo_t info = { .si_signo = sig, .si_code = SI_KERNEL };

	godwit__mover__late_signal__init(m);
	m->siginfo.data = xmalloc(sizeof info);
	m->siginfo.len = sizeof info;
	memcpy(m->siginfo.data, &info, sizeof info);
	*ret = xrealloc(*ret, (*ret_n + 1) * sizeof(**ret));
	(*ret)[(*ret_n)++] = m;
}

int signals_late(struct state_source *s, const Godwit__Ckpt__Process *early, Godwit__Mover__LateSignal ***ret,
		 size_t *ret_n, struct err *e)
{
	int err = late_of(early, s->pid, PTRACE_PEEKSIGINFO_SHARED, 0, early->n_pending, ret, ret_n, e);

	for (size_t i = 0; i < early->n_threads && i < s->remote->n_threads && !err; i++)
		err = late_of(early, s->remote->threads[i].tid, 0, s->remote->threads[i].vtid,
			      early->threads[i]->n_pending, ret, ret_n, e);
	if (!err && s->remote->group_stop)
		late_stop(s->remote->group_stop, ret, ret_n);
	return err;
}
