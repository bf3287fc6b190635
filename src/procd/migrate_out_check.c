/* SPDX-License-Identifier: Apache-2.0 */
/* Stages check and prepare at the source: the job runs and notices nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "lib/frame.h"
#include "procd/herd.h"
#include "procd/jobs.h"
#include "procd/migration.h"
#include "procd/rpc.h"

#define HELLO_LOCATE_MS 3000u
#define HELLO_RTT_GOOD_US 2000u
#define HELLO_TRIES 3u
#define SPOOL_PIECE (128u * 1024u)

/* --- check --- */

static void greet(struct migration_out *m);

static void ask_begin(struct migration_out *m);

/* Both the own mover and the other host have answered. */
static void check_went_on(struct migration_out *m)
{
	if (m->failing || m->over || !m->checked || !m->greeted)
		return;
	if (!*m->destination)
		out_stage_done(m, STAGE_CHECK);
	else if (m->check_only)
		ask_begin(m);
	else
		out_stage_done(m, STAGE_CHECK);
}

static void keep_checked(struct migration_out *m, const Godwit__Mover__Checked *c)
{
	m->bytes = c->bytes;
	m->progress_total = c->bytes;
	free(m->requirements.data);
	m->requirements.data = xmalloc(c->requirements.len);
	m->requirements.len = c->requirements.len;
	if (c->requirements.len)
		memcpy(m->requirements.data, c->requirements.data, c->requirements.len);
}

static void keep_problems(struct migration_out *m, Godwit__Mover__Problem **list, size_t n)
{
	Godwit__Mover__Checked c = GODWIT__MOVER__CHECKED__INIT;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;

	c.problems = list;
	c.n_problems = n;
	len = godwit__mover__checked__get_packed_size(&c);
	bytes = xmalloc(len);
	(void)godwit__mover__checked__pack(&c, bytes);
	if (m->problems)
		godwit__mover__checked__free_unpacked(m->problems, NULL);
	m->problems = godwit__mover__checked__unpack(NULL, len, bytes);
}

static void on_checked(struct migration_out *m, const Godwit__Mover__Checked *c)
{
	if (m->stage != STAGE_CHECK || m->checked)
		return;
	if (c->n_problems) {
		keep_problems(m, c->problems, c->n_problems);
		out_fail(m, -ENOTSUP, "it cannot move: %s: %s", c->problems[0]->object, c->problems[0]->reason);
		return;
	}
	keep_checked(m, c);
	m->checked = true;
	check_went_on(m);
}

static void on_state(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	struct migration_out *m = arg;
	Godwit__Mover__CheckSource q = GODWIT__MOVER__CHECK_SOURCE__INIT;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;

	(void)fds;
	(void)n_fds;
	if (m->over || m->failing)
		goto out;
	if (!r || r->result_case != GODWIT__SHEPHERD__REPLY__RESULT_STATE ||
	    r->state->phase != GODWIT__SHEPHERD__STATE__PHASE__RUNNING) {
		out_fail(m, -ESRCH, "the job does not run");
		goto out;
	}
	len = godwit__shepherd__state__get_packed_size(r->state);
	bytes = xmalloc(len);
	(void)godwit__shepherd__state__pack(r->state, bytes);
	m->state = godwit__shepherd__state__unpack(NULL, len, bytes);
	q.migration = m->id;
	q.job = m->job->name;
	q.leader = m->job->pid;
	q.streams = m->state->streams;
	q.n_streams = m->state->n_streams;
	q.carry = m->carry;
	q.adopted = m->job->spec->adopted;
	q.flip_socket = (char *)(uintptr_t)frame_socket_path();
	if (mover_say(m->mover, MOVER_KIND(CHECK_SOURCE), &q, NULL, 0) < 0)
		out_fail(m, -EIO, "cannot talk to the mover");
out:
	out_unref(m);
}

/* The job's clock offsets against the initial time namespace, as its kernel has them. */
static int job_offsets(const struct job *j, int64_t *mono, int64_t *boot, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	long long ms = 0, mn = 0, bs = 0, bn = 0;
	char path[64];
	ssize_t n;

	(void)snprintf(path, sizeof path, "/proc/%d/timens_offsets", j->pid);
	n = fd_slurp(AT_FDCWD, path, 4096, &text);
	if (n < 0 && n != -ENOENT)
		return err_code(e, (int)n, "cannot read the job's clock offsets");
	if (n > 0)
		(void)sscanf(text, "monotonic %lld %lld boottime %lld %lld", &ms, &mn, &bs, &bn);
	*mono = ms * 1000000000 + mn;
	*boot = bs * 1000000000 + bn;
	return 0;
}

/*
 * The job's clocks must go on at the destination and never step back. The destination reads its clocks at some
 * moment between our sending and hearing; taking it for the moment of hearing makes the job's clocks there ahead
 * by at most the round trip. So a quick round trip is worth a second try.
 */
static int set_clocks(struct migration_out *m, const Godwit__Procd__HelloReply *h, uint64_t rtt_us, struct err *e)
{
	int64_t mono, boot, mono_offset = 0, boot_offset = 0;

	if (m->best_rtt_us && rtt_us >= m->best_rtt_us)
		return 0;
	if (migrate_clocks(&mono, &boot, e) < 0 || job_offsets(m->job, &mono_offset, &boot_offset, e) < 0)
		return e->code;
	m->best_rtt_us = rtt_us;
	m->monotonic_offset_ns = mono + mono_offset - h->monotonic_ns;
	m->boottime_offset_ns = boot + boot_offset - h->boottime_ns;
	return 0;
}

static void on_hello(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct migration_out *m = arg;
	uint64_t rtt_us = now_us() - m->hello_sent_us;
	struct err e = { 0 };

	if (m->over || m->failing)
		goto out;
	if (!reply || reply->code || reply->result_case != GODWIT__PROCD__REPLY__RESULT_HELLO) {
		out_fail(m, status == GW_NOTFOUND ? -EHOSTUNREACH : -EIO, "%s does not answer: %s", m->destination,
			 reply ? reply->text : why);
		goto out;
	}
	if (set_clocks(m, reply->hello, rtt_us, &e) < 0) {
		out_fail(m, e.code, "%s", err_text(&e));
		goto out;
	}
	if (rtt_us > HELLO_RTT_GOOD_US && m->hellos < HELLO_TRIES) {
		greet(m);
		goto out;
	}
	(void)snprintf(m->boot, sizeof m->boot, "%s", reply->hello->boot);
	(void)snprintf(m->address, sizeof m->address, "%s", reply->hello->address);
	m->greeted = true;
	check_went_on(m);
out:
	out_unref(m);
}

static void greet(struct migration_out *m)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Hello hello = GODWIT__PROCD__HELLO__INIT;
	int r;

	q.op_case = GODWIT__PROCD__REQUEST__OP_HELLO;
	q.hello = &hello;
	m->hellos++;
	m->hello_sent_us = now_us();
	r = rpc_ask(m->p, "procd@", m->destination, &q, HELLO_LOCATE_MS, on_hello, m);
	if (r < 0)
		out_fail(m, r, "cannot ask %s: %s", m->destination, strerror(-r));
	else
		out_ref(m);
}

void out_check(struct migration_out *m)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__GetState get = GODWIT__SHEPHERD__GET_STATE__INIT;
	struct err e = { 0 };
	int r;

	r = mover_start(m->p, "source", &out_mover_ops, m, &m->mover, &e);
	if (r < 0) {
		out_fail(m, r, "%s", err_text(&e));
		return;
	}
	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_GET_STATE;
	q.get_state = &get;
	r = herd_ask(m->job->herd, &q, -1, on_state, m);
	if (r < 0) {
		out_fail(m, r, "cannot reach the job's shepherd");
		return;
	}
	out_ref(m);
	if (*m->destination)
		greet(m);
	else
		m->greeted = true;
}

bool out_undo_check(struct migration_out *m)
{
	mover_end(m->mover);
	m->mover = NULL;
	return true;
}

/* --- prepare --- */

static void prepare_went_on(struct migration_out *m)
{
	if (m->prepared && m->spooled)
		out_stage_done(m, STAGE_PREPARE);
}

void out_connect(struct migration_out *m, const char *address, uint32_t port, bool sealed)
{
	Godwit__Mover__Connect q = GODWIT__MOVER__CONNECT__INIT;

	m->sealed = sealed;
	q.address = (char *)(uintptr_t)address;
	q.port = port;
	q.key.data = m->key;
	q.key.len = sizeof m->key;
	q.sealed = sealed;
	q.strategy = m->strategy;
	if (mover_say(m->mover, MOVER_KIND(CONNECT), &q, NULL, 0) < 0) {
		out_fail(m, -EIO, "cannot talk to the mover");
		return;
	}
	for (size_t i = 0; i < m->state->n_states && !m->image; i++) {
		const Godwit__Procd__StreamState *s = m->state->states[i];

		if (s->stream == 0 || s->stream >= STREAMS_MAX)
			continue; /* unread input is known only after the stop */
		m->sent[s->stream] = s->start;
		m->want[s->stream] = s->end;
	}
	out_spool(m);
}

static void on_begun(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct migration_out *m = arg;

	(void)status;
	if (m->over || m->failing)
		goto out;
	m->begun = true;
	if (reply && reply->n_problems) {
		keep_problems(m, reply->problems, reply->n_problems);
		out_fail(m, -ENOTSUP, "%s does not take it: %s: %s", m->destination, reply->problems[0]->object,
			 reply->problems[0]->reason);
	} else if (!reply || reply->code) {
		out_fail(m, reply ? reply->code : -EIO, "%s: %s", m->destination, reply ? reply->text : why);
	} else if (m->check_only) {
		out_stage_done(m, STAGE_CHECK);
	} else if (reply->result_case != GODWIT__PROCD__REPLY__RESULT_BEGUN) {
		out_fail(m, -EPROTO, "%s answers nonsense", m->destination);
	} else {
		out_connect(m, reply->begun->address, reply->begun->port, reply->begun->sealed);
	}
out:
	out_unref(m);
}

void out_fill_begin(struct migration_out *m, Godwit__Procd__Begin *b, Godwit__Procd__JobSpec *spec)
{
	*spec = *m->job->spec;
	spec->adopted = 0; /* it will be its shepherd's child there */
	spec->monotonic_offset_ns = m->monotonic_offset_ns;
	spec->boottime_offset_ns = m->boottime_offset_ns;
	spec->moves++;
	b->migration = m->id;
	b->source = m->p->settings.name;
	b->address = m->p->settings.address;
	b->job = spec;
	b->requirements = m->requirements;
	b->streams = m->state->streams;
	b->n_streams = m->state->n_streams;
	b->strategy = m->strategy;
	b->check_only = m->check_only;
	b->carry = m->carry;
	b->bytes = m->bytes;
	b->incarnation = m->job->incarnation + 1;
}

static void ask_begin(struct migration_out *m)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Begin b = GODWIT__PROCD__BEGIN__INIT;
	Godwit__Procd__JobSpec spec;
	int r;

	out_fill_begin(m, &b, &spec);
	b.talks = 1;
	b.key.data = m->key;
	b.key.len = sizeof m->key;
	b.sealed = !settings_trusts(&m->p->settings, m->address);
	q.op_case = GODWIT__PROCD__REQUEST__OP_BEGIN;
	q.begin = &b;
	r = rpc_ask(m->p, "procd@", m->destination, &q, HELLO_LOCATE_MS, on_begun, m);
	if (r < 0)
		out_fail(m, r, "cannot ask %s: %s", m->destination, strerror(-r));
	else
		out_ref(m);
}

void out_prepare(struct migration_out *m)
{
	if (m->stun)
		stun_prepare(m);
	else if (m->image)
		image_out_prepare(m);
	else
		ask_begin(m);
}

static void on_aborted(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct migration_out *m = arg;

	(void)reply;
	(void)status;
	(void)why;
	out_unref(m);
}

/* If this gets lost the destination asks, and hears that there is no such migration. */
bool out_undo_prepare(struct migration_out *m)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Abort abort_request = GODWIT__PROCD__ABORT__INIT;

	if (m->image || m->stun)
		return true;
	abort_request.migration = m->id;
	q.op_case = GODWIT__PROCD__REQUEST__OP_ABORT;
	q.abort = &abort_request;
	if (rpc_ask(m->p, "procd@", m->destination, &q, HELLO_LOCATE_MS, on_aborted, m) == 0)
		out_ref(m);
	return true;
}

void out_check_message(struct migration_out *m, const mover_message *msg)
{
	if (msg->kind_case == MOVER_KIND(CHECKED)) {
		on_checked(m, msg->checked);
	} else if (m->stage == STAGE_PREPARE) {
		m->prepared = true;
		prepare_went_on(m);
	}
}

/* --- spools --- */

void out_spooled(struct migration_out *m)
{
	m->spooled = true;
	if (m->stage == STAGE_PREPARE)
		prepare_went_on(m);
	else
		out_move_message(m, NULL);
}

static void on_piece_taken(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct migration_out *m = arg;

	(void)status;
	m->spooling = false;
	if (!m->over && !m->failing) {
		if (!reply || reply->code)
			out_fail(m, reply ? reply->code : -EIO, "%s: the job's output: %s", m->destination,
				 reply ? reply->text : why);
		else
			out_spool(m);
	}
	out_unref(m);
}

static int send_piece(struct migration_out *m, unsigned stream, const Godwit__Procd__Data *d)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Spool s = GODWIT__PROCD__SPOOL__INIT;
	int r;

	s.migration = m->id;
	s.stream = stream;
	s.offset = d->offset;
	s.bytes = d->bytes;
	q.op_case = GODWIT__PROCD__REQUEST__OP_SPOOL;
	q.spool = &s;
	m->sent[stream] = d->offset + d->bytes.len;
	r = rpc_ask(m->p, "procd@", m->destination, &q, HELLO_LOCATE_MS, on_piece_taken, m);
	if (!r)
		out_ref(m);
	return r;
}

static unsigned next_stream(const struct migration_out *m)
{
	unsigned i = 0;

	while (i < STREAMS_MAX && m->sent[i] >= m->want[i])
		i++;
	return i;
}

/* Then comes the next. */
static int pass_piece(struct migration_out *m, const Godwit__Procd__Data *d)
{
	unsigned stream = next_stream(m);
	int r = m->image ? image_out_keep_piece(m, stream, d) : send_piece(m, stream, d);

	m->spooling = !r && !m->image;
	if (!r && m->image)
		out_spool(m);
	return r;
}

static void on_piece_read(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	struct migration_out *m = arg;
	int failed;

	(void)fds;
	(void)n_fds;
	if (m->over || m->failing) {
		m->spooling = false;
	} else if (!r || r->result_case != GODWIT__SHEPHERD__REPLY__RESULT_DATA || !r->data->bytes.len) {
		m->spooling = false;
		out_fail(m, -EIO, "the shepherd does not hand out the job's output");
	} else {
		failed = pass_piece(m, r->data);
		if (failed < 0)
			out_fail(m, failed, "cannot send the job's output");
	}
	out_unref(m);
}

void out_spool(struct migration_out *m)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__SpoolRead read = GODWIT__SHEPHERD__SPOOL_READ__INIT;
	unsigned i = next_stream(m);

	if (m->spooling)
		return;
	if (i == STREAMS_MAX) {
		out_spooled(m);
		return;
	}
	read.stream = i;
	read.offset = m->sent[i];
	read.max = (uint32_t)MIN(m->want[i] - m->sent[i], SPOOL_PIECE);
	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_SPOOL_READ;
	q.spool_read = &read;
	if (herd_ask(m->job->herd, &q, -1, on_piece_read, m) < 0) {
		out_fail(m, -EIO, "cannot reach the job's shepherd");
		return;
	}
	m->spooling = true;
	out_ref(m);
}
