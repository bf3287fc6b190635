/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commit at the destination: what the rules of commit.c say is done here. What is heard becomes an event for
 * them (in_event), what they want is an action (act). A migration that is not known here is in state NONE.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "procd/herd.h"
#include "procd/jobs.h"
#include "procd/migration.h"
#include "procd/rpc.h"

#define ASK_LOCATE_MS 2000u

static void answer_committed(struct procd *p, struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Committed x = GODWIT__PROCD__COMMITTED__INIT;

	x.host = p->settings.name;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_COMMITTED;
	r.committed = &x;
	call_reply(c, &r);
}

static void keep_report(struct migration_in *m, struct job *j, const Godwit__Procd__Report *x)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;

	if (!x)
		return;
	len = godwit__procd__report__get_packed_size(x);
	bytes = xmalloc(len);
	(void)godwit__procd__report__pack(x, bytes);
	j->last_move = godwit__procd__report__unpack(NULL, len, bytes);
	j->arrived_us = now_us();
	if (!j->last_move)
		return;
	if (m->commit_us) {
		j->last_move->freeze_us += j->arrived_us - m->commit_us;
		j->last_move->total_us += j->arrived_us - m->commit_us;
	}
}

/* --- the job runs here --- */

static void thaw(struct migration_in *m)
{
	struct job *j = m->job;

	if (!j)
		return;
	migrate_die_at("record", "destination");
	(void)jobs_settle(j);
	j->state = JOB_RUNNING;
	rpc_serve_job(j); /* if its old address is not here: after a restart of ours, or without a COMMIT */
}

/* `c`: one more COMMIT of a job that runs here; NULL: the first, if it was one that brought it here. */
static void acknowledge(struct migration_in *m, struct call *c)
{
	struct call *first = m->commit;
	struct job *j = m->job;
	struct err e = { 0 };

	if (j && !j->last_move && (c || first))
		keep_report(m, j, (c ? c : first)->request->commit->report);
	if (c) {
		answer_committed(m->p, c);
		return;
	}
	m->commit = NULL;
	migrate_die_at("commit", "destination");
	if (first)
		answer_committed(m->p, first);
	if (!j)
		return;
	jobs_release(j);
	log_info("job %s: arrived from %s", j->name, m->source);
	if (jobs_save(j, &e) < 0)
		log_error("job %s: %s", j->name, err_text(&e));
}

/* --- parts of the commit --- */

void in_part_installed(struct migration_in *m, int result, const char *why)
{
	if (result < 0 && !m->e.code)
		(void)err_set(&m->e, result, "%s", why);
	if (--m->installing == 0 && !m->over) {
		if (m->e.code)
			in_discard(m, m->e.code, m->e.text);
		else
			(void)in_event(m, COMMIT_E_INSTALLED, NULL);
	}
	in_unref(m);
}

static void on_imported(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	(void)fds;
	(void)n_fds;
	in_part_installed(arg, r ? r->code : -EIO, r ? r->text : "the shepherd is gone");
}

static void on_installed(void *arg, int result)
{
	struct migration_in *m = arg;

	/* A commit repeated after our own restart: an older life of ours installed it, and it went with that
	 * connection. */
	if (result == -EEXIST)
		result = 0;
	in_part_installed(m, result, "flipd does not take the job's address");
}

/* What COMMIT brings; without one (a person's decision) the streams go on where their spools end, at a new
 * address. */
static void install(struct migration_in *m)
{
	Godwit__Procd__Commit none = GODWIT__PROCD__COMMIT__INIT;
	const Godwit__Procd__Commit *q = m->commit ? m->commit->request->commit : &none;
	Godwit__Shepherd__Request ask = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Import import = GODWIT__SHEPHERD__IMPORT__INIT;
	Godwit__Shepherd__Streams *streams =
		godwit__shepherd__streams__unpack(NULL, q->streams.len, q->streams.data);

	m->installing = 1;
	m->refs++;
	if (m->commit)
		m->job->incarnation = q->incarnation;
	else if (streams)
		streams->log_bytes = m->job->spec->log_bytes;
	import.streams = streams;
	ask.op_case = GODWIT__SHEPHERD__REQUEST__OP_IMPORT;
	ask.import = &import;
	if (!streams || herd_ask(m->job->herd, &ask, -1, on_imported, m) < 0) {
		(void)err_set(&m->e, -EPROTO, "the streams are damaged, or the shepherd is gone");
	} else {
		m->installing++;
		m->refs++;
	}
	if (streams)
		godwit__shepherd__streams__free_unpacked(streams, NULL);
	if (!q->endpoint.len) {
		rpc_serve_job(m->job); /* or out of an image: a new job at a new address */
	} else if (rpc_install_job(m->job, q->endpoint.data, q->endpoint.len, on_installed, m) < 0) {
		(void)err_set(&m->e, -ENOTCONN, "flipd is away");
	} else {
		m->installing++;
		m->refs++;
	}
	in_install_conns(m, q);
	in_part_installed(m, 0, NULL);
}

/* --- asking the source --- */

static void on_outcome(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct migration_in *m = arg;

	(void)status;
	(void)why;
	m->asking = false;
	if (!m->over && reply && reply->result_case == GODWIT__PROCD__REPLY__RESULT_VERDICT) {
		m->heard_us = now_us();
		m->why_code = -ECANCELED;
		m->why = "the source gave it up";
		if (reply->verdict->what == GODWIT__PROCD__VERDICT__WHAT__ABORTED)
			(void)in_event(m, COMMIT_E_ABORTED, NULL);
	}
	if (m->successor && m->over)
		migrate_in_begin(m->p, steal_ptr(&m->successor));
	else if (m->successor)
		call_refuse(steal_ptr(&m->successor), -EEXIST,
			    "an earlier move of job %s is not over: %s has not said what became of it", m->name,
			    m->source);
	in_unref(m);
}

static void ask_source(struct migration_in *m)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Query query = GODWIT__PROCD__QUERY__INIT;

	query.migration = m->id;
	q.op_case = GODWIT__PROCD__REQUEST__OP_QUERY;
	q.query = &query;
	if (rpc_ask(m->p, "procd@", m->source, &q, ASK_LOCATE_MS, on_outcome, m) < 0)
		return;
	m->asking = true;
	m->refs++;
}

bool in_ask(struct migration_in *m)
{
	if (!m->asking)
		(void)in_event(m, COMMIT_E_TIME, NULL);
	return m->asking;
}

/* --- records --- */

/* With the source's name: a later life of ours, which may find nothing but this record, answers only to that host.
 */
static int append(struct migration_in *m, Godwit__Journal__Record__Kind kind)
{
	Godwit__Journal__Record r = GODWIT__JOURNAL__RECORD__INIT;

	r.kind = kind;
	r.migration = m->id;
	r.job = m->name;
	r.peer = m->source;
	r.incarnation = m->job->incarnation;
	return journal_append(&m->p->journal, &r, &m->e);
}

static int note_thawed(struct migration_in *m)
{
	const Godwit__Procd__Commit *q = m->commit ? m->commit->request->commit : NULL;

	for (size_t i = 0; q && i < q->n_signals; i++)
		migrate_late_signal(m->job->pid, q->signals[i]);
	if (q)
		stun_keep_message(m->job, q);
	return append(m, GODWIT__JOURNAL__RECORD__KIND__THAWED);
}

/* Without the record the job's file alone says that it has arrived. */
static int note_here(struct migration_in *m)
{
	return m->job ? jobs_save(m->job, &m->e) : 0;
}

static void note(struct migration_in *m, enum commit_action action)
{
	int r = action == COMMIT_A_NOTE_READY	 ? append(m, GODWIT__JOURNAL__RECORD__KIND__READY)
		: action == COMMIT_A_NOTE_THAWED ? note_thawed(m)
						 : note_here(m);

	m->why_code = r;
	m->why = err_text(&m->e);
	(void)in_event(m, r < 0 ? COMMIT_E_NOTE_FAILED : COMMIT_E_NOTED, NULL);
}

/* --- it will never run here --- */

static void discard(struct migration_in *m)
{
	const char *why = m->why ? m->why : "it was discarded";
	struct job *j = m->job;

	log_info("job %s: does not arrive from %s: %s", m->name, m->source, why);
	if (m->begin)
		call_refuse(m->begin, m->why_code, "%s", why);
	m->begin = NULL;
	if (m->commit)
		call_refuse(m->commit, -ENOENT, "%s", why);
	m->commit = NULL;
	/* It may be in the middle of the blank, which goes away now. One that was told to finish is not. */
	if (m->mover && !m->let_go)
		mover_kill(m->mover);
	in_free(m);
	if (j)
		jobs_end(j, NULL, NULL);
}

/* --- the rules --- */

static void let_go(struct migration_in *m)
{
	Godwit__Mover__Finish finish = GODWIT__MOVER__FINISH__INIT;

	m->heard_us = now_us();
	m->let_go = true;
	(void)!mover_say(m->mover, MOVER_KIND(FINISH), &finish, NULL, 0);
}

static void begin_commit(struct migration_in *m, struct call *c)
{
	m->commit = c;
	m->commit_us = now_us();
	install(m);
}

static void hold(struct migration_in *m, struct call *c)
{
	if (m->commit)
		call_refuse(c, -EAGAIN, "that is being done");
	else
		m->commit = c;
}

/* Actions that answer a request; `m` is NULL if the migration is not known. */
static void answer(struct migration_in *m, enum commit_action action, struct call *c)
{
	switch (action) {
	case COMMIT_A_ANSWER_COMMITTED:
		acknowledge(m, c);
		break;
	case COMMIT_A_ANSWER_UNKNOWN: /* a COMMIT that was under way has heard it from discard() */
		if (c)
			call_refuse(c, -ENOENT, "no such migration");
		break;
	case COMMIT_A_ANSWER_BUSY:
		call_refuse(c, -EAGAIN, "that is being done");
		break;
	case COMMIT_A_ANSWER_ALREADY:
		call_refuse(c, -EALREADY, "it runs here");
		break;
	case COMMIT_A_ANSWER_OK:
		if (c)
			call_ok(c);
		break;
	default:
		migrate_say(c, action);
	}
}

static void act(struct migration_in *m, enum commit_action action, struct call *c)
{
	switch (action) {
	case COMMIT_A_PREPARE: /* migrate_in_begin() goes on with it */
		break;
	case COMMIT_A_NOTE_READY:
	case COMMIT_A_NOTE_THAWED:
	case COMMIT_A_NOTE_HERE:
		note(m, action);
		break;
	case COMMIT_A_NOTE_FORGOTTEN:
		(void)migrate_note(m->p, GODWIT__JOURNAL__RECORD__KIND__FORGOTTEN, m->id, m->name);
		break;
	case COMMIT_A_LET_GO:
		let_go(m);
		break;
	case COMMIT_A_HOLD:
		hold(m, c);
		break;
	case COMMIT_A_INSTALL:
		begin_commit(m, c);
		break;
	case COMMIT_A_THAW:
		thaw(m);
		break;
	case COMMIT_A_DISCARD:
		discard(m);
		break;
	case COMMIT_A_ASK_SOURCE:
		ask_source(m);
		break;
	default:
		answer(m, action, c);
	}
}

bool in_event(struct migration_in *m, enum commit_event e, struct call *c)
{
	const struct commit_rule *r = commit_find(&commit_destination, m->core, e);

	if (!r || m->over)
		return false;
	m->core = r->next;
	m->refs++;
	for (int i = 0; i < COMMIT_ACTIONS_MAX && r->actions[i]; i++)
		act(m, r->actions[i], c);
	if (m->core == COMMIT_D_NONE)
		in_free(m);
	in_unref(m);
	return true;
}

/* --- requests --- */

/* The same for one that nothing is known of. */
static void unknown(struct call *c, enum commit_event e)
{
	const struct commit_rule *r = commit_find(&commit_destination, COMMIT_D_NONE, e);

	for (int i = 0; i < COMMIT_ACTIONS_MAX && r->actions[i]; i++)
		answer(NULL, r->actions[i], c);
}

static void request(struct procd *p, struct call *c, const char *id, enum commit_event e)
{
	struct migration_in *m;

	if (!in_find_for(p, c, id, &m))
		return;
	if (!m) {
		unknown(c, e);
		return;
	}
	m->heard_us = now_us();
	m->why_code = -ECANCELED;
	m->why = "the source gave it up";
	if (!in_event(m, e, c))
		call_ok(c); /* late: it means nothing any more */
}

void migrate_in_commit(struct procd *p, struct call *c)
{
	struct migration_in *m = in_find(p, c->request->commit->migration);

	/* Before BEGIN is answered there is nothing to commit. */
	if (m && m->core == COMMIT_D_PREPARING && m->progress < IN_BEGUN && !strcmp(m->source, c->host))
		unknown(c, COMMIT_E_COMMIT);
	else
		request(p, c, c->request->commit->migration, COMMIT_E_COMMIT);
}

void migrate_in_abort(struct procd *p, struct call *c)
{
	request(p, c, c->request->abort->migration, COMMIT_E_ABORT);
}

void migrate_in_forget(struct procd *p, struct call *c)
{
	request(p, c, c->request->forget->migration, COMMIT_E_FORGET);
}
