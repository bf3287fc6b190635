/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collecting what the job is, every thread stopped. One batch in the leader asks for all process-wide facts and
 * the leader's own; each other thread is asked in one more.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "mover/mover.h"
#include "state/thread.h"

#define MODULES_MAX 64

struct take {
	struct batch *b;
	struct state_asked process[MODULES_MAX], thread[MODULES_MAX];
};

static int ask_process(struct state_source *s, struct take *t, struct err *e)
{
	int err = 0;

	for (size_t i = 0; state_modules[i] && !err; i++) {
		s->asked = &t->process[i];
		if (state_modules[i]->ask)
			err = state_modules[i]->ask(s, t->b, e);
	}
	return err;
}

static int ask_thread(struct state_source *s, struct remote_thread *thread, struct take *t, struct err *e)
{
	int err = 0;

	for (size_t i = 0; state_modules[i] && !err; i++) {
		s->asked = &t->thread[i];
		if (state_modules[i]->ask_thread)
			err = state_modules[i]->ask_thread(s, thread, t->b, e);
	}
	return err;
}

static int take_thread(struct state_source *s, struct remote_thread *thread, struct take *t, struct err *e)
{
	Godwit__Ckpt__Thread *m = xmalloc(sizeof *m);
	int err = 0;

	godwit__ckpt__thread__init(m);
	m->tid = thread->vtid;
	s->process->threads[s->process->n_threads++] = m;
	for (size_t i = 0; state_modules[i] && !err; i++) {
		s->asked = &t->thread[i];
		if (state_modules[i]->take_thread)
			err = state_modules[i]->take_thread(s, thread, m, t->b, e);
	}
	return err;
}

static int take_process(struct state_source *s, struct take *t, struct err *e)
{
	int err = 0;

	for (size_t i = 0; state_modules[i] && !err; i++) {
		s->asked = &t->process[i];
		if (state_modules[i]->take)
			err = state_modules[i]->take(s, t->b, e);
	}
	return err;
}

/* The leader's batch serves both; a module that asks for a lot would overflow it, and is told so by batch_run. */
static int take_leader(struct mover *m, struct take *t, struct err *e)
{
	struct state_source *s = &m->from.s;
	struct remote_thread *leader = &m->remote.threads[0];
	int err;

	batch_init(t->b);
	err = ask_process(s, t, e);
	if (!err)
		err = ask_thread(s, leader, t, e);
	if (!err)
		err = batch_run(&m->remote, leader, t->b, e);
	if (!err)
		err = take_thread(s, leader, t, e);
	if (!err)
		err = take_process(s, t, e);
	return err;
}

static int take_one(struct mover *m, struct remote_thread *thread, struct take *t, struct err *e)
{
	int err;

	batch_init(t->b);
	err = ask_thread(&m->from.s, thread, t, e);
	if (!err)
		err = batch_run(&m->remote, thread, t->b, e);
	if (!err)
		err = take_thread(&m->from.s, thread, t, e);
	return err;
}

int source_take(struct mover *m, struct err *e)
{
	struct state_source *s = &m->from.s;
	struct take *t = xcalloc(1, sizeof *t);
	int err;

	t->b = xmalloc(sizeof *t->b);
	s->process->threads = xcalloc(m->remote.n_threads, sizeof(*s->process->threads));
	s->job->monotonic_ns = m->remote.stopped_at_us * 1000 + (uint64_t)s->monotonic_offset_ns;
	s->job->boottime_ns = boottime_ns() + (uint64_t)s->boottime_offset_ns;
	err = take_leader(m, t, e);
	for (size_t i = 1; i < m->remote.n_threads && !err; i++)
		err = take_one(m, &m->remote.threads[i], t, e);
	if (!err)
		err = problems_judge(&m->problems, e);
	s->asked = NULL;
	free(t->b);
	free(t);
	return err;
}
