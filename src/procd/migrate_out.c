/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver at the source. One attempt is in one stage at a time; a stage's action starts things whose callbacks
 * end in out_stage_done or out_fail. Every callback holds a reference, so that an attempt that is over stays in
 * memory until the last of them has come and found it over.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/util.h"
#include "procd/jobs.h"
#include "procd/migration.h"
#include "procd/rpc.h"

#define PULSE_MS 1000u
#define WATCHER_PATIENCE 10 /* pulses, after which a watcher hears something even if there is nothing new */
#define STUN_DEFAULT_MS 10000u
#define STUN_MAX_MS 3600000u
#define REPEAT_WITHIN_US 60000000u
#define SILENCE_MAX 6 /* pulses that the destination's procd did not answer, before the record */

/* --- life --- */

static void on_handle_closed(uv_handle_t *handle)
{
	out_unref(handle->data);
}

void out_ref(struct migration_out *m)
{
	m->refs++;
}

void out_unref(struct migration_out *m)
{
	if (--m->refs)
		return;
	if (m->state)
		godwit__shepherd__state__free_unpacked(m->state, NULL);
	if (m->problems)
		godwit__mover__checked__free_unpacked(m->problems, NULL);
	if (m->result)
		godwit__mover__ready__free_unpacked(m->result, NULL);
	if (m->commit)
		godwit__procd__commit__free_unpacked(m->commit, NULL);
	image_out_free(m->image);
	free(m->requirements.data);
	free(m->endpoint.data);
	free(m->streams.data);
	out_free_conns(m);
	free(m);
}

struct migration_out *out_new(struct procd *p, struct job *j, const char *name, const char *id)
{
	struct migration_out *m = xcalloc(1, sizeof *m);
	uint8_t random[MIGRATION_ID_LEN / 2] = { 0 };

	m->p = p;
	m->job = j;
	(void)snprintf(m->name, sizeof m->name, "%s", name);
	m->refs = 3; /* the driver and its two timers */
	if (j)
		j->out = m;
	if (id) {
		(void)snprintf(m->id, sizeof m->id, "%s", id);
	} else {
		(void)!getrandom(random, sizeof random, 0);
		(void)!getrandom(m->key, sizeof m->key, 0);
		for (size_t i = 0; i < sizeof random; i++)
			(void)snprintf(m->id + 2 * i, 3, "%02x", random[i]);
	}
	(void)uv_timer_init(p->loop, &m->deadline);
	(void)uv_timer_init(p->loop, &m->pulse);
	m->deadline.data = m;
	m->pulse.data = m;
	m->core = COMMIT_S_OPEN;
	m->started_us = now_us();
	m->next = p->outgoing;
	p->outgoing = m;
	return m;
}

static void unlink_out(struct migration_out *m)
{
	for (struct migration_out **at = &m->p->outgoing; *at; at = &(*at)->next) {
		if (*at != m)
			continue;
		*at = m->next;
		return;
	}
}

/* --- what callers and watchers hear --- */

static const char *stage_name(const struct migration_out *m)
{
	return m->stage ? migrate_stages[m->stage].name : "undone";
}

void out_tell_watchers(struct migration_out *m)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Progress x = GODWIT__PROCD__PROGRESS__INIT;

	m->serial++;
	x.serial = m->serial;
	x.stage = (char *)(uintptr_t)stage_name(m);
	x.bytes = m->progress_bytes;
	x.total = m->progress_total;
	x.over = m->over;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_PROGRESS;
	r.progress = &x;
	for (size_t i = 0; i < m->n_watchers; i++)
		call_reply(m->watchers[i], &r);
	m->n_watchers = 0;
}

void out_fill_report(struct migration_out *m, struct out_report *ret)
{
	Godwit__Procd__Report *x = &ret->report;

	godwit__procd__report__init(x);
	x->job = m->name;
	x->source = m->p->settings.name;
	x->destination = m->destination;
	x->strategy = m->strategy;
	x->freeze_us = m->at_us ? MAX(m->resumed_us ? m->resumed_us : now_us(), m->at_us) - m->at_us : 0;
	x->total_us = now_us() - m->started_us;
	x->sealed = m->sealed;
	x->written = image_out_written(m);
	x->stages = ret->pointers;
	for (int i = STAGE_CHECK; i < STAGE_N; i++, x->n_stages++) {
		godwit__mover__timing__init(&ret->list[x->n_stages]);
		ret->list[x->n_stages].name = (char *)(uintptr_t)migrate_stages[i].name;
		ret->list[x->n_stages].us = m->stage_us[i];
		ret->pointers[x->n_stages] = &ret->list[x->n_stages];
	}
	if (m->result) {
		x->bytes = m->result->bytes;
		x->pages = m->result->pages;
		x->n_details = m->result->n_timings;
		x->details = m->result->timings;
	}
}

static void answer_report(struct migration_out *m)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	struct out_report report;

	out_fill_report(m, &report);
	r.result_case = GODWIT__PROCD__REPLY__RESULT_REPORT;
	r.report = &report.report;
	for (size_t i = 0; i < m->n_calls; i++)
		call_reply(m->calls[i], &r);
	m->n_calls = 0;
}

static void answer_failure(struct migration_out *m)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Checked checked = GODWIT__PROCD__CHECKED__INIT;

	r.code = m->e.code;
	r.text = m->e.code ? (char *)(uintptr_t)err_text(&m->e) : r.text;
	if (m->problems) {
		r.problems = m->problems->problems;
		r.n_problems = m->problems->n_problems;
	}
	if (m->check_only) {
		checked.bytes = m->bytes;
		r.result_case = GODWIT__PROCD__REPLY__RESULT_CHECKED;
		r.checked = &checked;
	}
	for (size_t i = 0; i < m->n_calls; i++)
		call_reply(m->calls[i], &r);
	m->n_calls = 0;
}

/* --- stages --- */

static void on_deadline(uv_timer_t *timer)
{
	struct migration_out *m = timer->data;

	/* libuv runs timers before it reads. If we were not let run for a while, what came in time lies there
	 * unread. */
	if (!m->late) {
		m->late = true;
		(void)uv_timer_start(timer, on_deadline, 1, 0);
		return;
	}
	if (image_out_late(m))
		return;
	if (m->failing) {
		/* A mover that does not even undo in time: its death undoes. */
		mover_kill(m->mover);
		return;
	}
	out_fail(m, -ETIMEDOUT, "stage %s took too long", migrate_stages[m->stage].name);
}

void out_arm(struct migration_out *m, uint64_t ms)
{
	m->late = false;
	if (ms)
		(void)uv_timer_start(&m->deadline, on_deadline, ms, 0);
	else
		(void)uv_timer_stop(&m->deadline);
}

static void enter(struct migration_out *m, enum stage_id stage)
{
	m->stage = stage;
	m->stage_started_us = now_us();
	out_arm(m, migrate_stages[stage].deadline_ms(m));
	log_debug("job %s: %s", m->name, migrate_stages[stage].name);
	out_tell_watchers(m);
	migrate_stages[stage].source(m);
}

void out_stage_done(struct migration_out *m, enum stage_id stage)
{
	if (m->over || m->failing || m->stage != stage)
		return;
	m->stage_us[stage] = now_us() - m->stage_started_us;
	migrate_die_at(migrate_stages[stage].name, "source");
	if (stage == STAGE_DELETE || (stage == STAGE_CHECK && m->check_only))
		out_finish(m);
	else
		enter(m, stage + 1);
}

void out_undo_next(struct migration_out *m)
{
	while (m->stage >= STAGE_CHECK) {
		const struct stage *s = &migrate_stages[m->stage];

		m->stage--;
		if (s->undo && !s->undo(m))
			return;
	}
	out_finish(m);
}

void out_fail(struct migration_out *m, int code, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	if (m->failing || m->over || out_is_decided(m))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	(void)err_set(&m->e, code, "%s", text);
	(void)out_event(m, COMMIT_E_FAILED, NULL);
}

void out_undo(struct migration_out *m)
{
	const char *text = err_text(&m->e);

	m->failing = true;
	m->stage_us[m->stage] = now_us() - m->stage_started_us;
	if (m->image || m->stun)
		log_info("job %s: %s: %s", m->name, m->stun ? "not stunned" : "no checkpoint", text);
	else
		log_info("job %s: not moved to %s: %s", m->name, m->destination, text);
	out_arm(m, 3000);
	out_undo_next(m);
}

void out_finish(struct migration_out *m)
{
	if (m->over || image_out_writes(m))
		return;
	m->over = true;
	if (m->stun && m->e.code && stun_anyway(m))
		m->e.code = 0;
	if (m->e.code || m->check_only)
		answer_failure(m);
	else
		answer_report(m);
	out_tell_watchers(m);
	mover_end(m->mover);
	m->mover = NULL;
	if (m->job) {
		m->job->out = NULL;
		jobs_release(m->job);
	}
	m->job = NULL;
	unlink_out(m);
	uv_close((uv_handle_t *)&m->deadline, on_handle_closed);
	uv_close((uv_handle_t *)&m->pulse, on_handle_closed);
	out_unref(m);
}

/* --- the mover --- */

static void on_failed(struct migration_out *m, const Godwit__Mover__Failed *f)
{
	if (f->n_problems && !m->problems) {
		Godwit__Mover__Checked c = GODWIT__MOVER__CHECKED__INIT;
		_cleanup_free_ uint8_t *bytes = NULL;
		size_t len;

		c.problems = f->problems;
		c.n_problems = f->n_problems;
		len = godwit__mover__checked__get_packed_size(&c);
		bytes = xmalloc(len);
		(void)godwit__mover__checked__pack(&c, bytes);
		m->problems = godwit__mover__checked__unpack(NULL, len, bytes);
	}
	out_fail(m, f->code ? f->code : -EIO, "%s: %s", migrate_stages[m->stage].name, f->text);
}

/* The job may have grown since the check stage, which the time that a move gets goes by. */
static void on_progress(struct migration_out *m, const Godwit__Mover__Progress *progress)
{
	m->progress_bytes = progress->bytes;
	if (progress->total)
		m->progress_total = progress->total;
	if (m->stage == STAGE_MOVE && !m->failing && progress->bytes > m->bytes) {
		m->bytes = progress->bytes;
		out_arm(m, migrate_stages[m->stage].deadline_ms(m));
	}
	out_tell_watchers(m);
}

static void on_message(void *arg, const mover_message *msg)
{
	struct migration_out *m = arg;

	if (m->over)
		return;
	switch (msg->kind_case) {
	case MOVER_KIND(FAILED):
		on_failed(m, msg->failed);
		break;
	case MOVER_KIND(PROGRESS):
		on_progress(m, msg->progress);
		break;
	case MOVER_KIND(CHECKED):
	case MOVER_KIND(PREPARED):
		out_check_message(m, msg);
		break;
	default:
		out_move_message(m, msg);
	}
}

static void on_gone(void *arg)
{
	struct migration_out *m = arg;
	bool undoing = m->failing && m->mover;

	mover_end(m->mover);
	m->mover = NULL;
	if (m->over || out_is_decided(m))
		return;
	if (undoing && m->undone_stun)
		out_move_message(m, NULL); /* its death has undone what it was asked to undo */
	else if (!m->failing)
		out_fail(m, -EIO, "stage %s: the mover died", migrate_stages[m->stage].name);
}

const struct mover_ops out_mover_ops = { .message = on_message, .gone = on_gone };

/* --- the pulse: does the destination live? --- */

static void on_sign_of_life(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct migration_out *m = arg;

	(void)status;
	(void)why;
	if (!m->over && reply)
		m->unanswered = 0;
	out_unref(m);
}

static void on_pulse_reply(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct migration_out *m = arg;

	if (!m->over && reply && reply->verdict && reply->result_case == GODWIT__PROCD__REPLY__RESULT_VERDICT &&
	    reply->verdict->what == GODWIT__PROCD__VERDICT__WHAT__NEVER_RAN && !m->failing && !out_is_decided(m)) {
		(void)err_set(&m->e, -EIO, "%s gave the migration up", m->destination);
		(void)out_event(m, COMMIT_E_NEVER_RAN, NULL);
	}
	on_sign_of_life(m, reply, status, why);
}

static void on_pulse(uv_timer_t *timer)
{
	struct migration_out *m = timer->data;
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Query query = GODWIT__PROCD__QUERY__INIT;

	if (out_is_decided(m) || m->failing || m->over) {
		(void)uv_timer_stop(timer);
		return;
	}
	if (++m->pulses % WATCHER_PATIENCE == 0)
		out_tell_watchers(m);
	/* Questions, not seconds: a procd that was not let run has asked nothing, and answers may lie unread. */
	if (m->unanswered++ >= SILENCE_MAX) {
		out_fail(m, -EHOSTUNREACH, "nothing is heard from %s any more", m->destination);
		return;
	}
	query.migration = m->id;
	query.boot = m->boot;
	q.op_case = GODWIT__PROCD__REQUEST__OP_QUERY;
	q.query = &query;
	/* A destination that has not answered BEGIN yet may not know the migration, and means nothing by that. */
	if (rpc_ask(m->p, "procd@", m->destination, &q, 2 * PULSE_MS, m->begun ? on_pulse_reply : on_sign_of_life,
		    m) == 0)
		out_ref(m);
}

static void start_pulse(struct migration_out *m)
{
	m->unanswered = 0;
	(void)uv_timer_start(&m->pulse, on_pulse, PULSE_MS, PULSE_MS);
}

/* --- requests --- */

static bool join(struct migration_out *m, struct call *c, const char *destination)
{
	if (m->check_only || strcmp(m->destination, destination) || m->n_calls == CALLS_MAX)
		return false;
	m->calls[m->n_calls++] = c;
	return true;
}

static void begin(struct job *j, struct call *c, const char *destination, bool check_only, bool carry,
		  const char *strategy)
{
	struct migration_out *m;

	if (j->out && !check_only && join(j->out, c, destination))
		return; /* repeated after a lost answer */
	if (j->state != JOB_RUNNING) {
		call_refuse(c, -ESRCH, "job %s does not run", j->name);
		return;
	}
	if (j->out) {
		call_refuse(c, -EBUSY, "job %s is being %s already", j->name,
			    j->out->check_only ? "checked" : "moved");
		return;
	}
	if (!check_only && (j->told || j->owner_word)) {
		call_refuse(c, -EBUSY, "the owner of job %s is being asked what becomes of it", j->name);
		return;
	}
	m = out_new(j->p, j, j->name, NULL);
	(void)snprintf(m->destination, sizeof m->destination, "%s", destination);
	(void)snprintf(m->strategy, sizeof m->strategy, "%s", *strategy ? strategy : "eager");
	m->carry = carry || j->spec->carry;
	m->check_only = check_only;
	m->calls[m->n_calls++] = c;
	enter(m, STAGE_CHECK);
	if (!m->over && !check_only)
		start_pulse(m);
}

void migrate_check(struct job *j, struct call *c)
{
	const Godwit__Procd__Check *q = c->request->check;

	begin(j, c, q->destination, true, q->carry, "");
}

/* What there is to do to a job that is to be stopped and looked at; NULL: it was refused. */
static struct migration_out *begin_to_look(struct job *j, struct call *c)
{
	struct migration_out *m;

	if (j->state != JOB_RUNNING)
		call_refuse(c, -ESRCH, "job %s does not run", j->name);
	else if (!jobs_may_look(j, c))
		call_refuse(c, -EPERM, "job %s has privileges that you have not", j->name);
	else if (j->out)
		call_refuse(c, -EBUSY, "job %s is being %s already", j->name,
			    j->out->check_only ? "checked" : "moved");
	else
		goto good;
	return NULL;
good:
	m = out_new(j->p, j, j->name, NULL);
	(void)snprintf(m->strategy, sizeof m->strategy, "eager");
	m->calls[m->n_calls++] = c;
	return m;
}

void migrate_checkpoint(struct job *j, struct call *c)
{
	const Godwit__Procd__Checkpoint *q = c->request->checkpoint;
	struct migration_out *m;

	if (*q->path != '/' || (*q->parent && *q->parent != '/')) {
		call_refuse(c, -EINVAL, "an image needs an absolute path");
		return;
	}
	m = begin_to_look(j, c);
	if (!m)
		return;
	m->image = image_out_new(m, c);
	enter(m, STAGE_CHECK);
}

void migrate_stun(struct job *j, struct call *c)
{
	uint32_t timeout_ms = c->request->stun->timeout_ms;
	struct migration_out *m = begin_to_look(j, c);

	if (!m)
		return;
	m->stun = true;
	m->emergency = c->request->stun->emergency;
	m->calls_ms = timeout_ms ? MIN(timeout_ms, STUN_MAX_MS) : STUN_DEFAULT_MS;
	enter(m, STAGE_CHECK);
}

/* Perhaps asked a second time, because the first answer got lost with the source's procd. */
static void answer_is_here(struct job *j, struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	char text[192];

	(void)snprintf(text, sizeof text, "job %s is on %s already", j->name, j->p->settings.name);
	r.code = -EALREADY;
	r.text = text;
	if (j->last_move && now_us() - j->arrived_us < REPEAT_WITHIN_US) {
		r.result_case = GODWIT__PROCD__REPLY__RESULT_REPORT;
		r.report = j->last_move;
	}
	call_reply(c, &r);
}

void migrate_start(struct job *j, struct call *c)
{
	const Godwit__Procd__Migrate *q = c->request->migrate;

	if (!*q->destination || strlen(q->destination) >= GW_HOST_MAX)
		call_refuse(c, -EINVAL, "to which host?");
	else if (!strcmp(q->destination, j->p->settings.name))
		answer_is_here(j, c);
	else
		begin(j, c, q->destination, false, q->carry, q->strategy);
}

void migrate_progress(struct job *j, struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Progress x = GODWIT__PROCD__PROGRESS__INIT;
	struct migration_out *m = j->out;

	if (m && c->request->progress->seen == m->serial && m->n_watchers < CALLS_MAX) {
		m->watchers[m->n_watchers++] = c;
		return;
	}
	x.over = !m;
	if (m) {
		x.serial = m->serial;
		x.stage = (char *)(uintptr_t)stage_name(m);
		x.bytes = m->progress_bytes;
		x.total = m->progress_total;
	}
	r.result_case = GODWIT__PROCD__REPLY__RESULT_PROGRESS;
	r.progress = &x;
	call_reply(c, &r);
}

void migrate_cancel(struct job *j, struct call *c)
{
	if (!j->out || j->out->check_only) {
		call_refuse(c, -ESRCH, "job %s is not being moved", j->name);
	} else if (out_is_decided(j->out)) {
		call_refuse(c, -EALREADY, "too late: %s has the job", j->out->destination);
	} else {
		out_fail(j->out, -ECANCELED, "cancelled");
		call_ok(c);
	}
}

bool migrate_is_moving(const struct job *j)
{
	/* While a stun waits for calls to end, somebody may have to do what they wait for. */
	enum stage_id from = j->out && j->out->stun ? STAGE_MOVE : STAGE_STUN;

	if (j->state == JOB_LEAVING || j->state == JOB_ARRIVING)
		return true;
	return j->out && !j->out->check_only && (j->out->stage >= from || j->out->failing);
}

bool migrate_is_going_on(const struct job *j)
{
	return j->out && !j->out->stun;
}

bool migrate_is_in_doubt(const struct job *j)
{
	return (j->out && j->out->in_doubt) || (j->in && in_is_in_doubt(j->in));
}

void migrate_describe(const struct job *j, Godwit__Procd__Job *ret)
{
	if (migrate_is_going_on(j) && !j->out->check_only) {
		ret->destination = j->out->destination;
		ret->migration = j->out->id;
		ret->stage = (char *)(uintptr_t)stage_name(j->out);
	} else if (j->in && j->state == JOB_ARRIVING) {
		ret->destination = j->in->source;
		ret->migration = j->in->id;
	}
}
