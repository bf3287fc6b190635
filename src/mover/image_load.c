/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/image.h"
#include "memory/chunk.h"
#include "mover/image.h"
#include "procd.pb-c.h"
#include "state/file.h"

static_assert(CHUNK_PAGES * PAGE_BYTES == IMAGE_CHUNK_MAX, "what an image gives at once fits a chunk");

#define TELL_US 500000u

static int check_job(const Godwit__Ckpt__Job *job, const char *path, struct err *e)
{
	if (job->n_processes != 1)
		return err_set(e, -ENOTSUP, "%s: a job of %zu processes", path, job->n_processes);
	if (!job->description.len || !job->begin.len)
		return err_set(e, -EBADMSG, "%s: it does not say how to restart it", path);
	return 0;
}

static void fill_checked(struct mover *m, Godwit__Mover__Checked *c)
{
	const Godwit__Ckpt__Job *job = image_job(m->from.image);
	const Godwit__Image__Image *head = image_header(m->from.image, 0);

	godwit__mover__checked__init(c);
	for (size_t i = 0; i < head->n_chunks; i++)
		c->bytes += head->chunks[i]->bytes;
	c->monotonic_ns = job->monotonic_ns;
	c->boottime_ns = job->boottime_ns;
	c->begin.len = job->begin.len;
	c->begin.data = xmalloc(job->begin.len);
	memcpy(c->begin.data, job->begin.data, job->begin.len);
}

static ProtobufCBinaryData copy_bytes(const uint8_t *from, size_t len)
{
	ProtobufCBinaryData b = { .len = len, .data = xmalloc(len) };

	memcpy(b.data, from, len);
	return b;
}

static void fill_seal(struct mover *m, Godwit__Mover__Checked *c)
{
	const struct image_seal *seal = image_seal(m->from.image);

	if (!seal)
		return;
	c->seal = xmalloc(sizeof *c->seal);
	godwit__mover__image_seal__init(c->seal);
	c->seal->digest = copy_bytes(seal->digest, sizeof seal->digest);
	c->seal->id = copy_bytes(seal->id, sizeof seal->id);
	c->seal->word = copy_bytes(seal->word, sizeof seal->word);
}

/* What the destination must have, with probes of today. */
static int require(struct mover *m, Godwit__Mover__Checked *c, const char *path, struct err *e)
{
	const Godwit__Ckpt__Job *job = image_job(m->from.image);
	Godwit__Procd__Begin *b = godwit__procd__begin__unpack(NULL, job->begin.len, job->begin.data);
	Godwit__Ckpt__Requirements *q =
		b ? godwit__ckpt__requirements__unpack(NULL, b->requirements.len, b->requirements.data) : NULL;

	if (b)
		godwit__procd__begin__free_unpacked(b, NULL);
	if (!q)
		return err_set(e, -EBADMSG, "%s: it does not say what it requires", path);
	m->from.s.requirements = q;
	image_probes_make(q);
	c->requirements.len = godwit__ckpt__requirements__get_packed_size(q);
	c->requirements.data = xmalloc(c->requirements.len + 1);
	(void)godwit__ckpt__requirements__pack(q, c->requirements.data);
	return 0;
}

/* For the shepherd that there will be. */
static int hand_out_streams(const struct mover *m, struct err *e)
{
	const Godwit__Ckpt__Streams *s = image_job(m->from.image)->streams;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;
	int err;

	if (!s || !m->n_came)
		return 0;
	len = godwit__ckpt__streams__get_packed_size(s);
	bytes = xmalloc(len + 1);
	(void)godwit__ckpt__streams__pack(s, bytes);
	err = fd_write_full(m->came[0], bytes, len);
	return err < 0 ? err_code(e, err, "cannot hand out the job's streams") : 0;
}

int image_load(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
	       struct err *e)
{
	const char *path = in->load->path;
	const Godwit__Ckpt__Job *job;
	int err;

	if (m->from.check)
		return err_set(e, -EALREADY, "this mover has a job already");
	err = image_open(path, &m->from.image, e);
	if (err < 0)
		return err;
	m->from.check = (Godwit__Mover__MoverMessage *)(uintptr_t)in;
	job = image_job(m->from.image);
	err = check_job(job, path, e);
	if (!err)
		err = hand_out_streams(m, e);
	if (err < 0)
		return err;
	m->from.early = godwit__ckpt__job__unpack(NULL, job->description.len, job->description.data);
	if (!m->from.early || m->from.early->n_processes != 1)
		return err_set(e, -EBADMSG, "%s: its description is damaged", path);
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_CHECKED;
	out->checked = xmalloc(sizeof *out->checked);
	fill_checked(m, out->checked);
	fill_seal(m, out->checked);
	return require(m, out->checked, path, e);
}

int image_introduce(struct mover *m, struct err *e)
{
	const Godwit__Ckpt__Job *job = image_job(m->from.image);
	struct file_io io = frame_file_io(m);
	struct file_parts kept = { job->contents, job->n_contents };
	int err = file_image_check(m->from.early, e);

	if (!err)
		err = stream_send_msg(m->stream, FRAME_DESCRIPTION, &m->from.early->base, e);
	if (!err)
		err = file_image_serve(m->from.early, &kept, &io, e);
	return err ? err : frame_expect(m, FRAME_PREPARED, NULL, NULL, e);
}

/* So that procd knows that it is worth waiting. */
static void tell_progress(struct mover *m)
{
	Godwit__Mover__MoverMessage out = GODWIT__MOVER__MOVER_MESSAGE__INIT;
	Godwit__Mover__Progress progress = GODWIT__MOVER__PROGRESS__INIT;
	uint64_t now = now_us();

	if (now < m->from.tell_at_us)
		return;
	m->from.tell_at_us = now + TELL_US;
	progress.bytes = m->stats.bytes;
	out.kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_PROGRESS;
	out.progress = &progress;
	(void)!control_send(m, &out, NULL); /* if procd is gone, the next thing that is read from it will say so */
}

/* One chunk of the wire for each of the image. */
static int send_pages(void *arg, uint32_t space, uint64_t start, const void *buf, size_t len, struct err *e)
{
	struct mover *m = arg;
	struct extent run = { start, start + len };
	size_t head = CHUNK_HEAD_LEN + CHUNK_RUN_LEN, room;
	void *at;
	int err = stream_room(m->stream, head + len, &at, &room, e);

	if (err < 0)
		return err;
	chunk_put_head(at, 1, (uint32_t)(len / PAGE_BYTES), space);
	chunk_put_run((uint8_t *)at + CHUNK_HEAD_LEN, &run);
	memcpy((uint8_t *)at + head, buf, len);
	stream_commit(m->stream, head + len);
	m->stats.pages += len / PAGE_BYTES;
	m->stats.bytes += len;
	tell_progress(m);
	return 0;
}

/* A message of the job as a migration would have it. */
static int send_checkpoint(struct mover *m, struct err *e)
{
	Godwit__Ckpt__Job job = *image_job(m->from.image);

	job.description = (ProtobufCBinaryData) { 0 };
	job.begin = (ProtobufCBinaryData) { 0 };
	job.n_contents = 0;
	job.n_late = 0;
	job.streams = NULL;
	return stream_send_msg(m->stream, FRAME_CHECKPOINT, &job.base, e);
}

int image_send(struct mover *m, struct err *e)
{
	static const uint8_t end[CHUNK_HEAD_LEN];
	const Godwit__Ckpt__Job *job = image_job(m->from.image);
	struct file_io io = frame_file_io(m);
	struct file_parts late = { job->late, job->n_late };
	int err = send_checkpoint(m, e);

	if (!err)
		err = file_image_push(&late, &io, e);
	if (!err)
		err = image_pages(m->from.image, 0, send_pages, m, e);
	if (!err)
		err = stream_write(m->stream, end, sizeof end, e);
	return err ? err : stream_flush(m->stream, e);
}

void image_load_done(struct mover *m)
{
	if (m->from.s.requirements)
		image_probes_remove(m->from.s.requirements);
	image_close(m->from.image);
	stream_free(m->stream);
	if (m->from.early)
		godwit__ckpt__job__free_unpacked(m->from.early, NULL);
	godwit__mover__mover_message__free_unpacked(m->from.check, NULL);
	m->from.check = NULL;
}
