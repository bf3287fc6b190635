/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint. It is a migration up to READY whose destination is a mover of this host, with the rights of
 * whoever asked, that writes an image instead of building a process. There is no commit: then all is undone, as it
 * is when the migration failed, and the job goes on, free for other things, while that mover puts the image on the
 * disk. What fails from then on is no business of the job any more. A job that is to be killed stands still until
 * the image is on the disk, since it must go on if that fails.
 *
 * What the shepherd has of the streams is collected in a file in memory: a ckpt.Streams, piece by piece.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "checkpoint.pb-c.h"
#include "lib/cluster_seal.h"
#include "procd/jobs.h"
#include "procd/migration.h"

#define LOOPBACK "127.0.0.1"
/* Of each output stream: the newest. */
#define OUTPUT_BYTES_MAX (16u << 20)

struct image_out {
	char *path, *parent;
	bool kill, replace, compress, update, seal;
	uid_t uid;
	gid_t gid;
	struct mover *saver;
	int streams;   /* a ckpt.Streams */
	bool keeping;  /* it is being put on the disk */
	bool kept;     /* it is there */
	bool released; /* the job is none of our business any more */
	uint64_t written;
};

struct image_out *image_out_new(struct migration_out *m, struct call *c)
{
	const Godwit__Procd__Checkpoint *q = c->request->checkpoint;
	struct image_out *i = xcalloc(1, sizeof *i);

	(void)m;
	i->path = xstrdup(q->path);
	i->parent = xstrdup(q->parent);
	i->kill = q->kill;
	i->replace = q->replace;
	i->compress = q->compress;
	i->update = q->update;
	i->seal = q->seal;
	i->uid = c->uid;
	i->gid = c->gid;
	i->streams = memfd_create("godwit-streams", MFD_CLOEXEC);
	return i;
}

void image_out_free(struct image_out *i)
{
	if (!i)
		return;
	if (i->keeping)
		mover_kill(i->saver); /* it would finish what was given up */
	mover_end(i->saver);
	fd_close(&i->streams);
	free(i->path);
	free(i->parent);
	free(i);
}

/* The order to save goes with what a restart needs: see restart.c. */
static void say_save(struct migration_out *m)
{
	Godwit__Mover__Save q = GODWIT__MOVER__SAVE__INIT;
	Godwit__Procd__Begin b = GODWIT__PROCD__BEGIN__INIT;
	_cleanup_free_ uint8_t *bytes = NULL;
	Godwit__Procd__JobSpec spec;
	size_t len;

	out_fill_begin(m, &b, &spec);
	spec.moves = 0;
	spec.stunned = 0;
	spec.secret.len = 0;
	len = godwit__procd__begin__get_packed_size(&b);
	bytes = xmalloc(len);
	(void)godwit__procd__begin__pack(&b, bytes);
	q.path = m->image->path;
	q.parent = m->image->parent;
	q.replace = m->image->replace;
	q.compress = m->image->compress;
	q.update = m->image->update;
	q.seal = m->image->seal;
	q.name = m->name;
	q.host = m->p->settings.name;
	q.begin.data = bytes;
	q.begin.len = len;
	if (mover_say(m->image->saver, MOVER_KIND(SAVE), &q, NULL, 0) < 0)
		out_fail(m, -EIO, "cannot talk to the mover that writes the image");
}

/* --- streams --- */

/* Output that is too much is given up from its beginning. */
void image_out_trim(struct migration_out *m, Godwit__Shepherd__Streams *s)
{
	(void)m;
	for (size_t i = 0; i < s->n_sides; i++) {
		Godwit__Shepherd__Side *side = s->sides[i];

		if (side->stream == 0 || side->end - side->start <= OUTPUT_BYTES_MAX)
			continue;
		side->start = side->end - OUTPUT_BYTES_MAX;
		side->unread = MAX(side->unread, side->start);
	}
}

static int append(struct image_out *i, const Godwit__Ckpt__Streams *s)
{
	size_t len = godwit__ckpt__streams__get_packed_size(s);
	_cleanup_free_ uint8_t *bytes = xmalloc(len + 1);

	(void)godwit__ckpt__streams__pack(s, bytes);
	return fd_write_full(i->streams, bytes, len);
}

int image_out_keep_piece(struct migration_out *m, unsigned stream, const Godwit__Procd__Data *d)
{
	Godwit__Ckpt__Streams s = GODWIT__CKPT__STREAMS__INIT;
	Godwit__Ckpt__StreamPiece piece = GODWIT__CKPT__STREAM_PIECE__INIT, *pieces[] = { &piece };

	piece.stream = stream;
	piece.offset = d->offset;
	piece.bytes = d->bytes;
	s.pieces = pieces;
	s.n_pieces = 1;
	m->sent[stream] = d->offset + d->bytes.len;
	return append(m->image, &s);
}

/* --- the mover that writes it --- */

static void let_go(struct migration_out *m)
{
	m->failing = true; /* without an error: see out_finish */
	out_arm(m, 3000);
	out_undo_next(m);
}

static void on_kept(struct migration_out *m, const Godwit__Mover__Kept *k)
{
	struct image_out *i = m->image;

	i->keeping = false;
	i->kept = true;
	i->written = k->written;
	log_info("job %s: checkpoint in %s", m->name, i->path);
	if (i->released) {
		out_finish(m);
	} else if (i->kill) {
		/* A stopped thread dies of it as well as any. */
		if (m->job && m->job->pidfd >= 0)
			(void)syscall(SYS_pidfd_send_signal, m->job->pidfd, SIGKILL, NULL, 0);
		let_go(m);
	}
}

static void failed(struct migration_out *m, int code, const char *text)
{
	struct image_out *i = m->image;

	if (!i->keeping || i->kill) {
		i->keeping = false;
		out_fail(m, code, "%s", text);
		return;
	}
	/* The job goes on, or is about to. */
	i->keeping = false;
	(void)err_set(&m->e, code, "%s", text);
	log_info("job %s: no checkpoint: %s", m->name, text);
	if (i->released)
		out_finish(m);
}

/* Only what was ordered: the mover is ours, and out of its user's reach (mover/main.c). */
static void give_word(struct migration_out *m, const Godwit__Mover__ImageSeal *asked)
{
	Godwit__Mover__ImageSeal q = GODWIT__MOVER__IMAGE_SEAL__INIT;
	uint8_t id[CLUSTER_SEAL_ID_LEN], word[CLUSTER_SEAL_WORD_LEN];
	struct err e = { 0 };

	if (!m->image->seal || asked->digest.len != CLUSTER_SEAL_DIGEST_LEN) {
		(void)err_set(&e, -EPERM, "nobody ordered a seal");
	} else if (cluster_seal_make(asked->digest.data, id, word, &e) == 0) {
		q.id = (ProtobufCBinaryData) { sizeof id, id };
		q.word = (ProtobufCBinaryData) { sizeof word, word };
	}
	if (e.code)
		log_error("job %s: no seal for its image: %s", m->name, err_text(&e));
	if (mover_say(m->image->saver, MOVER_KIND(SEALED), &q, NULL, 0) < 0)
		log_error("job %s: cannot talk to the mover that writes the image", m->name);
}

static void on_message(void *arg, const mover_message *msg)
{
	struct migration_out *m = arg;

	if (m->over || (m->failing && !m->image->keeping))
		return;
	if (msg->kind_case == MOVER_KIND(LISTENING) && m->stage == STAGE_PREPARE) {
		say_save(m);
		if (!m->failing)
			out_connect(m, LOOPBACK, msg->listening->port, false);
	} else if (msg->kind_case == MOVER_KIND(UNSEALED) && m->image->keeping) {
		give_word(m, msg->unsealed);
	} else if (msg->kind_case == MOVER_KIND(KEPT) && m->image->keeping) {
		on_kept(m, msg->kept);
	} else if (msg->kind_case == MOVER_KIND(FAILED)) {
		failed(m, msg->failed->code ? msg->failed->code : -EIO, msg->failed->text);
	}
}

static void on_gone(void *arg)
{
	struct migration_out *m = arg;

	mover_end(m->image->saver);
	m->image->saver = NULL;
	if (!m->over && !m->image->kept && (m->image->keeping || !m->failing))
		failed(m, -EIO, "the mover that writes the image died");
}

static const struct mover_ops ops = { .message = on_message, .gone = on_gone };

void image_out_prepare(struct migration_out *m)
{
	Godwit__Mover__Listen listen = GODWIT__MOVER__LISTEN__INIT;
	struct image_out *i = m->image;
	struct err e = { 0 };

	if (mover_start_as(m->p, "destination", i->uid, i->gid, &ops, m, &i->saver, &e) < 0) {
		out_fail(m, e.code, "%s", err_text(&e));
		return;
	}
	listen.address = (char *)(uintptr_t)LOOPBACK;
	listen.key.data = m->key;
	listen.key.len = sizeof m->key;
	if (mover_say(i->saver, MOVER_KIND(LISTEN), &listen, NULL, 0) < 0)
		out_fail(m, -EIO, "cannot talk to the mover that writes the image");
}

static uint64_t by_size_ms(const struct migration_out *m)
{
	/* 1 MB/s, and a minute for whatever else the disk has to do. */
	return 60000 + m->bytes / 1000;
}

void image_out_ready(struct migration_out *m)
{
	Godwit__Mover__Keep q = GODWIT__MOVER__KEEP__INIT;
	Godwit__Ckpt__Streams s = GODWIT__CKPT__STREAMS__INIT;
	struct image_out *i = m->image;

	s.shepherd = m->streams;
	if (i->streams < 0 || append(i, &s) < 0 || mover_say(i->saver, MOVER_KIND(KEEP), &q, &i->streams, 1) < 0) {
		out_fail(m, -EIO, "cannot talk to the mover that writes the image");
		return;
	}
	i->keeping = true;
	if (i->kill)
		out_arm(m, by_size_ms(m));
	else
		let_go(m);
}

bool image_out_writes(struct migration_out *m)
{
	struct image_out *i = m->image;

	if (!i || !i->keeping)
		return false;
	i->released = true;
	if (m->job) {
		m->job->out = NULL;
		jobs_release(m->job);
	}
	m->job = NULL;
	out_arm(m, by_size_ms(m));
	return true;
}

bool image_out_late(struct migration_out *m)
{
	if (!m->image || !m->image->released)
		return false;
	mover_kill(m->image->saver);
	return true;
}

uint64_t image_out_written(const struct migration_out *m)
{
	return m->image ? m->image->written : 0;
}
