/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job out of an image. Towards the destination, which may be this host itself, it is a migration: HELLO, BEGIN,
 * a mover that sends, COMMIT, FORGET. But the source's mover reads an image, there is no communication state, and
 * nothing to decide: the image stays what it is, so there is no record. Whoever asks about it after our own death
 * hears that it was given up; what has been committed by then runs on.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "lib/cluster_seal.h"
#include "checkpoint.pb-c.h"
#include "procd/jobs.h"
#include "procd/migration.h"
#include "procd/ops.h"
#include "procd/reserve.h"
#include "procd/rpc.h"

#define LOCATE_MS 3000u
#define COMMIT_AGAIN_MS 500u
#define COMMIT_FOR_US 60000000u
#define SILENCE_MAX_MS                                                                                            \
	120000u /* of whoever has to do the next thing; how long all of it takes is up to the image */
#define GROUPS_MAX 256
#define STREAMS_BYTES_MAX (64u << 20)
#define PIECE_BYTES_MAX (160u << 10)

struct restart {
	struct procd *p;
	struct restart *next;
	struct call *call;
	char id[MIGRATION_ID_LEN + 1];
	uint8_t key[MIGRATION_KEY_LEN];
	char destination[GW_HOST_MAX];
	char name[NAME_MAX_LEN + 1];
	struct mover *loader;
	uint64_t bytes, monotonic_ns, boottime_ns; /* the job's clocks at the checkpoint */
	Godwit__Procd__Begin *begin;
	int streams_file; /* the loader fills it */
	Godwit__Ckpt__Streams *streams;
	size_t piece; /* of them: the next to be sent */
	unsigned refs;
	bool over, moving;
	struct reservation *reservation;
	bool renamed;
	bool sealed; /* by this cluster */
	bool in_doubt;
	uint64_t commit_until_us; /* it is asked for again until then; 0: not yet asked for */
	uv_timer_t deadline;
};

/* --- life --- */

/* Not inlined: gcc would see a use after free() in every callback that ends something, references or not. */
static void __attribute__((noinline, noipa)) unref(struct restart *s)
{
	if (--s->refs)
		return;
	if (s->begin)
		godwit__procd__begin__free_unpacked(s->begin, NULL);
	if (s->streams)
		godwit__ckpt__streams__free_unpacked(s->streams, NULL);
	fd_close(&s->streams_file);
	free(s);
}

static void on_closed(uv_handle_t *handle)
{
	unref(handle->data);
}

bool restart_is_going_on(const struct procd *p, const char *id)
{
	for (const struct restart *s = p->restarts; s; s = s->next)
		if (!strcmp(s->id, id))
			return true;
	return false;
}

static void on_told(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	(void)reply;
	(void)status;
	(void)why;
	unref(arg);
}

static void finish(struct restart *s)
{
	s->over = true;
	for (struct restart **at = &s->p->restarts; *at; at = &(*at)->next) {
		if (*at != s)
			continue;
		*at = s->next;
		break;
	}
	mover_end(s->loader);
	s->loader = NULL;
	reserve_drop(s->reservation);
	s->reservation = NULL;
	uv_close((uv_handle_t *)&s->deadline, on_closed);
	unref(s);
}

static void fail(struct restart *s, int code, const char *text, const Godwit__Procd__Reply *problems)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Abort give_up = GODWIT__PROCD__ABORT__INIT;

	if (s->over)
		return;
	log_info("restart of %s: %s", s->name, text);
	r.code = code < 0 ? code : -EIO;
	r.text = (char *)(uintptr_t)text;
	r.in_doubt = s->in_doubt;
	if (problems) {
		r.problems = problems->problems;
		r.n_problems = problems->n_problems;
	}
	call_reply(s->call, &r);
	s->call = NULL;
	if (s->begin) {
		give_up.migration = s->id;
		q.op_case = GODWIT__PROCD__REQUEST__OP_ABORT;
		q.abort = &give_up;
		if (rpc_ask(s->p, "procd@", s->destination, &q, LOCATE_MS, on_told, s) == 0)
			s->refs++;
	}
	finish(s);
}

static void ask(struct restart *s, Godwit__Procd__Request *q, rpc_reply_fn *fn)
{
	if (rpc_ask(s->p, "procd@", s->destination, q, LOCATE_MS, fn, s) == 0)
		s->refs++;
	else
		fail(s, -ENOTCONN, "flipd is away", NULL);
}

/* True if the reply is of use; else all is over. */
static bool heard(struct restart *s, const Godwit__Procd__Reply *reply, const char *why)
{
	if (s->over)
		return false;
	if (!reply)
		fail(s, -EHOSTUNREACH, why, NULL);
	else if (reply->n_problems)
		fail(s, -ENOTSUP, reply->problems[0]->reason, reply);
	else if (reply->code)
		fail(s, reply->code, reply->text, NULL);
	return !s->over;
}

static void on_deadline(uv_timer_t *timer)
{
	fail(timer->data, -ETIMEDOUT, "the restart does not get on", NULL);
}

/* --- commit --- */

static void commit(struct restart *s);

static void on_commit_again(uv_timer_t *timer)
{
	commit(timer->data);
}

static void on_committed(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct restart *s = arg;
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Started started = GODWIT__PROCD__STARTED__INIT;
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Forget forget = GODWIT__PROCD__FORGET__INIT;

	(void)status;
	/* Whether it runs there is for the destination to say, as soon as it can. */
	if (!s->over && (!reply || reply->code == -EAGAIN) && now_us() < s->commit_until_us) {
		(void)uv_timer_start(&s->deadline, on_commit_again, COMMIT_AGAIN_MS, 0);
		unref(s);
		return;
	}
	s->in_doubt = !reply;
	if (!heard(s, reply, why)) {
		unref(s);
		return;
	}
	started.name = s->name;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_STARTED;
	r.started = &started;
	call_reply(s->call, &r);
	forget.migration = s->id;
	q.op_case = GODWIT__PROCD__REQUEST__OP_FORGET;
	q.forget = &forget;
	if (rpc_ask(s->p, "procd@", s->destination, &q, LOCATE_MS, on_told, s) == 0)
		s->refs++;
	log_info("job %s: restarted on %s", s->name, s->destination);
	finish(s);
	unref(s);
}

/* Its streams go on where they were, without the front-end; an image that has none: at offset 0. */
static Godwit__Shepherd__Streams *streams_of(const struct restart *s)
{
	Godwit__Shepherd__Streams *m = NULL;

	if (s->streams && s->streams->shepherd.len)
		return godwit__shepherd__streams__unpack(NULL, s->streams->shepherd.len,
							 s->streams->shepherd.data);
	m = xmalloc(sizeof *m);
	godwit__shepherd__streams__init(m);
	return m;
}

static void commit(struct restart *s)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Commit c = GODWIT__PROCD__COMMIT__INIT;
	Godwit__Shepherd__Streams *streams = streams_of(s);
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;

	if (!streams) {
		fail(s, -EBADMSG, "what the image says about the job's streams is damaged", NULL);
		return;
	}
	if (!s->commit_until_us)
		s->commit_until_us = now_us() + COMMIT_FOR_US;
	(void)uv_timer_start(&s->deadline, on_deadline, SILENCE_MAX_MS, 0);
	streams->attachment = 0;
	streams->log_bytes = s->begin->job->log_bytes;
	len = godwit__shepherd__streams__get_packed_size(streams);
	bytes = xmalloc(len + 1);
	(void)godwit__shepherd__streams__pack(streams, bytes);
	godwit__shepherd__streams__free_unpacked(streams, NULL);
	c.migration = s->id;
	c.streams.data = bytes;
	c.streams.len = len;
	c.incarnation = 1;
	q.op_case = GODWIT__PROCD__REQUEST__OP_COMMIT;
	q.commit = &c;
	ask(s, &q, on_committed);
}

/* --- streams --- */

static void send_piece(struct restart *s);

static void on_spooled(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct restart *s = arg;

	(void)status;
	if (heard(s, reply, why))
		send_piece(s);
	unref(s);
}

/* One after the other; then the commit. */
static void send_piece(struct restart *s)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Spool spool = GODWIT__PROCD__SPOOL__INIT;
	const Godwit__Ckpt__StreamPiece *piece;

	if (!s->streams || s->piece == s->streams->n_pieces) {
		commit(s);
		return;
	}
	piece = s->streams->pieces[s->piece++];
	if (piece->bytes.len > PIECE_BYTES_MAX) {
		fail(s, -EBADMSG, "what the image says about the job's streams is damaged", NULL);
		return;
	}
	spool.migration = s->id;
	spool.stream = piece->stream;
	spool.offset = piece->offset;
	spool.bytes = piece->bytes;
	q.op_case = GODWIT__PROCD__REQUEST__OP_SPOOL;
	q.spool = &spool;
	ask(s, &q, on_spooled);
}

/* What the loader has found in the image. */
static int read_streams(struct restart *s)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct stat st;
	ssize_t n;

	if (fstat(s->streams_file, &st) < 0 || st.st_size > STREAMS_BYTES_MAX)
		return -EBADMSG;
	bytes = xmalloc((size_t)st.st_size + 1);
	n = pread(s->streams_file, bytes, (size_t)st.st_size, 0);
	if (n != st.st_size)
		return -EBADMSG;
	s->streams = godwit__ckpt__streams__unpack(NULL, (size_t)n, bytes);
	return s->streams ? 0 : -EBADMSG;
}

/* --- begin --- */

static void connect_loader(struct restart *s, const Godwit__Procd__Begun *b)
{
	Godwit__Mover__Connect q = GODWIT__MOVER__CONNECT__INIT;

	q.address = b->address;
	q.port = b->port;
	q.key.data = s->key;
	q.key.len = sizeof s->key;
	q.sealed = b->sealed;
	if (mover_say(s->loader, MOVER_KIND(CONNECT), &q, NULL, 0) < 0)
		fail(s, -EIO, "cannot talk to the mover", NULL);
}

static void on_begun(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct restart *s = arg;

	(void)status;
	if (heard(s, reply, why)) {
		if (reply->result_case == GODWIT__PROCD__REPLY__RESULT_BEGUN)
			connect_loader(s, reply->begun);
		else
			fail(s, -EPROTO, "the destination answers nonsense", NULL);
	}
	unref(s);
}

/*
 * An image of a user may have been written by anything: whatever it says, the job is his, in groups that he is in
 * here, and the destination gives it nothing that he would not get (BEGIN's confined).
 */
static void confine(const struct restart *s, Godwit__Procd__Begin *b, Godwit__Procd__JobSpec *spec)
{
	const struct call *c = s->call;
	gid_t known[GROUPS_MAX];
	struct passwd *pw = getpwuid(c->uid);
	int n = GROUPS_MAX;
	size_t kept = 0;

	/* What the cluster sealed is what it was, and his: he gets back what he had. */
	if (!c->uid || (s->sealed && spec->uid == c->uid))
		return;
	if (!pw || getgrouplist(pw->pw_name, pw->pw_gid, known, &n) < 0)
		n = 0;
	for (size_t i = 0; i < spec->n_groups; i++) {
		bool ok = spec->groups[i] == c->gid;

		for (int k = 0; k < n; k++)
			ok |= known[k] == spec->groups[i];
		if (ok)
			spec->groups[kept++] = spec->groups[i];
	}
	spec->n_groups = kept;
	spec->uid = c->uid;
	spec->gid = c->gid;
	b->confined = 1;
}

/* What the image says about the job, and what is new: name, clocks that go on, addresses. */
static void begin(struct restart *s, const Godwit__Procd__HelloReply *h)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Begin b = *s->begin;
	Godwit__Procd__JobSpec spec = *s->begin->job;

	spec.name = s->name;
	spec.started_us = realtime_us();
	spec.adopted = 0;
	spec.moves = 0;
	/* Nobody has rights to a new job because he had them to the one in the image. */
	spec.owner = (char *)(uintptr_t)protobuf_c_empty_string;
	spec.secret.len = 0;
	spec.stunned = 0;
	spec.monotonic_offset_ns = (int64_t)s->monotonic_ns - h->monotonic_ns;
	spec.boottime_offset_ns = (int64_t)s->boottime_ns - h->boottime_ns;
	b.migration = s->id;
	b.source = s->p->settings.name;
	b.address = s->p->settings.address;
	b.job = &spec;
	b.key.data = s->key;
	b.key.len = sizeof s->key;
	b.sealed = strcmp(s->destination, s->p->settings.name) && !settings_trusts(&s->p->settings, h->address);
	b.check_only = 0;
	b.talks = 0;
	b.confined = 0;
	confine(s, &b, &spec);
	b.bytes = s->bytes;
	b.incarnation = 1;
	q.op_case = GODWIT__PROCD__REQUEST__OP_BEGIN;
	q.begin = &b;
	ask(s, &q, on_begun);
}

static void on_hello(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct restart *s = arg;

	(void)status;
	if (heard(s, reply, why)) {
		if (reply->result_case == GODWIT__PROCD__REPLY__RESULT_HELLO)
			begin(s, reply->hello);
		else
			fail(s, -EPROTO, "the destination answers nonsense", NULL);
	}
	unref(s);
}

static void ask_name(struct restart *s);

/* The name is ours until the job is there, or is not to be. */
static void on_name(void *arg, const struct err *e)
{
	struct restart *s = arg;
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Hello hello = GODWIT__PROCD__HELLO__INIT;
	const char *command;
	uint32_t random = 0;

	if (e->code == -EEXIST && !*s->call->request->restart->name && !s->renamed) {
		command = s->begin->job->n_command ? s->begin->job->command[0] : "job";
		(void)!getrandom(&random, sizeof random, 0);
		name_make(s->name, command, s->p->settings.name, random);
		s->renamed = true;
		reserve_drop(s->reservation);
		s->reservation = NULL;
		ask_name(s);
		return;
	}
	if (e->code) {
		fail(s, e->code, err_text(e), NULL);
		return;
	}
	q.op_case = GODWIT__PROCD__REQUEST__OP_HELLO;
	q.hello = &hello;
	ask(s, &q, on_hello);
}

static void ask_name(struct restart *s)
{
	reserve_name(s->p, s->name, s->call, s->call->uid, on_name, s, &s->reservation);
}

/* --- the mover that reads the image --- */

/* A seal that is there must be right: whoever does without takes it away. */
static bool check_seal(struct restart *s, const Godwit__Mover__ImageSeal *seal)
{
	struct err e = { 0 };

	if (!seal)
		return true;
	if (seal->digest.len != CLUSTER_SEAL_DIGEST_LEN || seal->id.len != CLUSTER_SEAL_ID_LEN ||
	    seal->word.len != CLUSTER_SEAL_WORD_LEN) {
		fail(s, -EBADMSG, "its seal is no seal", NULL);
		return false;
	}
	if (cluster_seal_check(seal->digest.data, seal->id.data, seal->word.data, &e) < 0) {
		fail(s, e.code, err_text(&e), NULL);
		return false;
	}
	s->sealed = true;
	return true;
}

static void on_checked(struct restart *s, const Godwit__Mover__Checked *c)
{
	const char *wanted = s->call->request->restart->name;

	if (s->begin || !check_seal(s, c->seal))
		return;
	s->begin = godwit__procd__begin__unpack(NULL, c->begin.len, c->begin.data);
	if (!s->begin || !s->begin->job || (!*wanted && !name_is_valid(s->begin->job->name)) ||
	    read_streams(s) < 0) {
		fail(s, -EBADMSG, "what the image says about its job is damaged", NULL);
		return;
	}
	(void)snprintf(s->name, sizeof s->name, "%s", *wanted ? wanted : s->begin->job->name);
	free(s->begin->requirements.data);
	s->begin->requirements.len = c->requirements.len;
	s->begin->requirements.data = xmalloc(c->requirements.len + 1);
	memcpy(s->begin->requirements.data, c->requirements.data, c->requirements.len);
	s->bytes = c->bytes;
	s->monotonic_ns = c->monotonic_ns;
	s->boottime_ns = c->boottime_ns;
	ask_name(s);
}

static void on_message(void *arg, const mover_message *msg)
{
	Godwit__Mover__Move move = GODWIT__MOVER__MOVE__INIT;
	struct restart *s = arg;

	if (s->over)
		return;
	(void)uv_timer_start(&s->deadline, on_deadline, SILENCE_MAX_MS, 0);
	switch (msg->kind_case) {
	case MOVER_KIND(CHECKED):
		on_checked(s, msg->checked);
		break;
	case MOVER_KIND(PREPARED):
		migrate_die_at("prepare", "source");
		s->moving = true;
		if (mover_say(s->loader, MOVER_KIND(MOVE), &move, NULL, 0) < 0)
			fail(s, -EIO, "cannot talk to the mover", NULL);
		break;
	case MOVER_KIND(PROGRESS):
		break;
	case MOVER_KIND(READY):
		migrate_die_at("move", "source");
		if (s->moving)
			send_piece(s);
		s->moving = false;
		break;
	case MOVER_KIND(FAILED):
		fail(s, msg->failed->code, msg->failed->text, NULL);
		break;
	default:
		break;
	}
}

static void on_gone(void *arg)
{
	struct restart *s = arg;

	mover_end(s->loader);
	s->loader = NULL;
	fail(s, -EIO, "the mover that reads the image died", NULL);
}

static const struct mover_ops ops = { .message = on_message, .gone = on_gone };

/* --- the request --- */

static void load(struct restart *s)
{
	const Godwit__Procd__Restart *q = s->call->request->restart;
	Godwit__Mover__Load load = GODWIT__MOVER__LOAD__INIT;
	struct err e = { 0 };

	if (mover_start_as(s->p, "source", s->call->uid, s->call->gid, &ops, s, &s->loader, &e) < 0) {
		fail(s, e.code, err_text(&e), NULL);
		return;
	}
	load.path = q->path;
	s->streams_file = memfd_create("godwit-streams", MFD_CLOEXEC);
	if (s->streams_file < 0 || mover_say(s->loader, MOVER_KIND(LOAD), &load, &s->streams_file, 1) < 0)
		fail(s, -EIO, "cannot talk to the mover", NULL);
}

static const char *why_not(const struct call *c)
{
	const Godwit__Procd__Restart *q = c->request->restart;

	if (*q->path != '/')
		return "an image needs an absolute path";
	if (*q->name && !name_is_valid(q->name))
		return "that is no name for a job";
	if (strlen(q->destination) >= GW_HOST_MAX)
		return "there is no such host";
	return NULL;
}

void restart_start(struct procd *p, struct call *c)
{
	uint8_t random[MIGRATION_ID_LEN / 2] = { 0 };
	const char *no = why_not(c);
	struct restart *s;

	if (no) {
		call_refuse(c, -EINVAL, "%s", no);
		return;
	}
	s = xcalloc(1, sizeof *s);
	s->p = p;
	s->call = c;
	s->refs = 2; /* the list and the timer */
	s->streams_file = -EBADF;
	(void)snprintf(s->destination, sizeof s->destination, "%s",
		       *c->request->restart->destination ? c->request->restart->destination : p->settings.name);
	(void)!getrandom(random, sizeof random, 0);
	(void)!getrandom(s->key, sizeof s->key, 0);
	for (size_t i = 0; i < sizeof random; i++)
		(void)snprintf(s->id + 2 * i, 3, "%02x", random[i]);
	s->next = p->restarts;
	p->restarts = s;
	(void)uv_timer_init(p->loop, &s->deadline);
	s->deadline.data = s;
	(void)uv_timer_start(&s->deadline, on_deadline, SILENCE_MAX_MS, 0);
	load(s);
}
