/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stages stun, move and ready at the source: the job stands still. What can go on side by side does: while the
 * mover sends checkpoint and pages, flipd hands out the communication state and the shepherd the streams.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "procd/herd.h"
#include "procd/jobs.h"
#include "procd/migration.h"
#include "procd/rpc.h"

/* --- stun --- */

static void move_went_on(struct migration_out *m)
{
	if (m->stage == STAGE_MOVE && m->ready && m->taken && m->quiet && m->spooled)
		out_stage_done(m, STAGE_MOVE);
}

static void on_taken(void *arg, int result, const void *blob, size_t len)
{
	struct migration_out *m = arg;

	if (m->over || m->failing) {
		/* nothing: undoing resumes the endpoint behind this */
	} else if (result < 0) {
		out_fail(m, result, "flipd does not hand out the job's communication state: %s",
			 strerror(-result));
	} else {
		m->endpoint.data = xmalloc(len);
		m->endpoint.len = len;
		memcpy(m->endpoint.data, blob, len);
		m->taken = true;
		move_went_on(m);
	}
	out_unref(m);
}

void out_stun(struct migration_out *m)
{
	Godwit__Mover__Stun stun = GODWIT__MOVER__STUN__INIT;
	char cgroup[512];
	int r;

	if (m->stun)
		stun_fill(m, &stun);
	if (m->job->spec->stunned) {
		container_job_cgroup(&m->job->container, &m->p->cgroups, cgroup, sizeof cgroup);
		stun.frozen = cgroup;
	}
	r = mover_say(m->mover, MOVER_KIND(STUN), &stun, NULL, 0);
	if (r < 0) {
		out_fail(m, r, "cannot talk to the mover");
		return;
	}
	if (m->image || m->stun) {
		m->taken = true; /* the job keeps its address */
		return;
	}
	if (!m->p->gwc || !m->job->endpoint) {
		out_fail(m, -ENOTCONN, "flipd is away");
		return;
	}
	r = gwc_endpoint_take(m->p->gwc, m->job->endpoint, on_taken, m);
	if (r < 0) {
		out_fail(m, r, "flipd: %s", strerror(-r));
		return;
	}
	m->take_asked = true;
	out_ref(m);
}

/* --- undoing it: the shepherd first, then the job, then the network --- */

static void on_endpoint_resumed(void *arg, int result)
{
	struct migration_out *m = arg;

	if (result < 0)
		log_error("job %s: flipd does not resume its endpoint: %s", m->name, strerror(-result));
	out_unref(m);
}

static void undone(struct migration_out *m)
{
	m->undone_stun = false;
	m->resumed_us = now_us();
	/* Only now can the mover freeze no more: an order to do so may have lain in its socket before the
	 * rollback. */
	if (m->job)
		(void)jobs_settle(m->job);
	if (m->take_asked && m->p->gwc && m->job && m->job->endpoint &&
	    gwc_endpoint_resume(m->p->gwc, m->job->endpoint, on_endpoint_resumed, m) == 0)
		out_ref(m);
	out_end_conns(m, false);
	out_undo_next(m);
}

/* The mover is dead. The job runs; what was mapped into it needs somebody else to go. */
static void start_tidying(struct migration_out *m)
{
	Godwit__Mover__Tidy q = GODWIT__MOVER__TIDY__INIT;
	struct err e = { 0 };

	if (!m->job || m->tidied)
		return;
	m->tidied = true;
	q.leader = m->job->pid;
	if (mover_start(m->p, "source", &out_mover_ops, m, &m->mover, &e) < 0)
		log_warn("job %s: %s", m->name, err_text(&e));
	else if (mover_say(m->mover, MOVER_KIND(TIDY), &q, NULL, 0) == 0)
		out_arm(m, 3000);
}

static void roll_back_mover(struct migration_out *m)
{
	Godwit__Mover__Rollback q = GODWIT__MOVER__ROLLBACK__INIT;

	if (m->job && !m->job->spec->stunned) /* else the mover freezes it when it has put everything back */
		(void)container_freeze(&m->job->container, &m->p->cgroups, false);
	m->undone_stun = true; /* out_move_message waits for it */
	if (!m->mover)
		start_tidying(m);
	if (mover_say(m->mover, MOVER_KIND(ROLLBACK), &q, NULL, 0) < 0)
		undone(m);
}

static void on_resumed(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	struct migration_out *m = arg;

	(void)fds;
	(void)n_fds;
	if (r && r->code)
		log_error("job %s: its shepherd does not resume: %s", m->name, r->text);
	roll_back_mover(m);
	out_unref(m);
}

bool out_undo_stun(struct migration_out *m)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Resume resume = GODWIT__SHEPHERD__RESUME__INIT;

	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_RESUME;
	q.resume = &resume;
	if (m->job && herd_ask(m->job->herd, &q, -1, on_resumed, m) == 0)
		out_ref(m);
	else
		roll_back_mover(m);
	return false;
}

/* --- move --- */

static void keep_streams(struct migration_out *m, Godwit__Shepherd__Streams *s)
{
	if (m->image)
		image_out_trim(m, s);
	m->streams.len = godwit__shepherd__streams__get_packed_size(s);
	m->streams.data = xmalloc(m->streams.len);
	(void)godwit__shepherd__streams__pack(s, m->streams.data);
	for (size_t i = 0; i < s->n_sides; i++) {
		const Godwit__Shepherd__Side *side = s->sides[i];

		if (side->stream >= STREAMS_MAX)
			continue;
		if (side->stream == 0 || m->sent[side->stream] < side->start)
			m->sent[side->stream] = side->start;
		m->want[side->stream] = side->end;
	}
}

static void on_quiet(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	struct migration_out *m = arg;

	(void)fds;
	(void)n_fds;
	if (!m->over && !m->failing) {
		if (!r || r->result_case != GODWIT__SHEPHERD__REPLY__RESULT_STREAMS) {
			out_fail(m, r && r->code ? r->code : -EIO, "the shepherd does not become quiet: %s",
				 r ? r->text : "it is gone");
		} else {
			keep_streams(m, r->streams);
			m->quiet = true;
			out_spool(m);
		}
	}
	out_unref(m);
}

void out_move(struct migration_out *m)
{
	Godwit__Mover__Move move = GODWIT__MOVER__MOVE__INIT;
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Quiesce quiesce = GODWIT__SHEPHERD__QUIESCE__INIT;

	if (m->stun) {
		m->quiet = m->spooled = true;
		stun_take(m);
		return;
	}
	m->spooled = false;
	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_QUIESCE;
	q.quiesce = &quiesce;
	if (mover_say(m->mover, MOVER_KIND(MOVE), &move, NULL, 0) < 0) {
		out_fail(m, -EIO, "cannot talk to the mover");
		return;
	}
	if (herd_ask(m->job->herd, &q, -1, on_quiet, m) < 0) {
		out_fail(m, -EIO, "cannot reach the job's shepherd");
		return;
	}
	out_ref(m);
}

/* It could have forked since it was checked; now that it stands still it cannot any more. */
static void on_stunned(struct migration_out *m, const Godwit__Mover__Stunned *s)
{
	int n;

	if (m->stage != STAGE_STUN)
		return;
	m->at_us = s->at_us;
	n = container_count(&m->job->container, &m->p->cgroups);
	if (n > 1)
		out_fail(m, -EAGAIN, "it has just started %d other process%s", n - 1, n > 2 ? "es" : "");
	else if ((m->image || m->stun) && m->n_calls && !jobs_may_look(m->job, m->calls[0]))
		out_fail(m, -EPERM, "it has just gained privileges that you have not");
	else if (s->n_connections && !m->image && !m->stun)
		out_take_conns(m, s);
	else
		out_stage_done(m, STAGE_STUN);
}

static void keep_ready(struct migration_out *m, const Godwit__Mover__Ready *r)
{
	size_t len = godwit__mover__ready__get_packed_size(r);
	_cleanup_free_ uint8_t *bytes = xmalloc(len);

	(void)godwit__mover__ready__pack(r, bytes);
	m->result = godwit__mover__ready__unpack(NULL, len, bytes);
	m->ready = true;
}

/* --- ready --- */

void out_ready(struct migration_out *m)
{
	Godwit__Mover__Freeze q = GODWIT__MOVER__FREEZE__INIT;
	char cgroup[512];

	if (m->image) {
		image_out_ready(m);
		return;
	}
	container_job_cgroup(&m->job->container, &m->p->cgroups, cgroup, sizeof cgroup);
	q.cgroup = cgroup;
	if (mover_say(m->mover, MOVER_KIND(FREEZE), &q, NULL, 0) < 0)
		out_fail(m, -EIO, "cannot talk to the mover");
}

static void on_frozen(struct migration_out *m, const Godwit__Mover__Frozen *f)
{
	Godwit__Procd__Commit c = GODWIT__PROCD__COMMIT__INIT;
	_cleanup_free_ uint8_t *bytes = NULL;
	struct out_report report;
	size_t len;

	if (m->stage != STAGE_READY)
		return;
	if (m->stun) {
		stun_done(m);
		return;
	}
	c.migration = m->id;
	c.signals = f->signals;
	c.n_signals = f->n_signals;
	c.streams = m->streams;
	c.endpoint = m->endpoint;
	c.incarnation = m->job->incarnation + 1;
	out_fill_report(m, &report);
	c.report = &report.report;
	c.at_us = m->at_us;
	out_fill_conns(m, &c);
	stun_fill_commit(m->job, &c);
	len = godwit__procd__commit__get_packed_size(&c);
	bytes = xmalloc(len);
	(void)godwit__procd__commit__pack(&c, bytes);
	out_unfill_conns(&c);
	free(c.message.data);
	m->commit = godwit__procd__commit__unpack(NULL, len, bytes);
	out_stage_done(m, STAGE_READY);
}

void out_move_message(struct migration_out *m, const mover_message *msg)
{
	if (m->undone_stun && !msg && !m->tidied) {
		roll_back_mover(m);
		return;
	}
	if (m->undone_stun && (!msg || msg->kind_case == MOVER_KIND(UNDONE))) {
		undone(m);
		return;
	}
	if (m->failing)
		return;
	if (!msg) {
		move_went_on(m);
		return;
	}
	switch (msg->kind_case) {
	case MOVER_KIND(STUNNED):
		on_stunned(m, msg->stunned);
		break;
	case MOVER_KIND(READY):
		if (m->stage == STAGE_MOVE && !m->ready)
			keep_ready(m, msg->ready);
		move_went_on(m);
		break;
	case MOVER_KIND(FROZEN):
		on_frozen(m, msg->frozen);
		break;
	default:
		log_warn("the mover says something unexpected (%d)", (int)msg->kind_case);
	}
}
