/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seccomp filters, of each thread. They are read as the programs that they were made from, and made again while
 * the destination's tracing still suspends them, by threads that still have all privileges.
 *
 * The filters that all threads have in common are given to all at once, by the thread that comes first: the kernel
 * lets a program synchronize its threads later only if their filters have the same ancestors, not equal ones.
 *
 * At the source, what is done in a thread is judged by its filters beforehand (inject/filter.h).
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/util.h"
#include "inject/filter.h"
#include "state/thread.h"

#define PROGRAM_MAX (BPF_MAXINSNS * sizeof(struct sock_filter))

/* --- source --- */

void seccomp_check_mode(struct state_source *s, int mode)
{
	if (mode == SECCOMP_MODE_STRICT)
		problem_add(
			s->problems, s->vpid, -1, "seccomp filter", "let it use a filter (SECCOMP_MODE_FILTER)",
			"it is in seccomp's strict mode, in which it could not come back by itself if the move "
			"fails");
	else if (mode == SECCOMP_MODE_FILTER && !filter_can_suspend())
		problem_add(s->problems, s->vpid, -1, "seccomp filter",
			    "run procd with CAP_SYS_ADMIN and without a seccomp filter of its own",
			    "it has a seccomp filter, which procd may neither read nor suspend");
	if (mode && s->requirements)
		s->requirements->seccomp = true;
}

static bool same_filter(const Godwit__Ckpt__SeccompFilter *m, const struct filter *f)
{
	return m->log == f->log && m->code.len == f->len * sizeof(*f->code) &&
	       !memcmp(m->code.data, f->code, m->code.len);
}

static uint32_t find_or_add(Godwit__Ckpt__Process *p, const struct filter *f)
{
	Godwit__Ckpt__SeccompFilter *m;

	for (size_t i = 0; i < p->n_seccomp_filters; i++)
		if (same_filter(p->seccomp_filters[i], f))
			return (uint32_t)i;
	m = xmalloc(sizeof *m);
	godwit__ckpt__seccomp_filter__init(m);
	m->code.len = f->len * sizeof(*f->code);
	m->code.data = xmalloc(m->code.len);
	memcpy(m->code.data, f->code, m->code.len);
	m->log = f->log;
	p->seccomp_filters =
		xrealloc(p->seccomp_filters, (p->n_seccomp_filters + 1) * sizeof(*p->seccomp_filters));
	p->seccomp_filters[p->n_seccomp_filters] = m;
	return (uint32_t)p->n_seccomp_filters++;
}

static int take_thread(struct state_source *s, struct remote_thread *t, Godwit__Ckpt__Thread *m, struct batch *b,
		       struct err *e)
{
	(void)b;
	if (!t->filters)
		return 0;
	m->seccomp = xcalloc(t->filters->n, sizeof(*m->seccomp));
	for (size_t i = 0; i < t->filters->n; i++) {
		const struct filter *f = &t->filters->list[i];

		if (filter_notifies(f))
			return err_set(
				e, -EPERM,
				"a seccomp filter of thread %d asks another process (SECCOMP_RET_USER_NOTIF), "
				"which cannot move yet",
				t->vtid);
		m->seccomp[m->n_seccomp++] = find_or_add(s->process, f);
	}
	return 0;
}

/* --- destination --- */

static int admit(struct state_target *d, const Godwit__Ckpt__Requirements *q, struct err *e)
{
	(void)e;
	if (q->seccomp && !filter_can_suspend())
		problem_add(
			d->problems, 0, -1, "seccomp filter",
			"run the destination's procd with CAP_SYS_ADMIN and without a seccomp filter of its own",
			"the job has a seccomp filter, which the destination cannot suspend");
	return 0;
}

/* How many filters, from the oldest on, all threads have in common. */
static size_t common(const Godwit__Ckpt__Process *p)
{
	size_t n = p->threads[0]->n_seccomp;

	for (size_t i = 1; i < p->n_threads; i++) {
		const Godwit__Ckpt__Thread *m = p->threads[i];

		n = MIN(n, m->n_seccomp);
		for (size_t k = 0; k < n; k++)
			if (m->seccomp[k] != p->threads[0]->seccomp[k])
				n = k;
	}
	return n;
}

static int validate(const struct state_target *d, const Godwit__Ckpt__Thread *m, struct err *e)
{
	const Godwit__Ckpt__Process *p = d->process;

	if (m->n_seccomp > FILTERS_MAX)
		return err_set(e, -E2BIG, "thread %d has %zu seccomp filters", m->tid, m->n_seccomp);
	for (size_t i = 0; i < m->n_seccomp; i++) {
		const Godwit__Ckpt__SeccompFilter *f =
			m->seccomp[i] < p->n_seccomp_filters ? p->seccomp_filters[m->seccomp[i]] : NULL;

		if (!f || !f->code.len || f->code.len > PROGRAM_MAX || f->code.len % sizeof(struct sock_filter))
			return err_set(e, -EBADMSG, "thread %d has a strange seccomp filter", m->tid);
	}
	/* Whom it binds might otherwise be a program with more privileges than the job. */
	if (m->n_seccomp && d->confined.on && (!m->creds || !m->creds->no_new_privs))
		return err_set(e, -EPERM, "thread %d has a seccomp filter without no_new_privs", m->tid);
	return 0;
}

static int install(struct state_target *d, struct remote_thread *t, const Godwit__Ckpt__SeccompFilter *f, bool all,
		   struct batch *b, struct err *e)
{
	struct sock_fprog prog = { .len = (uint16_t)(f->code.len / sizeof(struct sock_filter)) };
	uint64_t flags = (f->log ? SECCOMP_FILTER_FLAG_LOG : 0) |
			 (all ? SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH : 0);
	int err = state_room(d, t, b, 1, f->code.len + 64, e);
	uint32_t at;

	if (err < 0)
		return err;
	at = batch_put(b, f->code.data, f->code.len);
	prog.filter = (struct sock_filter *)(uintptr_t)remote_batch_addr(d->remote, at).a;
	(void)batch_call(b, "cannot install a seccomp filter", SYS_seccomp, bval(SECCOMP_SET_MODE_FILTER),
			 bval(flags), bdata(batch_put(b, &prog, sizeof prog)));
	return b->error;
}

/* The last thread of the session comes first. */
static int restore_thread(struct state_target *d, struct remote_thread *t, const Godwit__Ckpt__Thread *m,
			  struct batch *b, struct err *e)
{
	bool first = t == &d->remote->threads[d->remote->n_threads - 1];
	size_t shared = common(d->process);
	int err = validate(d, m, e);

	for (size_t i = first ? 0 : shared; i < m->n_seccomp && !err; i++)
		err = install(d, t, d->process->seccomp_filters[m->seccomp[i]], i < shared, b, e);
	return err;
}

const struct state_module state_seccomp = {
	.name = "seccomp",
	.phase = STATE_LAST,
	.take_thread = take_thread,
	.admit = admit,
	.restore_thread = restore_thread,
};
