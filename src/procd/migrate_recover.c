/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After procd's restart, and what process servers tell each other about outcomes. The jobs are found first (their
 * directories), then each one's shepherd tells its state, and the journal says what that means:
 *
 *   here, no record            whatever the earlier procd was doing is undone: shepherd resumes, thaw, serve
 *   COMMITTED                  the destination's copy is the job: repeat COMMIT, answer BUSY until it is
 * acknowledged arriving, no READY         nothing complete: throw it away arriving, READY            complete and
 * frozen: ask the source, wait for its COMMIT arriving, THAWED           it runs here (the thaw itself may be
 * missing: repeat it)
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "procd/herd.h"
#include "procd/jobs.h"
#include "procd/migration.h"
#include "procd/ops.h"
#include "procd/rpc.h"

#define KIND(x) GODWIT__JOURNAL__RECORD__KIND__##x

/* --- asked by others --- */

void migrate_hello(struct procd *p, struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__HelloReply h = GODWIT__PROCD__HELLO_REPLY__INIT;

	h.host = p->settings.name;
	h.boot = p->boot;
	h.address = p->settings.address;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_HELLO;
	r.hello = &h;
	migrate_clocks(&h.monotonic_ns, &h.boottime_ns);
	call_reply(c, &r);
}

static struct migration_out *find_out(struct procd *p, const char *id)
{
	struct migration_out *m = p->outgoing;

	while (m && strcmp(m->id, id))
		m = m->next;
	return m;
}

static const Godwit__Journal__Record *record_of_migration(const struct procd *p, const char *migration)
{
	for (size_t i = 0; i < p->journal.n_records; i++)
		if (!strcmp(p->journal.records[i]->migration, migration))
			return p->journal.records[i];
	return NULL;
}

/* Did an earlier life of ours write the record that makes the destination's copy the job? */
static bool was_decided(const struct procd *p, const char *migration)
{
	const Godwit__Journal__Record *r = record_of_migration(p, migration);

	return r && r->kind == KIND(COMMITTED);
}

void migrate_query(struct procd *p, struct call *c)
{
	const Godwit__Procd__Query *q = c->request->query;
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Verdict v = GODWIT__PROCD__VERDICT__INIT;
	struct migration_in *in = in_find(p, q->migration);
	struct migration_out *out = find_out(p, q->migration);

	if ((in && strcmp(in->source, c->host)) || (!in && out && strcmp(out->destination, c->host))) {
		call_refuse(c, -EPERM, "that is a matter of other hosts");
		return;
	}
	if (in)
		in->heard_us = now_us();
	if (in && in->state == IN_THAWED)
		v.what = GODWIT__PROCD__VERDICT__WHAT__RUNNING;
	else if (in)
		v.what = GODWIT__PROCD__VERDICT__WHAT__UNDECIDED;
	else if (out)
		v.what = out->recorded ? GODWIT__PROCD__VERDICT__WHAT__COMMITTED
				       : GODWIT__PROCD__VERDICT__WHAT__UNDECIDED;
	else if (restart_is_going_on(p, q->migration) || was_decided(p, q->migration))
		v.what = GODWIT__PROCD__VERDICT__WHAT__UNDECIDED; /* recovery has not come to that job yet */
	else if (!*q->boot)
		v.what = GODWIT__PROCD__VERDICT__WHAT__ABORTED; /* we are the source, and have no record */
	else
		v.what = strcmp(q->boot, p->boot) ? GODWIT__PROCD__VERDICT__WHAT__UNKNOWN
						  : GODWIT__PROCD__VERDICT__WHAT__NEVER_RAN;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_VERDICT;
	r.verdict = &v;
	call_reply(c, &r);
}

void migrate_outcome(struct procd *p, struct call *c)
{
	const Godwit__Procd__Outcome *q = c->request->outcome;
	struct job *j = jobs_by_name(p, q->job);

	if (!j || !jobs_is_allowed(j, c)) {
		call_refuse(c, j ? -EPERM : -ESRCH, "no such job here, or not yours");
	} else if (!j->out || !j->out->in_doubt) {
		call_refuse(c, -EINVAL, "job %s is not in doubt", j->name);
	} else if (q->here) {
		call_ok(c);
		out_revoke(j->out);
	} else {
		call_ok(c);
		out_stage_done(j->out, STAGE_COMMIT);
	}
}

/* --- after a restart --- */

static const Godwit__Journal__Record *record_of_leaving(const struct procd *p, const char *job)
{
	for (size_t i = 0; i < p->journal.n_records; i++)
		if (p->journal.records[i]->kind == KIND(COMMITTED) && !strcmp(p->journal.records[i]->job, job))
			return p->journal.records[i];
	return NULL;
}

void migrate_recover_arrival(struct job *j, const Godwit__Journal__JobFile *f)
{
	const Godwit__Journal__Record *r;

	if (!*f->migration)
		return;
	r = record_of_migration(j->p, f->migration);
	j->state = JOB_ARRIVING;
	j->in = in_new(j->p, f->migration, j->name, f->source);
	j->in->job = j;
	j->in->state = !r ? IN_PREPARING : r->kind == KIND(THAWED) ? IN_THAWED : IN_READY;
	in_start_pulse(j->in);
}

static void take_commit(struct migration_out *m, const Godwit__Procd__Commit *c)
{
	size_t len = godwit__procd__commit__get_packed_size(c);
	_cleanup_free_ uint8_t *bytes = xmalloc(len);

	(void)godwit__procd__commit__pack(c, bytes);
	m->commit = godwit__procd__commit__unpack(NULL, len, bytes);
}

static void on_busy(void *arg, int result, const void *blob, size_t len)
{
	(void)arg;
	(void)blob;
	(void)len;
	if (result < 0)
		log_warn("flipd does not answer BUSY for a job that is leaving: %s", strerror(-result));
}

/* An endpoint that is opened only to be taken at once: whoever looks for the job hears BUSY, not that it is gone.
 */
void migrate_busy_again(struct job *j)
{
	rpc_serve_job(j);
	if (j->endpoint)
		(void)gwc_endpoint_take(j->p->gwc, j->endpoint, on_busy, NULL);
}

static void resume_commit(struct job *j, const Godwit__Journal__Record *r)
{
	struct migration_out *m = out_new(j, r->migration);

	(void)snprintf(m->destination, sizeof m->destination, "%s", r->peer);
	(void)snprintf(m->boot, sizeof m->boot, "%s", r->boot);
	(void)snprintf(m->strategy, sizeof m->strategy, "eager");
	take_commit(m, r->commit);
	out_recall_conns(m);
	m->at_us = r->commit->at_us;
	m->recorded = true;
	m->stage = STAGE_COMMIT;
	m->stage_started_us = now_us();
	j->state = JOB_LEAVING;
	log_info("job %s: its move to %s was decided; asking whether it arrived", j->name, m->destination);
	migrate_busy_again(j);
	out_commit(m);
}

static void on_woken(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	struct job *j = arg;

	(void)fds;
	(void)n_fds;
	if (!r)
		return;
	if (r->code)
		log_error("job %s: its shepherd does not resume: %s", j->name, r->text);
	(void)jobs_settle(j);
	rpc_serve_job(j);
	owner_again(j);
	log_info("job %s: found again", j->name);
}

static void wake(struct job *j)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Resume resume = GODWIT__SHEPHERD__RESUME__INIT;

	j->state = JOB_RUNNING;
	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_RESUME;
	q.resume = &resume;
	if (herd_ask(j->herd, &q, -1, on_woken, j) < 0)
		log_error("job %s: cannot reach its shepherd", j->name);
}

static void recover_arrival(struct job *j, Godwit__Shepherd__State__Phase phase)
{
	struct err e = { 0 };

	switch (j->in->state) {
	case IN_THAWED:
		(void)jobs_settle(j);
		j->state = JOB_RUNNING;
		rpc_serve_job(j);
		if (jobs_save(j, &e) < 0)
			log_error("job %s: %s", j->name, err_text(&e));
		break;
	case IN_READY:
		if (phase != GODWIT__SHEPHERD__STATE__PHASE__EXITED) {
			log_info("job %s: complete here; waiting for the word of %s", j->name, j->in->source);
			j->in->heard_us = 0; /* ask at the next pulse */
			break;
		}
		/* fall through */
	default:
		in_discard(j->in, -EIO, "procd was restarted before it was complete");
	}
}

void migrate_recover_job(struct job *j, const Godwit__Shepherd__State *s)
{
	const Godwit__Journal__Record *r = record_of_leaving(j->p, j->name);

	if (r && r->commit) {
		resume_commit(j, r);
	} else if (j->in) {
		recover_arrival(j, s->phase);
		if (s->exited && j->state == JOB_RUNNING)
			jobs_exited(j, s->exited);
	} else if (s->phase == GODWIT__SHEPHERD__STATE__PHASE__EXITED && s->exited) {
		j->state = JOB_RUNNING;
		rpc_serve_job(j);
		jobs_exited(j, s->exited);
	} else if (s->phase == GODWIT__SHEPHERD__STATE__PHASE__RUNNING ||
		   s->phase == GODWIT__SHEPHERD__STATE__PHASE__QUIET) {
		wake(j);
	} else {
		jobs_end(j, NULL, NULL);
	}
}

/* Arrivals whose job has ended meanwhile, but whose source may still ask. Records of jobs that are gone otherwise
 * are closed: a frozen copy that vanished (killed by hand) cannot come back. */
void migrate_recover_rest(struct procd *p)
{
	for (size_t i = 0; i < p->journal.n_records; i++) {
		const Godwit__Journal__Record *r = p->journal.records[i];
		struct migration_in *m;

		if (r->kind == KIND(THAWED) && !in_find(p, r->migration)) {
			m = in_new(p, r->migration, r->job, r->peer);
			m->state = IN_THAWED;
			in_start_pulse(m);
		} else if ((r->kind == KIND(COMMITTED) || r->kind == KIND(READY)) && !jobs_by_name(p, r->job)) {
			(void)migrate_note(p, r->kind == KIND(COMMITTED) ? KIND(DELETED) : KIND(FORGOTTEN),
					   r->migration, r->job);
		}
	}
}
