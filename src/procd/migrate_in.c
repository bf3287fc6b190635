/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The destination. Requests of the source's procd drive it; a pulse asks the source when it has been silent. What
 * the rules of commit.c say is done here (migrate_in_commit.c). The order of a commit: streams into the shepherd
 * and the address into flipd (side by side), late signals, journal THAWED, thaw.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "lib/frame.h"
#include "procd/herd.h"
#include "procd/jobs.h"
#include "procd/migration.h"
#include "procd/policy.h"
#include "procd/rpc.h"

#define PULSE_MS 500u
#define SILENCE_MAX_US 2000000u	   /* of the source, then it is asked */
#define GIVE_UP_AFTER_US 30000000u /* of silence, while nothing is complete */
#define REMIND_US 60000000u	   /* of silence about an outcome that the source should have let us forget */
#define DOUBT_AFTER_US 10000000u   /* of silence about what is complete: a person may decide */

/* --- life --- */

struct migration_in *in_find(struct procd *p, const char *id)
{
	for (struct migration_in *m = p->incoming; m; m = m->next)
		if (!m->over && !strcmp(m->id, id))
			return m;
	return NULL;
}

bool in_find_for(struct procd *p, struct call *c, const char *id, struct migration_in **ret)
{
	*ret = in_find(p, id);
	if (!*ret || !strcmp((*ret)->source, c->host))
		return true;
	call_refuse(c, -EPERM, "that is a matter of other hosts");
	return false;
}

void in_unref(struct migration_in *m)
{
	if (--m->refs)
		return;
	if (m->ends)
		godwit__shepherd__blanked__free_unpacked(m->ends, NULL);
	free(m);
}

static void on_pulse_closed(uv_handle_t *handle)
{
	in_unref(handle->data);
}

static void close_fds(struct migration_in *m)
{
	for (size_t i = 0; i < m->n_fds; i++)
		fd_close(&m->fds[i]);
	m->n_fds = 0;
}

struct migration_in *in_new(struct procd *p, const char *id, const char *name, const char *source)
{
	struct migration_in *m = xcalloc(1, sizeof *m);

	m->p = p;
	m->refs = 2; /* the table and the timer */
	(void)snprintf(m->id, sizeof m->id, "%s", id);
	(void)snprintf(m->name, sizeof m->name, "%s", name);
	(void)snprintf(m->source, sizeof m->source, "%s", source);
	(void)uv_timer_init(p->loop, &m->pulse);
	m->pulse.data = m;
	m->heard_us = now_us();
	m->next = p->incoming;
	p->incoming = m;
	return m;
}

void in_free(struct migration_in *m)
{
	if (m->over)
		return;
	m->over = true;
	for (struct migration_in **at = &m->p->incoming; *at; at = &(*at)->next) {
		if (*at != m)
			continue;
		*at = m->next;
		break;
	}
	if (m->job)
		m->job->in = NULL;
	m->job = NULL;
	mover_end(m->mover);
	m->mover = NULL;
	close_fds(m);
	uv_close((uv_handle_t *)&m->pulse, on_pulse_closed);
	in_unref(m);
}

void in_discard(struct migration_in *m, int code, const char *why)
{
	m->why_code = code;
	m->why = why;
	m->refs++;
	(void)in_event(m, COMMIT_E_FAILED, NULL);
	m->why = NULL;
	in_unref(m);
}

void migrate_describe_arrival(const struct job *j, Godwit__Journal__JobFile *f)
{
	if (j->in->core >= COMMIT_D_THAWED)
		return;
	f->migration = j->in->id;
	f->source = j->in->source;
}

void migrate_job_lost(struct job *j, bool gone)
{
	struct migration_out *out = j->out;

	if (out) {
		if (gone) {
			j->out = NULL;
			out->job = NULL;
		}
		if (gone && out->core == COMMIT_S_COMMITTED)
			(void)out_event(out, COMMIT_E_GONE, NULL);
		else
			out_fail(out, -ESRCH, "the job has ended");
	}
	if (j->in && j->state == JOB_ARRIVING) {
		if (gone) {
			j->in->job = NULL;
			in_discard(j->in, -EIO, "its container broke down");
			j->in = NULL;
		} else {
			in_discard(j->in, -EIO, "its process was killed before it ran");
		}
	} else if (j->in && gone) {
		j->in->job = NULL; /* the outcome is still to be remembered */
		j->in = NULL;
	}
}

void migrate_job_freed(struct job *j)
{
	if (j->out)
		j->out->job = NULL;
	if (j->in)
		j->in->job = NULL;
	j->out = NULL;
	j->in = NULL;
	migrate_recover_freed(j);
}

/* --- begin --- */

static void refuse_with(struct migration_in *m, const char *object, const char *reason, const char *help)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Mover__Problem x = GODWIT__MOVER__PROBLEM__INIT, *list = &x;

	x.fd = -1;
	x.object = (char *)(uintptr_t)object;
	x.reason = (char *)(uintptr_t)reason;
	x.help = (char *)(uintptr_t)help;
	r.problems = &list;
	r.n_problems = 1;
	call_reply(m->begin, &r);
	m->begin = NULL;
	in_discard(m, -ENOTSUP, reason);
}

static void answer_begun(struct migration_in *m)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Begun b = GODWIT__PROCD__BEGUN__INIT;

	b.address = m->p->settings.address;
	b.port = m->port;
	b.boot = m->p->boot;
	b.sealed = m->sealed;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_BEGUN;
	r.begun = &b;
	m->progress = IN_BEGUN;
	migrate_die_at("prepare", "destination");
	m->heard_us = now_us();
	call_reply(m->begin, &r);
	m->begin = NULL;
	m->asked = NULL;
}

/* Mover listens, blank waits: bring them together, and tell the source where to come. */
static void begin_went_on(struct migration_in *m)
{
	Godwit__Mover__Restore q = GODWIT__MOVER__RESTORE__INIT;
	char cgroup[512];
	int r;

	if (!m->blanked || !m->listening)
		return;
	container_job_cgroup(&m->job->container, &m->p->cgroups, cgroup, sizeof cgroup);
	q.shepherd = m->job->container.shepherd;
	q.blank = m->job->pid;
	q.streams = m->ends->streams;
	q.n_streams = m->ends->n_streams;
	q.cgroup = cgroup;
	q.agent_socket = m->ends->agent_socket;
	q.flip_socket = m->talks ? (char *)(uintptr_t)frame_socket_path() : q.flip_socket;
	r = mover_say(m->mover, MOVER_KIND(RESTORE), &q, m->fds, m->n_fds);
	close_fds(m);
	if (r < 0)
		in_discard(m, r, "cannot talk to the mover");
	else
		answer_begun(m);
}

static void on_blanked(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	struct migration_in *m = arg;
	Godwit__Shepherd__Blanked *b;
	_cleanup_free_ uint8_t *bytes = NULL;
	struct err e = { 0 };
	size_t len;
	int known;

	if (m->over)
		goto out;
	if (!r || r->result_case != GODWIT__SHEPHERD__REPLY__RESULT_BLANKED || n_fds < 2 ||
	    n_fds - 1 > ARRAY_LEN(m->fds)) {
		in_discard(m, r && r->code ? r->code : -EIO,
			   r ? r->text : "the shepherd died (procd's log may say why)");
		goto out;
	}
	b = r->blanked;
	len = godwit__shepherd__blanked__get_packed_size(b);
	bytes = xmalloc(len);
	(void)godwit__shepherd__blanked__pack(b, bytes);
	m->ends = godwit__shepherd__blanked__unpack(NULL, len, bytes);
	known = jobs_set_leader(m->job, steal_fd(&fds[0]));
	if (known < 0) {
		(void)err_code(&e, known, "cannot learn the pid of the blank process");
		in_discard(m, known, err_text(&e));
		goto out;
	}
	for (size_t i = 1; i < n_fds; i++)
		m->fds[m->n_fds++] = steal_fd(&fds[i]);
	m->blanked = true;
	begin_went_on(m);
out:
	in_unref(m);
}

static int ask_blank(struct migration_in *m, const Godwit__Procd__Begin *b)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Blank blank = GODWIT__SHEPHERD__BLANK__INIT;
	int r;

	blank.pid = b->job->leader;
	blank.streams = b->streams;
	blank.n_streams = b->n_streams;
	blank.monotonic_offset_ns = b->job->monotonic_offset_ns;
	blank.boottime_offset_ns = b->job->boottime_offset_ns;
	blank.uid = b->job->uid;
	blank.gid = b->job->gid;
	blank.log_bytes = b->job->log_bytes;
	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_BLANK;
	q.blank = &blank;
	r = herd_ask(m->job->herd, &q, -1, on_blanked, m);
	if (!r)
		m->refs++;
	return r;
}

static void prepare(struct migration_in *m)
{
	const Godwit__Procd__Begin *b = m->asked;
	Godwit__Mover__Listen listen = GODWIT__MOVER__LISTEN__INIT;
	struct err e = { 0 };

	m->progress = IN_PREPARING;
	if (jobs_new(m->p, jobs_copy_spec(b->job), JOB_ARRIVING, &m->job, &e) < 0) {
		m->job = NULL;
		in_discard(m, e.code, err_text(&e));
		return;
	}
	m->job->in = m;
	m->job->incarnation = b->incarnation;
	listen.address = m->p->settings.address;
	listen.key = b->key;
	listen.sealed = m->sealed;
	if (jobs_save(m->job, &e) < 0)
		in_discard(m, e.code, err_text(&e));
	else if (mover_say(m->mover, MOVER_KIND(LISTEN), &listen, NULL, 0) < 0 || ask_blank(m, b) < 0)
		in_discard(m, -EIO, "cannot talk to the mover or the shepherd");
}

static void on_checked(struct migration_in *m, const Godwit__Mover__Checked *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Begun b = GODWIT__PROCD__BEGUN__INIT;

	if (m->progress != IN_CHECKING || !m->begin)
		return;
	if (!c->n_problems && !m->asked->check_only) {
		migrate_die_at("check", "destination");
		prepare(m);
		return;
	}
	r.problems = c->problems;
	r.n_problems = c->n_problems;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_BEGUN;
	r.begun = &b;
	call_reply(m->begin, &r);
	m->begin = NULL;
	in_discard(m, -ENOTSUP, c->n_problems ? c->problems[0]->reason : "it was only asked whether it could");
}

static void on_ready(struct migration_in *m)
{
	struct call *early;

	if (m->progress != IN_BEGUN || !in_event(m, COMMIT_E_COMPLETE, NULL) || m->core != COMMIT_D_READY)
		return;
	migrate_die_at("ready", "destination");
	early = m->commit;
	m->commit = NULL;
	if (early)
		migrate_in_commit(m->p, early);
}

static void on_message(void *arg, const mover_message *msg)
{
	struct migration_in *m = arg;

	switch (msg->kind_case) {
	case MOVER_KIND(CHECKED):
		on_checked(m, msg->checked);
		break;
	case MOVER_KIND(LISTENING):
		if (m->progress != IN_PREPARING)
			break;
		m->port = msg->listening->port;
		m->listening = true;
		begin_went_on(m);
		break;
	case MOVER_KIND(READY):
		on_ready(m);
		break;
	case MOVER_KIND(FAILED):
		in_discard(m, msg->failed->code ? msg->failed->code : -EIO, msg->failed->text);
		break;
	default:
		break;
	}
}

static void on_mover_gone(void *arg)
{
	struct migration_in *m = arg;

	mover_end(m->mover);
	m->mover = NULL;
	if (m->core == COMMIT_D_PREPARING)
		in_discard(m, -EIO, "the destination's mover died");
}

static const struct mover_ops mover_ops = { .message = on_message, .gone = on_mover_gone };

static const char *why_not(const struct call *c, const Godwit__Procd__Begin *b)
{
	const struct migration_in *known = in_find(c->p, b->migration);

	if (!b->job || !name_is_valid(b->job->name) || !migration_id_is_valid(b->migration) ||
	    b->key.len != MIGRATION_KEY_LEN || b->n_streams > STREAMS_MAX || b->job->n_groups > 256)
		return "the request is damaged";
	if (strcmp(b->source, c->host) || (known && strcmp(known->source, c->host)))
		return "it is not the source that it says (its name here is that of the hosts file)";
	return NULL;
}

/* What has come of that job from that source, and has not been committed. */
static struct migration_in *unfinished(struct procd *p, const Godwit__Procd__Begin *b)
{
	const struct job *j = jobs_by_name(p, b->job->name);
	struct migration_in *m = j ? j->in : NULL;

	return m && !strcmp(m->source, b->source) && strcmp(m->id, b->migration) != 0 &&
			       (m->core == COMMIT_D_PREPARING || m->core == COMMIT_D_READY)
		       ? m
		       : NULL;
}

/*
 * A source has one move of a job at a time: an earlier one of which nothing was decided is over, and only has not
 * been heard to be. One that was complete here may have been decided, though: the source knows. True: the request
 * waits for what it says.
 */
static bool clear_name(struct procd *p, struct call *c)
{
	struct migration_in *old = unfinished(p, c->request->begin);

	if (!old || c->request->begin->check_only)
		return false;
	if (old->core == COMMIT_D_PREPARING) {
		in_discard(old, -ECANCELED, "its source has begun anew");
		return false;
	}
	if (old->successor || !in_ask(old))
		return false;
	old->successor = c;
	return true;
}

void migrate_in_begin(struct procd *p, struct call *c)
{
	Godwit__Mover__CheckDestination q = GODWIT__MOVER__CHECK_DESTINATION__INIT;
	Godwit__Mover__Confined confined = GODWIT__MOVER__CONFINED__INIT;
	Godwit__Procd__Begin *b = c->request->begin;
	const char *refused = why_not(c, b), *help;
	struct migration_in *m;
	struct err e = { 0 };

	if (refused) {
		call_refuse(c, -EPERM, "%s", refused);
		return;
	}
	if (clear_name(p, c))
		return;
	m = in_new(p, b->migration, b->job->name, b->source);
	m->progress = IN_CHECKING;
	(void)in_event(m, COMMIT_E_BEGIN, c); /* PREPARE is what follows */
	m->begin = c;
	m->asked = b;
	m->talks = b->talks;
	m->sealed = b->sealed || !settings_trusts(&p->settings, b->address);
	refused = policy_refuses(&p->settings, c->host, b->job, &help);
	if (refused) {
		refuse_with(m, "policy", refused, help);
		return;
	}
	if (!b->check_only && jobs_by_name(p, b->job->name)) {
		refuse_with(m, "its name", "there is a job of that name",
			    "remove it: godwit kill, or wait until it is forgotten");
		return;
	}
	if (mover_start(p, "destination", &mover_ops, m, &m->mover, &e) < 0) {
		in_discard(m, e.code, err_text(&e));
		return;
	}
	q.migration = m->id;
	q.job = m->name;
	q.requirements = b->requirements;
	q.carry = b->job->carry || b->carry;
	q.scratch = p->settings.run_dir;
	confined.uid = b->job->uid;
	confined.gid = b->job->gid;
	confined.groups = b->job->groups;
	confined.n_groups = b->job->n_groups;
	if (b->confined || !policy_trusts(&p->settings, c->host))
		q.confined = &confined;
	if (mover_say(m->mover, MOVER_KIND(CHECK_DESTINATION), &q, NULL, 0) < 0)
		in_discard(m, -EIO, "cannot talk to the mover");
	else
		in_start_pulse(m);
}

/* --- spool --- */

static void on_spooled(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	struct call *c = arg;

	(void)fds;
	(void)n_fds;
	if (!r)
		call_refuse(c, -EIO, "the shepherd is gone");
	else if (r->code)
		call_refuse(c, r->code, "%s", r->text);
	else
		call_ok(c);
}

void migrate_in_spool(struct procd *p, struct call *c)
{
	struct migration_in *m;
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__SpoolWrite w = GODWIT__SHEPHERD__SPOOL_WRITE__INIT;

	if (!in_find_for(p, c, c->request->spool->migration, &m))
		return;
	if (!m || !m->job || m->progress < IN_PREPARING || m->core > COMMIT_D_READY) {
		call_refuse(c, -ENOENT, "no such migration");
		return;
	}
	m->heard_us = now_us();
	w.stream = c->request->spool->stream;
	w.offset = c->request->spool->offset;
	w.bytes = c->request->spool->bytes;
	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_SPOOL_WRITE;
	q.spool_write = &w;
	if (herd_ask(m->job->herd, &q, -1, on_spooled, c) < 0)
		call_refuse(c, -EIO, "the shepherd is gone");
}

/* --- the source is silent --- */

static void on_pulse(uv_timer_t *timer)
{
	struct migration_in *m = timer->data;
	uint64_t silent = now_us() - m->heard_us;

	/* A THAWED that was forgotten without the source's word would be NEVER_RAN to a source that comes back. */
	if (m->core == COMMIT_D_THAWED) {
		if (silent > REMIND_US && !m->asking) {
			m->heard_us = now_us();
			(void)in_event(m, COMMIT_E_TIME, NULL);
		}
		return;
	}
	m->why_code = -EHOSTUNREACH;
	m->why = "nothing is heard from the source any more";
	if (silent > GIVE_UP_AFTER_US && in_event(m, COMMIT_E_LONG, NULL))
		return;
	if (silent > SILENCE_MAX_US && !m->asking)
		(void)in_event(m, COMMIT_E_TIME, NULL);
}

void in_start_pulse(struct migration_in *m)
{
	(void)uv_timer_start(&m->pulse, on_pulse, PULSE_MS, PULSE_MS);
}

bool in_is_in_doubt(const struct migration_in *m)
{
	return m->core == COMMIT_D_READY && now_us() - m->heard_us > DOUBT_AFTER_US;
}
