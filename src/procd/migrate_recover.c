/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After procd's restart, and what process servers tell each other about outcomes. The jobs are found first (their
 * directories), then each one's shepherd tells its state, and the journal says in which state of commit.c it is:
 *
 *   here, no record         OPEN: whatever the earlier procd was doing is undone: shepherd resumes, thaw, serve
 *   COMMITTED               the destination's copy is the job: repeat COMMIT, answer BUSY until it is acknowledged
 *   COMMITTED, no copy      EMPTY: the same, without the BUSY
 *   arriving, no READY      PREPARING: nothing complete: throw it away
 *   arriving, READY         complete and frozen: ask the source, wait for its COMMIT
 *   arriving, THAWED        it runs here (the thaw itself may be missing: repeat it)
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "procd/herd.h"
#include "procd/jobs.h"
#include "procd/migration.h"
#include "procd/ops.h"
#include "procd/rpc.h"

/* An old mover undoes what it did within milliseconds, if it is healthy. */
#define LET_GO_WITHIN_US 3000000u
#define LOOK_AGAIN_MS 10u

#define KIND(x) GODWIT__JOURNAL__RECORD__KIND__##x

/* --- asked by others --- */

void migrate_hello(struct procd *p, struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__HelloReply h = GODWIT__PROCD__HELLO_REPLY__INIT;
	struct err e = { 0 };

	h.host = p->settings.name;
	h.boot = p->boot;
	h.address = p->settings.address;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_HELLO;
	r.hello = &h;
	if (migrate_clocks(&h.monotonic_ns, &h.boottime_ns, &e) < 0)
		call_fail(c, &e);
	else
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

void migrate_say(struct call *c, enum commit_action action)
{
	static const Godwit__Procd__Verdict__What words[COMMIT_A_N] = {
		[COMMIT_A_SAY_ABORTED] = GODWIT__PROCD__VERDICT__WHAT__ABORTED,
		[COMMIT_A_SAY_COMMITTED] = GODWIT__PROCD__VERDICT__WHAT__COMMITTED,
		[COMMIT_A_SAY_UNDECIDED] = GODWIT__PROCD__VERDICT__WHAT__UNDECIDED,
		[COMMIT_A_SAY_RUNNING] = GODWIT__PROCD__VERDICT__WHAT__RUNNING,
		[COMMIT_A_SAY_NEVER_RAN] = GODWIT__PROCD__VERDICT__WHAT__NEVER_RAN,
		[COMMIT_A_SAY_UNKNOWN] = GODWIT__PROCD__VERDICT__WHAT__UNKNOWN,
	};
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Verdict v = GODWIT__PROCD__VERDICT__INIT;

	v.what = words[action];
	r.result_case = GODWIT__PROCD__REPLY__RESULT_VERDICT;
	r.verdict = &v;
	call_reply(c, &r);
}

/* What is said to a QUERY in that state. */
static void say(struct call *c, const struct commit_rules *rules, unsigned state)
{
	const struct commit_rule *r = commit_find(rules, state, COMMIT_E_QUERY);

	migrate_say(c, r ? r->actions[0] : COMMIT_A_SAY_UNDECIDED);
}

void migrate_query(struct procd *p, struct call *c)
{
	const Godwit__Procd__Query *q = c->request->query;
	const struct commit_rule *r;
	struct migration_in *in = in_find(p, q->migration);
	struct migration_out *out = find_out(p, q->migration);

	if ((in && strcmp(in->source, c->host)) || (!in && out && strcmp(out->destination, c->host))) {
		call_refuse(c, -EPERM, "that is a matter of other hosts");
		return;
	}
	if (in) {
		in->heard_us = now_us();
		(void)in_event(in, COMMIT_E_QUERY, c);
	} else if (out) {
		say(c, &commit_source, out->core);
	} else if (was_decided(p, q->migration)) {
		say(c, &commit_source, COMMIT_S_COMMITTED); /* recovery has not come to that job yet */
	} else if (restart_is_going_on(p, q->migration)) {
		say(c, &commit_source, COMMIT_S_OPEN);
	} else if (!*q->boot) {
		say(c, &commit_source, COMMIT_S_NONE); /* we are the source */
	} else {
		r = commit_find(&commit_destination, COMMIT_D_NONE,
				strcmp(q->boot, p->boot) ? COMMIT_E_QUERY_OTHER : COMMIT_E_QUERY);
		migrate_say(c, r->actions[0]);
	}
}

static int by_a_person(struct job *j, bool here)
{
	enum commit_event e = here ? COMMIT_E_PERSON_HERE : COMMIT_E_PERSON_THERE;

	log_warn("job %s: a person decides that it is %s", j->name, here ? "here" : "not here");
	if (j->out)
		return out_event(j->out, e, NULL) ? 0 : -EINVAL;
	j->in->why_code = -ECANCELED;
	j->in->why = "a person decided so";
	return in_event(j->in, e, NULL) ? 0 : -EINVAL;
}

void migrate_outcome(struct procd *p, struct call *c)
{
	const Godwit__Procd__Outcome *q = c->request->outcome;
	struct job *j = jobs_by_name(p, q->job);

	if (!j || !jobs_is_allowed(j, c)) {
		call_refuse(c, j ? -EPERM : -ESRCH, "no such job here, or not yours");
	} else if (!migrate_is_in_doubt(j)) {
		call_refuse(c, -EINVAL, "job %s is not in doubt", j->name);
	} else if (by_a_person(j, q->here) < 0) {
		call_refuse(c, -EINVAL, "job %s: that is decided already", q->job);
	} else {
		call_ok(c);
	}
}

/* --- after a restart --- */

/* The same name may come back later, and then it is another copy: of a higher incarnation than the record gave
 * away. */
static bool is_about(const Godwit__Journal__Record *r, const struct job *j)
{
	return r->kind == KIND(COMMITTED) && r->commit && !strcmp(r->job, j->name) &&
	       j->incarnation < r->incarnation;
}

static const Godwit__Journal__Record *record_of_leaving(const struct job *j)
{
	for (size_t i = 0; i < j->p->journal.n_records; i++)
		if (is_about(j->p->journal.records[i], j))
			return j->p->journal.records[i];
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
	j->in->core = !r ? COMMIT_D_PREPARING : r->kind == KIND(THAWED) ? COMMIT_D_THAWED : COMMIT_D_READY;
	j->in->let_go = r != NULL;
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

/* `j`: our frozen copy; NULL if it is gone: an earlier life of ours has deleted it, or somebody has killed it. */
static void resume_commit(struct procd *p, struct job *j, const Godwit__Journal__Record *r)
{
	struct migration_out *m = out_new(p, j, r->job, r->migration);

	(void)snprintf(m->destination, sizeof m->destination, "%s", r->peer);
	(void)snprintf(m->boot, sizeof m->boot, "%s", r->boot);
	(void)snprintf(m->strategy, sizeof m->strategy, "eager");
	take_commit(m, r->commit);
	out_recall_conns(m);
	out_hold_conns(m, true);
	m->at_us = r->commit->at_us;
	m->core = j ? COMMIT_S_COMMITTED : COMMIT_S_EMPTY;
	m->stage = STAGE_COMMIT;
	m->stage_started_us = now_us();
	log_info("job %s: its move to %s was decided; asking whether it arrived", m->name, m->destination);
	if (j) {
		j->state = JOB_LEAVING;
		j->recovering = false; /* what was asked meanwhile waits for the outcome */
		migrate_busy_again(j);
	}
	(void)out_event(m, COMMIT_E_RESTARTED, NULL);
}

static void recovered(struct job *j)
{
	j->recovering = false;
	jobs_release(j);
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
	recovered(j);
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

/*
 * --- an earlier life's mover ---
 *
 * It finds out that its procd is gone, undoes and ends; but not at once, and what it was told before it still
 * does:
 *
 *   1. the old procd tells the mover to freeze the job's cgroup, and dies
 *   2. we find the job, have no record of a departure, and thaw it
 *   3. the mover freezes the cgroup, lets go of the threads, and ends: the job stands still for ever
 *
 * Whoever freezes traces the threads until it has done it. So: first nobody traces them, then thaw.
 */

/* A process that traces a thread of the job; 0: there is none. */
static pid_t tracer_of(const struct job *j)
{
	_cleanup_free_ char *threads = NULL;
	char path[PATH_MAX], cgroup[512], *next, *line;

	container_job_cgroup(&j->container, &j->p->cgroups, cgroup, sizeof cgroup);
	(void)snprintf(path, sizeof path, "%s/cgroup.threads", cgroup);
	if (fd_slurp(AT_FDCWD, path, 4u << 20, &threads) < 0)
		return 0;
	next = threads;
	while ((line = strsep(&next, "\n"))) {
		_cleanup_free_ char *status = NULL;
		const char *at;

		if (!*line)
			continue;
		(void)snprintf(path, sizeof path, "/proc/%.20s/status", line);
		if (fd_slurp(AT_FDCWD, path, 64u << 10, &status) < 0)
			continue;
		at = strstr(status, "\nTracerPid:");
		if (at && strtol(at + 11, NULL, 10) > 0)
			return (pid_t)strtol(at + 11, NULL, 10);
	}
	return 0;
}

static bool is_mover(const struct job *j, pid_t pid)
{
	_cleanup_free_ char *ours = xasprintf("%s/mover", j->p->programs);
	char path[32], exe[PATH_MAX];
	ssize_t n;

	(void)snprintf(path, sizeof path, "/proc/%d/exe", pid);
	n = readlink(path, exe, sizeof exe - 1);
	/* "(deleted)" may follow, after an upgrade. */
	return n > 0 && (size_t)n >= strlen(ours) && !memcmp(exe, ours, strlen(ours));
}

static void free_and_wake(struct job *j);

static void on_look_again(uv_timer_t *timer)
{
	free_and_wake(timer->data);
}

/* COMMIT_A_FREE, then COMMIT_A_WAKE. */
static void free_and_wake(struct job *j)
{
	pid_t tracer = j->state == JOB_ENDING ? 0 : tracer_of(j);

	if (j->state == JOB_ENDING)
		return;
	if (!tracer || !is_mover(j, tracer)) { /* anybody else's debugger freezes nothing */
		wake(j);
		return;
	}
	if (now_us() - j->found_us > LET_GO_WITHIN_US) {
		log_warn("job %s: an old mover does not go by itself", j->name);
		(void)kill(tracer, SIGKILL);
	}
	(void)uv_timer_start(&j->linger, on_look_again, LOOK_AGAIN_MS, 0);
}

static void recover_arrival(struct job *j, Godwit__Shepherd__State__Phase phase)
{
	struct migration_in *m = j->in;
	struct err e = { 0 };

	m->why_code = -EIO;
	m->why = "procd was restarted before it was complete";
	if (m->core == COMMIT_D_READY && phase == GODWIT__SHEPHERD__STATE__PHASE__EXITED) {
		m->why = "its process was killed before it ran";
		(void)in_event(m, COMMIT_E_FAILED, NULL);
		return;
	}
	if (m->core == COMMIT_D_READY)
		log_info("job %s: complete here; waiting for the word of %s", j->name, m->source);
	(void)in_event(m, COMMIT_E_RESTARTED, NULL);
	if (j->state == JOB_RUNNING && jobs_save(j, &e) < 0)
		log_error("job %s: %s", j->name, err_text(&e));
}

void migrate_recover_job(struct job *j, const Godwit__Shepherd__State *s)
{
	const Godwit__Journal__Record *r = record_of_leaving(j);

	if (r) {
		resume_commit(j->p, j, r);
	} else if (j->in) {
		recover_arrival(j, s->phase);
		if (s->exited && j->state == JOB_RUNNING)
			jobs_exited(j, s->exited);
	} else if (s->phase == GODWIT__SHEPHERD__STATE__PHASE__EXITED && s->exited) {
		j->state = JOB_RUNNING;
		rpc_serve_job(j);
		jobs_exited(j, s->exited);
		recovered(j);
	} else if (s->phase == GODWIT__SHEPHERD__STATE__PHASE__RUNNING ||
		   s->phase == GODWIT__SHEPHERD__STATE__PHASE__QUIET) {
		free_and_wake(j);
	} else {
		jobs_end(j, NULL, NULL);
	}
}

void migrate_recover_freed(struct job *j)
{
	const Godwit__Journal__Record *r = record_of_leaving(j);

	if (r && !find_out(j->p, r->migration))
		resume_commit(j->p, NULL, r);
}

static bool has_copy(const struct procd *p, const Godwit__Journal__Record *r)
{
	const struct job *j = jobs_by_name((struct procd *)(uintptr_t)p, r->job);

	return j && is_about(r, j);
}

/* Arrivals whose job has ended meanwhile, but whose source may still ask; departures whose copy here is gone, but
 * whose destination may still wait for COMMIT. A frozen arrival that vanished (killed by hand) cannot come back.
 */
void migrate_recover_rest(struct procd *p)
{
	for (size_t i = 0; i < p->journal.n_records; i++) {
		const Godwit__Journal__Record *r = p->journal.records[i];
		struct migration_in *m;

		if (r->kind == KIND(THAWED) && !in_find(p, r->migration)) {
			m = in_new(p, r->migration, r->job, r->peer);
			m->core = COMMIT_D_THAWED;
			in_start_pulse(m);
		} else if (r->kind == KIND(COMMITTED) && r->commit && !has_copy(p, r)) {
			resume_commit(p, NULL, r);
		} else if (r->kind == KIND(READY) && !in_find(p, r->migration)) {
			(void)migrate_note(p, KIND(FORGOTTEN), r->migration, r->job);
		}
	}
}
