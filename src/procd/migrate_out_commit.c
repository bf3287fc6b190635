/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stages commit and delete at the source: what the rules of commit.c say is done here. What is heard becomes an
 * event for them (out_event), what they want is an action (act).
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

static void on_time(uv_timer_t *timer)
{
	(void)out_event(timer->data, COMMIT_E_TIME, NULL);
}

/* COMMIT_A_LATER */
static void wait_longer(struct migration_out *m)
{
	const char *why = m->unheard ? m->unheard : "it cannot tell";
	uint64_t ms = RETRY_MAX_MS, doubt;

	if (!m->doubt_since_us)
		m->doubt_since_us = now_us();
	mover_end(m->mover); /* it has let go of the job, and this may take long */
	m->mover = NULL;
	doubt = now_us() - m->doubt_since_us;
	if (doubt > DOUBT_AFTER_US && !m->in_doubt && m->core == COMMIT_S_COMMITTED) {
		log_warn("job %s: in doubt: %s has not confirmed (%s)", m->name, m->destination, why);
		m->in_doubt = true;
	}
	if (doubt > TELL_DOUBT_AFTER_US)
		tell_doubt(m);
	if (m->tries < 6)
		ms = MIN(RETRY_FIRST_MS << m->tries, RETRY_MAX_MS);
	m->tries++;
	(void)uv_timer_start(&m->deadline, on_time, ms, 0);
}

/* --- what is heard --- */

static void unheard(struct migration_out *m, const char *why)
{
	m->unheard = why;
	(void)out_event(m, COMMIT_E_NO_ANSWER, NULL);
	m->unheard = NULL;
}

static void on_verdict(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct migration_out *m = arg;
	Godwit__Procd__Verdict__What what = GODWIT__PROCD__VERDICT__WHAT__NONE;

	(void)status;
	if (reply && reply->result_case == GODWIT__PROCD__REPLY__RESULT_VERDICT)
		what = reply->verdict->what;
	if (m->over)
		; /* somebody decided meanwhile */
	else if (what == GODWIT__PROCD__VERDICT__WHAT__NEVER_RAN)
		(void)out_event(m, COMMIT_E_NEVER_RAN, NULL);
	else if (what == GODWIT__PROCD__VERDICT__WHAT__RUNNING)
		(void)out_event(m, COMMIT_E_RUNNING, NULL);
	else if (what == GODWIT__PROCD__VERDICT__WHAT__UNKNOWN)
		(void)out_event(m, COMMIT_E_OTHER_BOOT, NULL);
	else
		unheard(m, reply ? NULL : why);
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
		unheard(m, "flipd is away");
}

static void on_committed(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct migration_out *m = arg;

	(void)status;
	if (m->over) {
		/* decided meanwhile */
	} else if (!reply) {
		unheard(m, why);
	} else if (!reply->code) {
		if (m->core == COMMIT_S_COMMITTED)
			m->resumed_us = now_us();
		(void)out_event(m, COMMIT_E_ACKNOWLEDGED, NULL);
	} else if (reply->code == -ENOENT) {
		(void)err_set(&m->refused, reply->code, "%s", reply->text);
		(void)out_event(m, COMMIT_E_UNKNOWN, NULL);
	} else {
		unheard(m, reply->text);
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
		unheard(m, "flipd is away");
}

/* --- records --- */

static int append_committed(struct migration_out *m)
{
	Godwit__Journal__Record r = GODWIT__JOURNAL__RECORD__INIT;

	r.kind = GODWIT__JOURNAL__RECORD__KIND__COMMITTED;
	r.migration = m->id;
	r.job = m->name;
	r.peer = m->destination;
	r.boot = m->boot;
	r.incarnation = m->commit->incarnation;
	r.commit = m->commit;
	return journal_append(&m->p->journal, &r, &m->e);
}

static void note(struct migration_out *m, enum commit_action action)
{
	bool committed = action == COMMIT_A_NOTE_COMMITTED;
	int r;

	/* If we die before the record is known to flipd, it must not take it for a move that came to nothing. */
	if (committed) {
		out_hold_conns(m, false);
		r = append_committed(m);
	} else {
		r = migrate_note(m->p,
				 action == COMMIT_A_NOTE_REVOKED ? GODWIT__JOURNAL__RECORD__KIND__REVOKED
								 : GODWIT__JOURNAL__RECORD__KIND__DELETED,
				 m->id, m->name);
	}
	if (!r && committed) {
		m->job->state = JOB_LEAVING;
		migrate_die_at("decision", "source");
		out_hold_conns(m, true);
		migrate_die_at("record", "source");
	}
	m->unheard = "the journal cannot be written";
	(void)out_event(m, r < 0 ? COMMIT_E_NOTE_FAILED : COMMIT_E_NOTED, NULL);
	m->unheard = NULL;
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

static void wake(struct migration_out *m)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Resume resume = GODWIT__SHEPHERD__RESUME__INIT;

	(void)err_set(&m->e, -EIO, "%s lost the job before it ran (%.200s); it goes on here", m->destination,
		      m->refused.code ? m->refused.text : "it does not know it");
	log_info("job %s: %s", m->name, err_text(&m->e));
	m->stage = STAGE_DELETE;
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

static void send_forget(struct migration_out *m)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Forget forget = GODWIT__PROCD__FORGET__INIT;

	forget.migration = m->id;
	q.op_case = GODWIT__PROCD__REQUEST__OP_FORGET;
	q.forget = &forget;
	if (rpc_ask(m->p, "procd@", m->destination, &q, COMMIT_LOCATE_MS, on_forgotten, m) == 0)
		out_ref(m);
	if (m->stage != STAGE_DELETE) /* it was not entered, since our copy was gone already */
		out_end_conns(m, true);
	m->stage = STAGE_DELETE;
	out_stage_done(m, STAGE_DELETE);
}

static void on_deleted(void *arg)
{
	struct migration_out *m = arg;

	m->job = NULL;
	(void)out_event(m, COMMIT_E_GONE, NULL);
	out_unref(m);
}

/* What stage `delete` does: COMMIT_A_DELETE has entered it. */
void out_delete(struct migration_out *m)
{
	Godwit__Mover__Finish finish = GODWIT__MOVER__FINISH__INIT;

	m->in_doubt = false;
	if (m->at_us)
		log_info("job %s: moved to %s, frozen for %llu us", m->name, m->destination,
			 (unsigned long long)(MAX(m->resumed_us, m->at_us) - m->at_us));
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

/* --- the rules --- */

static void act(struct migration_out *m, enum commit_action action, struct call *c)
{
	switch (action) {
	case COMMIT_A_NOTE_COMMITTED:
	case COMMIT_A_NOTE_REVOKED:
	case COMMIT_A_NOTE_DELETED:
		note(m, action);
		break;
	case COMMIT_A_SEND_COMMIT:
		send_commit(m);
		break;
	case COMMIT_A_ASK_DESTINATION:
		ask_verdict(m);
		break;
	case COMMIT_A_LATER:
		wait_longer(m);
		break;
	case COMMIT_A_UNDO:
		out_undo(m);
		break;
	case COMMIT_A_FREE: /* it has let go of the job; if it is still there, that is by our own leave */
		mover_end(m->mover);
		m->mover = NULL;
		break;
	case COMMIT_A_WAKE:
		wake(m);
		break;
	case COMMIT_A_DELETE:
		out_stage_done(m, STAGE_COMMIT);
		break;
	case COMMIT_A_SEND_FORGET:
		send_forget(m);
		break;
	default:
		migrate_say(c, action);
	}
}

bool out_event(struct migration_out *m, enum commit_event e, struct call *c)
{
	const struct commit_rule *r = commit_find(&commit_source, m->core, e);

	if (!r || m->over)
		return false;
	m->core = r->next;
	out_ref(m);
	for (int i = 0; i < COMMIT_ACTIONS_MAX && r->actions[i]; i++)
		act(m, r->actions[i], c);
	out_unref(m);
	return true;
}

/* What stage `commit` does. */
void out_commit(struct migration_out *m)
{
	(void)out_event(m, COMMIT_E_FROZEN, NULL);
}
