/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stages commit and delete at the source. From the journal record on there is no way back but one: the
 * destination's word, given in the boot in which the migration began, that it never ran the job.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "procd/herd.h"
#include "procd/jobs.h"
#include "procd/migration.h"
#include "procd/rpc.h"

#define COMMIT_LOCATE_MS 2000u
#define RETRY_FIRST_MS 50u
#define RETRY_MAX_MS 5000u
#define DOUBT_AFTER_US 3000000u
#define TELL_DOUBT_AFTER_US 15000000u

static void send_commit(struct migration_out *m);

/* --- not heard: repeat, and say that it is in doubt --- */

static void tell_doubt(struct migration_out *m)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;

	r.code = -EINPROGRESS;
	r.in_doubt = 1;
	r.text = (char *)(uintptr_t) "the destination has not confirmed: it has the job, or nobody runs it until "
				     "it is heard";
	for (size_t i = 0; i < m->n_calls; i++)
		call_reply(m->calls[i], &r);
	m->n_calls = 0;
}

static void on_retry(uv_timer_t *timer)
{
	send_commit(timer->data);
}

static void retry(struct migration_out *m, const char *why)
{
	uint64_t ms = RETRY_MAX_MS, doubt;

	if (!m->doubt_since_us)
		m->doubt_since_us = now_us();
	mover_end(m->mover); /* it has let go of the job, and this may take long */
	m->mover = NULL;
	doubt = now_us() - m->doubt_since_us;
	if (doubt > DOUBT_AFTER_US && !m->in_doubt) {
		log_warn("job %s: in doubt: %s has not confirmed (%s)", m->name, m->destination, why);
		m->in_doubt = true;
	}
	if (doubt > TELL_DOUBT_AFTER_US)
		tell_doubt(m);
	if (m->tries < 6)
		ms = MIN(RETRY_FIRST_MS << m->tries, RETRY_MAX_MS);
	m->tries++;
	(void)uv_timer_start(&m->deadline, on_retry, ms, 0);
}

/* --- the destination does not know it: ask what that means --- */

static void on_verdict(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct migration_out *m = arg;
	Godwit__Procd__Verdict__What what = GODWIT__PROCD__VERDICT__WHAT__NONE;

	(void)status;
	if (reply && reply->result_case == GODWIT__PROCD__REPLY__RESULT_VERDICT)
		what = reply->verdict->what;
	if (m->over || m->stage != STAGE_COMMIT)
		; /* somebody decided meanwhile */
	else if (what == GODWIT__PROCD__VERDICT__WHAT__NEVER_RAN)
		out_revoke(m);
	else if (what == GODWIT__PROCD__VERDICT__WHAT__RUNNING)
		out_stage_done(m, STAGE_COMMIT);
	else
		retry(m, reply ? "it cannot tell" : why);
	out_unref(m);
}

static void ask_verdict(struct migration_out *m)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Query query = GODWIT__PROCD__QUERY__INIT;

	query.migration = m->id;
	query.boot = m->boot;
	q.op_case = GODWIT__PROCD__REQUEST__OP_QUERY;
	q.query = &query;
	if (rpc_ask(m->p, "procd@", m->destination, &q, COMMIT_LOCATE_MS, on_verdict, m) == 0)
		out_ref(m);
	else
		retry(m, "flipd is away");
}

static void on_committed(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct migration_out *m = arg;

	(void)status;
	if (m->over || m->stage != STAGE_COMMIT) {
		/* decided meanwhile */
	} else if (!reply) {
		retry(m, why);
	} else if (!reply->code) {
		m->resumed_us = now_us();
		out_stage_done(m, STAGE_COMMIT);
	} else if (reply->code == -ENOENT) {
		(void)err_set(&m->refused, reply->code, "%s", reply->text);
		ask_verdict(m);
	} else {
		retry(m, reply->text);
	}
	out_unref(m);
}

static void send_commit(struct migration_out *m)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Report *x = m->commit->report;
	uint64_t frozen = now_us() - m->at_us;

	if (x && m->at_us && frozen > x->freeze_us) {
		x->total_us += frozen - x->freeze_us;
		x->freeze_us = frozen;
	}
	q.op_case = GODWIT__PROCD__REQUEST__OP_COMMIT;
	q.commit = m->commit;
	if (rpc_ask(m->p, "procd@", m->destination, &q, COMMIT_LOCATE_MS, on_committed, m) == 0)
		out_ref(m);
	else
		retry(m, "flipd is away");
}

/* --- commit --- */

void out_commit(struct migration_out *m)
{
	Godwit__Journal__Record r = GODWIT__JOURNAL__RECORD__INIT;
	struct err e = { 0 };

	if (!m->recorded) {
		r.kind = GODWIT__JOURNAL__RECORD__KIND__COMMITTED;
		r.migration = m->id;
		r.job = m->name;
		r.peer = m->destination;
		r.boot = m->boot;
		r.incarnation = m->commit->incarnation;
		r.commit = m->commit;
		if (journal_append(&m->p->journal, &r, &e) < 0) {
			out_fail(m, e.code, "%s", err_text(&e));
			return;
		}
		m->recorded = true;
		m->job->state = JOB_LEAVING;
		out_hold_conns(m);
		migrate_die_at("record", "source");
	}
	send_commit(m);
}

/* --- the one way back --- */

static void on_woken(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	struct migration_out *m = arg;

	(void)r;
	(void)fds;
	(void)n_fds;
	if (m->job) {
		(void)jobs_settle(m->job);
		m->job->state = JOB_RUNNING;
		/* A new endpoint, since the old one may have been taken in an earlier life of ours. */
		rpc_unserve_job(m->job);
		rpc_serve_job(m->job);
	}
	out_end_conns(m, false);
	out_finish(m);
	out_unref(m);
}

void out_revoke(struct migration_out *m)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Resume resume = GODWIT__SHEPHERD__RESUME__INIT;

	if (migrate_note(m->p, GODWIT__JOURNAL__RECORD__KIND__REVOKED, m->id, m->name) < 0) {
		retry(m, "the journal cannot be written");
		return;
	}
	log_info("job %s: %s never ran it; it goes on here", m->name, m->destination);
	(void)err_set(&m->e, -EIO, "%s lost the job before it ran (%.200s); it goes on here", m->destination,
		      m->refused.code ? m->refused.text : "it does not know it");
	m->stage = STAGE_DELETE; /* late answers to COMMIT mean nothing any more */
	(void)uv_timer_stop(&m->deadline);
	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_RESUME;
	q.resume = &resume;
	out_ref(m);
	if (!m->job || herd_ask(m->job->herd, &q, -1, on_woken, m) < 0)
		on_woken(m, NULL, NULL, 0);
}

/* --- delete --- */

static void on_forgotten(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct migration_out *m = arg;

	(void)status;
	(void)why;
	/* Not heard: the destination keeps the outcome a little longer; nothing depends on it. */
	if (reply && !reply->code)
		log_debug("job %s: forgotten", m->name);
	out_unref(m);
}

static void on_deleted(void *arg)
{
	struct migration_out *m = arg;
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Forget forget = GODWIT__PROCD__FORGET__INIT;

	(void)migrate_note(m->p, GODWIT__JOURNAL__RECORD__KIND__DELETED, m->id, m->name);
	forget.migration = m->id;
	q.op_case = GODWIT__PROCD__REQUEST__OP_FORGET;
	q.forget = &forget;
	if (rpc_ask(m->p, "procd@", m->destination, &q, COMMIT_LOCATE_MS, on_forgotten, m) == 0)
		out_ref(m);
	m->job = NULL;
	out_stage_done(m, STAGE_DELETE);
	out_unref(m);
}

void out_delete(struct migration_out *m)
{
	Godwit__Mover__Finish finish = GODWIT__MOVER__FINISH__INIT;

	m->in_doubt = false;
	if (m->at_us)
		log_info("job %s: moved to %s, frozen for %llu us", m->name, m->destination,
			 (unsigned long long)(m->resumed_us - m->at_us));
	else
		log_info("job %s: has arrived on %s", m->name, m->destination);
	if (m->mover)
		(void)!mover_say(m->mover, MOVER_KIND(FINISH), &finish, NULL, 0);
	out_ref(m);
	if (!m->job) {
		on_deleted(m);
		return;
	}
	m->job->out = NULL;
	rpc_unserve_job(m->job);
	out_end_conns(m, true);
	jobs_end(m->job, on_deleted, m);
}
