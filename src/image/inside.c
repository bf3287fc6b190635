/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of reading an image. It may have been made by anybody; root restarts it. So whatever has a structure
 * is taken apart in a cell (cell.h), which has the core files open and nothing else. Page contents that lie in the
 * file as they are have none, and do not come this way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "image/cell.h"
#include "image/check_job.h"
#include "image/private.h"
#include "image/scan.h"
#include "procd.pb-c.h"
#include "shepherd.pb-c.h"

/* A message within the message: our own encoder wrote it, or the image is not ours. */
static int check_within(const ProtobufCMessageDescriptor *d, const ProtobufCBinaryData *b, const char *what,
			ProtobufCMessage **ret, struct err *e)
{
	int err;

	*ret = NULL;
	if (!b->len)
		return 0;
	err = message_scan(d, b->data, b->len, SCAN_ROOM, true, e);
	if (err < 0)
		return err_wrap(e, "%s", what);
	*ret = protobuf_c_message_unpack(d, NULL, b->len, b->data);
	return *ret ? 0 : err_set(e, -EBADMSG, "%s is not a message", what);
}

static int check_requirements(const ProtobufCBinaryData *b, struct err *e)
{
	ProtobufCMessage *q;
	int err = check_within(&godwit__ckpt__requirements__descriptor, b, "what it requires", &q, e);

	if (!err && q)
		err = requirements_check((Godwit__Ckpt__Requirements *)q, e);
	protobuf_c_message_free_unpacked(q, NULL);
	return err;
}

static int check_begin(const ProtobufCBinaryData *b, struct err *e)
{
	ProtobufCMessage *m;
	int err = check_within(&godwit__procd__begin__descriptor, b, "what it says of its job", &m, e);

	if (!err && m)
		err = check_requirements(&((Godwit__Procd__Begin *)m)->requirements, e);
	protobuf_c_message_free_unpacked(m, NULL);
	return err;
}

static int check_streams(const Godwit__Ckpt__Streams *s, struct err *e)
{
	ProtobufCMessage *m = NULL;
	int err = s ? check_within(&godwit__shepherd__streams__descriptor, &s->shepherd, "its streams", &m, e) : 0;

	protobuf_c_message_free_unpacked(m, NULL);
	return err;
}

static int check_job_of(const Godwit__Image__Image *m, struct err *e)
{
	ProtobufCMessage *early;
	int err = check_within(&godwit__ckpt__job__descriptor, &m->job->description, "the description", &early, e);

	if (!err && early) {
		err = job_check((Godwit__Ckpt__Job *)early, NULL, e);
		if (err < 0)
			(void)err_wrap(e, "the description");
	}
	if (!err)
		err = objects_check(m->job, e);
	if (!err && early && m->of == 1)
		err = references_check(m->process, m->job, (Godwit__Ckpt__Job *)early, e);
	protobuf_c_message_free_unpacked(early, NULL);
	if (!err)
		err = check_begin(&m->job->begin, e);
	return err ? err : check_streams(m->job->streams, e);
}

int core_decode(const struct core *c, Godwit__Image__Image **ret, struct err *e)
{
	const ProtobufCMessageDescriptor *d = &godwit__image__image__descriptor;
	_cleanup_free_ uint8_t *bytes = NULL;
	Godwit__Image__Image *m;
	size_t len;
	int err = core_read(c->fd, c->size, &bytes, &len, e);

	if (err < 0)
		return err;
	err = message_scan(d, bytes, len, SCAN_ROOM, true, e);
	if (err < 0)
		return err_wrap(e, "what the " IMAGE_OWNER " note holds is not a message");
	m = godwit__image__image__unpack(NULL, len, bytes);
	if (!m)
		return err_set(e, -EBADMSG, "what the " IMAGE_OWNER " note holds is not a message");
	err = image_check(m, c->size, c->pid, e);
	if (!err && m->job)
		err = check_job_of(m, e);
	if (err < 0) {
		godwit__image__image__free_unpacked(m, NULL);
		return err;
	}
	*ret = m;
	return 0;
}

int core_chunk(const struct core *c, size_t k, uint8_t *buf, uint8_t *packed, struct err *e)
{
	const Godwit__Image__Chunk *chunk = c->message->chunks[k];
	size_t n;
	int err = chunk->stored ? file_read_at(c->fd, packed, chunk->stored, chunk->offset)
				: file_read_at(c->fd, buf, chunk->bytes, chunk->offset);

	if (err < 0)
		return err_code(e, err, "cannot read page contents");
	if (!chunk->stored)
		return 0;
	n = ZSTD_decompress(buf, chunk->bytes, packed, chunk->stored);
	return ZSTD_isError(n) || n != chunk->bytes ? err_set(e, -EBADMSG, "page contents cannot be decompressed")
						    : 0;
}

/* --- the cell's work --- */

static void answer_open(int sock, struct core *c)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct err e = { 0 };
	size_t len = 0;

	if (!c->message)
		e.code = core_decode(c, &c->message, &e);
	if (!e.code) {
		len = godwit__image__image__get_packed_size(c->message);
		bytes = xmalloc(len + 1);
		(void)godwit__image__image__pack(c->message, bytes);
	}
	cell_answer(sock, &e, bytes, len);
}

static void answer_chunk(int sock, const struct core *c, size_t k, uint8_t *buf, uint8_t *packed)
{
	struct err e = { 0 };

	if (!c->message || k >= c->message->n_chunks)
		e.code = err_set(&e, -EBADMSG, "there are no such page contents");
	else
		e.code = core_chunk(c, k, buf, packed, &e);
	cell_answer(sock, &e, buf, e.code ? 0 : c->message->chunks[k]->bytes);
}

void inside_serve(int sock, void *arg)
{
	_cleanup_free_ uint8_t *buf = xmalloc(IMAGE_CHUNK_MAX), *packed = xmalloc(2 * IMAGE_CHUNK_MAX);
	struct image_cores *cores = arg;
	struct cell_head ask;
	uint8_t *none;

	while (cell_next(sock, 0, &ask, &none)) {
		free(none);
		if (ask.index[0] >= cores->n)
			return;
		if (ask.what == INSIDE_OPEN)
			answer_open(sock, &cores->v[ask.index[0]]);
		else
			answer_chunk(sock, &cores->v[ask.index[0]], ask.index[1], buf, packed);
	}
}
