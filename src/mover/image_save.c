/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job's way into an image. Pages come in the source's order and are put aside in a file without a name; the
 * image wants to know first which there are. Both lie on the file system where the image will be, so that a full
 * disk is noticed while the job can still go on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/image.h"
#include "memory/chunk.h"
#include "memory/wire.h"
#include "mover/image.h"
#include "state/file.h"

/* Pages that lie together in the file. */
struct piece {
	uint32_t space;
	uint64_t start, end, offset;
};

struct saving {
	struct mover *m;
	int fd;
	uint64_t size;
	struct piece *pieces;
	size_t n, room, last; /* last: where the last question was answered */
	struct image_writer *w;
};

/* --- taking in --- */

/* Where the image will be; where the file system has no unnamed files, memory has to do. */
static int open_aside(const char *path, struct err *e)
{
	_cleanup_free_ char *parent = xstrdup(path);
	char *slash = strrchr(parent, '/');
	int fd;

	if (slash)
		slash[slash == parent] = '\0';
	fd = open(slash ? parent : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
		fd = memfd_create("godwit-image", MFD_CLOEXEC);
	return fd < 0 ? err_errno(e, "no place for the pages beside %s", path) : fd;
}

static int put_aside(struct saving *s, size_t len, struct err *e)
{
	while (len) {
		const void *from;
		size_t n;
		ssize_t done;
		int err = stream_peek(s->m->stream, &from, &n, e);

		if (err < 0)
			return err;
		done = pwrite(s->fd, from, MIN(n, len), (off_t)s->size);
		if (done < 0)
			return err_errno(e, "cannot write the image");
		stream_consume(s->m->stream, (size_t)done);
		s->size += (uint64_t)done;
		len -= (size_t)done;
	}
	return 0;
}

static int note_run(struct saving *s, uint32_t space, uint64_t start, uint64_t len, uint64_t *offset,
		    struct err *e)
{
	if ((start | len) % PAGE_BYTES || !len || len > CHUNK_PAGES_MAX * PAGE_BYTES || start > INT64_MAX)
		return err_set(e, -EPROTO, "the source sent an impossible run of pages");
	if (s->n == s->room) {
		s->room = MAX(2 * s->room, (size_t)1024);
		s->pieces = xrealloc(s->pieces, s->room * sizeof *s->pieces);
	}
	s->pieces[s->n++] = (struct piece) { space, start, start + len, *offset };
	*offset += len;
	return 0;
}

/* *ret_end: nothing follows. */
static int take_chunk(struct saving *s, bool *ret_end, struct err *e)
{
	uint8_t head[CHUNK_HEAD_LEN], run[CHUNK_RUN_LEN];
	uint64_t offset = s->size;
	uint32_t runs, pages;
	int err = stream_read(s->m->stream, head, sizeof head, e);

	if (err < 0)
		return err;
	runs = wire_get_u32(head);
	pages = wire_get_u32(head + 4);
	if (runs > CHUNK_RUNS_MAX || pages > CHUNK_PAGES_MAX || wire_get_u32(head + 12))
		return err_set(e, -EPROTO, "the source sent an impossible chunk of pages");
	*ret_end = !runs;
	for (uint32_t i = 0; i < runs && !err; i++) {
		err = stream_read(s->m->stream, run, sizeof run, e);
		if (!err)
			err = note_run(s, wire_get_u32(head + 8), wire_get_u64(run), wire_get_u64(run + 8),
				       &offset, e);
	}
	if (!err && offset - s->size != pages * PAGE_BYTES)
		err = err_set(e, -EPROTO, "the source sent a chunk whose runs do not add up");
	s->m->stats.pages += pages;
	s->m->stats.bytes += pages * PAGE_BYTES;
	return err ? err : put_aside(s, pages * PAGE_BYTES, e);
}

static int take_pages(struct saving *s, struct err *e)
{
	bool end = false;
	int err = 0;

	while (!err && !end)
		err = take_chunk(s, &end, e);
	return err;
}

static int take_job(struct mover *m, enum frame frame, Godwit__Ckpt__Job **ret, struct err *e)
{
	ProtobufCMessage *msg = NULL;
	int err = frame_expect(m, frame, &godwit__ckpt__job__descriptor, &msg, e);

	if (err < 0)
		return err;
	*ret = (Godwit__Ckpt__Job *)msg;
	if ((*ret)->n_processes != 1 || !(*ret)->processes[0]->memory)
		return err_set(e, -EPROTO, "the job has %zu processes", (*ret)->n_processes);
	return 0;
}

/* --- writing --- */

static int by_place(const void *pa, const void *pb)
{
	const struct piece *a = pa, *b = pb;

	if (a->space != b->space)
		return a->space < b->space ? -1 : 1;
	return a->start < b->start ? -1 : a->start > b->start;
}

static size_t extents_of(struct saving *s, struct image_extent *x)
{
	size_t n = 0;

	qsort(s->pieces, s->n, sizeof *s->pieces, by_place);
	for (size_t i = 0; i < s->n; i++) {
		const struct piece *p = &s->pieces[i];

		if (n && x[n - 1].space == p->space && x[n - 1].end == p->start)
			x[n - 1].end = p->end;
		else
			x[n++] = (struct image_extent) { p->space, p->start, p->end };
	}
	return n;
}

static bool is_before(const struct piece *p, uint32_t space, uint64_t start)
{
	return p->space < space || (p->space == space && p->end <= start);
}

/* Questions mostly ascend. */
static int give_pages(void *arg, uint32_t space, uint64_t start, void *buf, size_t len, struct err *e)
{
	struct saving *s = arg;
	uint8_t *to = buf;

	if (s->last && !is_before(&s->pieces[s->last - 1], space, start))
		s->last = 0;
	while (len) {
		const struct piece *p;
		size_t part;

		while (s->last < s->n && is_before(&s->pieces[s->last], space, start))
			s->last++;
		p = &s->pieces[s->last];
		if (s->last == s->n || p->space != space || p->start > start)
			return err_set(e, -EINVAL, "pages that nobody sent");
		part = MIN(len, p->end - start);
		if (pread(s->fd, to, part, (off_t)(p->offset + (start - p->start))) != (ssize_t)part)
			return err_errno(e, "reading what was put aside");
		to += part;
		start += part;
		len -= part;
	}
	return 0;
}

static ProtobufCBinaryData copy_bytes(const ProtobufCBinaryData *b)
{
	ProtobufCBinaryData d = { .len = b->len, .data = xmalloc(b->len + 1) };

	memcpy(d.data, b->data, b->len);
	return d;
}

/* What the message needs besides, so that the image speaks for itself. */
static void complete(struct mover *m, const Godwit__Mover__Save *ask)
{
	Godwit__Ckpt__Job *job = m->to.final;

	job->description.len = godwit__ckpt__job__get_packed_size(m->to.early);
	job->description.data = xmalloc(job->description.len);
	(void)godwit__ckpt__job__pack(m->to.early, job->description.data);
	job->begin = copy_bytes(&ask->begin);
}

static int write_image(struct saving *s, struct err *e)
{
	_cleanup_free_ struct image_extent *x = xcalloc(s->n + 1, sizeof *x);
	const Godwit__Ckpt__Memory *early = s->m->to.early->processes[0]->memory;
	const Godwit__Ckpt__Job *job = s->m->to.final;
	struct image_process p = { .process = job->processes[0],
				   .extents = x,
				   .n_extents = extents_of(s, x),
				   .source = give_pages,
				   .arg = s,
				   .parent = 1 };
	int err;

	if (early->vdso_image.len && early->vdso_image.len == job->processes[0]->memory->vdso_len)
		p.vdso = early->vdso_image.data;
	err = image_add(s->w, job, &p, e);
	return err ? err : image_commit(s->w, e);
}

/* --- all of it --- */

static int receive(struct saving *s, const Godwit__Mover__Save *ask, struct err *e)
{
	struct mover *m = s->m;
	struct file_io io = { .ctx = m, .send = frame_file_send, .recv = frame_file_recv };
	struct file_parts kept = { 0 }, late = { 0 };
	int err = stream_accept(m->to.listener, m->to.key, m->to.sealed, STREAM_NEVER, m->control, &m->stream, e);

	if (!err)
		err = take_job(m, FRAME_DESCRIPTION, &m->to.early, e);
	if (!err)
		err = file_image_fetch(m->to.early, &io, &kept, e);
	if (!err)
		err = stream_send_msg(m->stream, FRAME_PREPARED, NULL, e);
	if (!err)
		err = take_job(m, FRAME_CHECKPOINT, &m->to.final, e);
	if (!err)
		err = file_image_pull(&io, &late, e);
	if (!err)
		err = take_pages(s, e);
	if (err < 0)
		return err;
	complete(m, ask);
	m->to.final->contents = kept.list;
	m->to.final->n_contents = kept.n;
	m->to.final->late = late.list;
	m->to.final->n_late = late.n;
	return 0;
}

static int save(struct saving *s, const Godwit__Mover__Save *ask, struct err *e)
{
	unsigned flags = (ask->replace ? IMAGE_REPLACE : 0) | (ask->compress ? IMAGE_COMPRESS : 0);
	int err = image_create(ask->path, flags, ask->name, ask->host, &s->w, e);

	if (err < 0)
		return err;
	s->fd = open_aside(ask->path, e);
	if (s->fd < 0)
		return s->fd;
	err = receive(s, ask, e);
	return err ? err : write_image(s, e);
}

int image_save(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
	       struct err *e)
{
	struct saving s = { .m = m, .fd = -EBADF };
	Godwit__Mover__Ready *ready;
	int err;

	if (m->to.listener < 0)
		return err_set(e, -EPROTO, "not the time to save");
	m->to.d.proc = m->to.d.pidfd = -EBADF;
	err = save(&s, in->save, e);
	if (err < 0 && err != -ECANCELED)
		frame_fail(m, e);
	image_writer_free(s.w);
	fd_close(&s.fd);
	free(s.pieces);
	if (err < 0)
		return err;
	ready = xmalloc(sizeof *ready);
	godwit__mover__ready__init(ready);
	ready->pages = m->stats.pages;
	ready->bytes = m->stats.bytes;
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_READY;
	out->ready = ready;
	return stream_send_msg(m->stream, FRAME_READY, &ready->base, e);
}
