/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job's way into an image, in two steps, so that it stands still for the first only. image_save takes in what a
 * migration would send and says READY; pages go straight to their place in the image's file, into the page cache.
 * image_keep does what can wait: hashes, the disk, the name.
 *
 * To be compressed, pages are put aside first, in a file without a name beside the image: that they fit on the
 * disk is then certain while the job can still go on, and compressing can wait, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/image.h"
#include "memory/chunk.h"
#include "memory/wire.h"
#include "mover/image.h"
#include "state/file.h"

#define STREAMS_BYTES_MAX (64u << 20)

/* Pages that lie together in the file that they were put aside in. */
struct piece {
	uint32_t space;
	uint64_t start, end, offset;
};

struct saving {
	struct image_writer *w;
	bool taken;
	ProtobufCBinaryData begin; /* the order's */
	/* To be compressed: */
	int fd; /* pages lie here; -1: they go straight into the image */
	uint64_t size;
	struct piece *pieces;
	size_t n, room, last; /* last: where the last question was answered */
};

/* --- taking in --- */

/* Where the image will be; where the file system has no unnamed files, memory has to do. */
static int open_aside(const char *path, struct err *e)
{
	_cleanup_free_ char *parent = xstrdup(path ? path : "");
	char *slash = strrchr(parent, '/');
	int fd;

	/* What is to be sealed is not read back from a file system that may be the user's own work. */
	if (!path) {
		fd = memfd_create("godwit-image", MFD_CLOEXEC);
		return fd < 0 ? err_errno(e, "no memory for the pages") : fd;
	}
	if (slash)
		slash[slash == parent] = '\0';
	fd = open(slash ? parent : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
		fd = memfd_create("godwit-image", MFD_CLOEXEC);
	return fd < 0 ? err_errno(e, "no place for the pages beside %s", path) : fd;
}

static struct piece *note_piece(struct saving *s, uint32_t space, uint64_t start)
{
	struct piece *last = s->n ? &s->pieces[s->n - 1] : NULL;

	if (last && last->space == space && last->end == start)
		return last;
	if (s->n == s->room) {
		s->room = MAX(2 * s->room, (size_t)1024);
		s->pieces = xrealloc(s->pieces, s->room * sizeof *s->pieces);
	}
	s->pieces[s->n] = (struct piece) { space, start, start, s->size };
	return &s->pieces[s->n++];
}

static int put_aside(struct saving *s, uint32_t space, uint64_t start, const uint8_t *bytes, size_t len,
		     struct err *e)
{
	struct piece *p = note_piece(s, space, start);

	p->end += len;
	while (len) {
		ssize_t n = pwrite(s->fd, bytes, len, (off_t)s->size);

		if (n < 0)
			return err_errno(e, "cannot write the image");
		bytes += n;
		len -= (size_t)n;
		s->size += (uint64_t)n;
	}
	return 0;
}

static int put(struct saving *s, uint32_t space, uint64_t start, const uint8_t *bytes, size_t len, struct err *e)
{
	if (s->fd >= 0)
		return put_aside(s, space, start, bytes, len, e);
	return image_put(s->w, space, start, bytes, len, e);
}

/* Without a copy, except of a page that lies across the end of what has come. */
static int take_run(struct mover *m, uint32_t space, uint64_t start, uint64_t len, struct err *e)
{
	uint8_t page[PAGE_BYTES];
	int err = 0;

	while (len && !err) {
		const void *from;
		size_t n;

		err = stream_peek(m->stream, &from, &n, e);
		if (err < 0)
			break;
		n = ALIGN_DOWN(MIN(n, len), (size_t)PAGE_BYTES);
		if (n) {
			err = put(m->to.saving, space, start, from, n, e);
			stream_consume(m->stream, n);
		} else {
			n = PAGE_BYTES;
			err = stream_read(m->stream, page, n, e);
			if (!err)
				err = put(m->to.saving, space, start, page, n, e);
		}
		start += n;
		len -= n;
	}
	return err;
}

static bool run_is_possible(uint64_t start, uint64_t len)
{
	return (start | len) % PAGE_BYTES == 0 && len && len <= CHUNK_PAGES_MAX * PAGE_BYTES && start <= INT64_MAX;
}

/* *ret_end: nothing follows. */
static int take_chunk(struct mover *m, struct extent *runs, bool *ret_end, struct err *e)
{
	uint8_t head[CHUNK_HEAD_LEN], run[CHUNK_RUN_LEN];
	uint32_t n, pages;
	uint64_t bytes = 0;
	int err = stream_read(m->stream, head, sizeof head, e);

	if (err < 0)
		return err;
	n = wire_get_u32(head);
	pages = wire_get_u32(head + 4);
	if (n > CHUNK_RUNS_MAX || pages > CHUNK_PAGES_MAX || wire_get_u32(head + 12))
		return err_set(e, -EPROTO, "the source sent an impossible chunk of pages");
	*ret_end = !n;
	for (uint32_t i = 0; i < n; i++) {
		err = stream_read(m->stream, run, sizeof run, e);
		if (err < 0)
			return err;
		runs[i] = (struct extent) { wire_get_u64(run), wire_get_u64(run + 8) };
		if (!run_is_possible(runs[i].start, runs[i].end))
			return err_set(e, -EPROTO, "the source sent an impossible run of pages");
		bytes += runs[i].end;
	}
	if (bytes != pages * PAGE_BYTES)
		return err_set(e, -EPROTO, "the source sent a chunk whose runs do not add up");
	m->stats.pages += pages;
	m->stats.bytes += bytes;
	for (uint32_t i = 0; i < n && !err; i++)
		err = take_run(m, wire_get_u32(head + 8), runs[i].start, runs[i].end, e);
	return err;
}

static int take_pages(struct mover *m, struct err *e)
{
	/* start, and length instead of end */
	_cleanup_free_ struct extent *runs = xcalloc(CHUNK_RUNS_MAX, sizeof *runs);
	bool end = false;
	int err = 0;

	while (!err && !end)
		err = take_chunk(m, runs, &end, e);
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
static void complete(struct mover *m)
{
	Godwit__Ckpt__Job *job = m->to.final;

	job->description.len = godwit__ckpt__job__get_packed_size(m->to.early);
	job->description.data = xmalloc(job->description.len);
	(void)godwit__ckpt__job__pack(m->to.early, job->description.data);
	job->begin = m->to.saving->begin;
	m->to.saving->begin = (ProtobufCBinaryData) { 0 };
}

static int write_image(struct mover *m, struct err *e)
{
	struct saving *s = m->to.saving;
	_cleanup_free_ struct image_extent *x = xcalloc(s->n + 1, sizeof *x);
	const Godwit__Ckpt__Memory *early = m->to.early->processes[0]->memory;
	const Godwit__Ckpt__Job *job = m->to.final;
	struct image_process p = { .process = job->processes[0], .parent = 1 };
	int err;

	if (early->vdso_image.len && early->vdso_image.len == job->processes[0]->memory->vdso_len)
		p.vdso = early->vdso_image.data;
	if (s->fd >= 0) {
		p.extents = x;
		p.n_extents = extents_of(s, x);
		p.source = give_pages;
		p.arg = s;
		err = image_add(s->w, job, &p, e);
	} else {
		err = image_end(s->w, job, &p, e);
	}
	return err ? err : image_commit(s->w, e);
}

/* --- save --- */

static int receive(struct mover *m, struct file_parts *kept, struct file_parts *late, struct err *e)
{
	struct file_io io = frame_file_io(m);
	int err = stream_accept(m->to.listener, m->to.key, m->to.sealed, STREAM_NEVER, m->control, &m->stream, e);

	if (!err)
		err = take_job(m, FRAME_DESCRIPTION, &m->to.early, e);
	if (!err)
		file_image_note(m->to.early);
	if (!err)
		err = file_image_fetch(m->to.early, &io, kept, e);
	if (!err)
		err = stream_send_msg(m->stream, FRAME_PREPARED, NULL, e);
	if (!err)
		err = take_job(m, FRAME_CHECKPOINT, &m->to.final, e);
	if (!err)
		err = file_image_pull(&io, late, e);
	if (!err && m->to.saving->fd < 0)
		err = image_begin(m->to.saving->w, m->to.final->processes[0]->pid, e);
	return err ? err : take_pages(m, e);
}

/* Whoever has the key is procd. */
static int ask_word(void *arg, const uint8_t digest[IMAGE_DIGEST_LEN], uint8_t ret_id[IMAGE_SEAL_ID_LEN],
		    uint8_t ret_word[IMAGE_WORD_LEN], struct err *e)
{
	Godwit__Mover__MoverMessage out = GODWIT__MOVER__MOVER_MESSAGE__INIT, *in = NULL;
	Godwit__Mover__ImageSeal ask = GODWIT__MOVER__IMAGE_SEAL__INIT;
	struct mover *m = arg;
	int err;

	ask.digest = (ProtobufCBinaryData) { IMAGE_DIGEST_LEN, (uint8_t *)(uintptr_t)digest };
	out.kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_UNSEALED;
	out.unsealed = &ask;
	err = control_send(m, &out, e);
	if (!err)
		err = control_receive(m, &in, e);
	if (err < 0)
		return err;
	if (in->kind_case != GODWIT__MOVER__MOVER_MESSAGE__KIND_SEALED) {
		err = err_set(e, -ECANCELED, "the checkpoint was given up");
	} else if (in->sealed->id.len != IMAGE_SEAL_ID_LEN || in->sealed->word.len != IMAGE_WORD_LEN) {
		err = err_set(e, -ENOKEY, "the process server has no seal for it; its log says why");
	} else {
		memcpy(ret_id, in->sealed->id.data, IMAGE_SEAL_ID_LEN);
		memcpy(ret_word, in->sealed->word.data, IMAGE_WORD_LEN);
	}
	godwit__mover__mover_message__free_unpacked(in, NULL);
	return err;
}

static int save(struct mover *m, const Godwit__Mover__Save *ask, struct err *e)
{
	unsigned flags = (ask->replace ? IMAGE_REPLACE : 0) | (ask->compress ? IMAGE_COMPRESS : 0) |
			 (ask->update ? IMAGE_UPDATE : 0) | (ask->seal ? IMAGE_SEAL : 0);
	struct file_parts kept = { 0 }, late = { 0 };
	struct saving *s = m->to.saving;
	int err = image_create(ask->path, flags, ask->name, ask->host, &s->w, e);

	if (err < 0)
		return err;
	if (*ask->parent)
		image_share(s->w, ask->parent);
	image_seal_by(s->w, ask_word, m);
	if (ask->compress) {
		s->fd = open_aside(ask->seal ? NULL : ask->path, e);
		if (s->fd < 0)
			return s->fd;
	}
	s->begin = copy_bytes(&ask->begin);
	err = receive(m, &kept, &late, e);
	if (err < 0)
		return err;
	complete(m);
	m->to.final->contents = kept.list;
	m->to.final->n_contents = kept.n;
	m->to.final->late = late.list;
	m->to.final->n_late = late.n;
	s->taken = true;
	return 0;
}

int image_save(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
	       struct err *e)
{
	Godwit__Mover__Ready *ready;
	int err;

	if (m->to.listener < 0 || m->to.saving)
		return err_set(e, -EPROTO, "not the time to save");
	m->to.d.proc = m->to.d.pidfd = -EBADF;
	m->to.saving = xcalloc(1, sizeof *m->to.saving);
	m->to.saving->fd = -EBADF;
	err = save(m, in->save, e);
	if (err < 0 && err != -ECANCELED)
		frame_fail(m, e);
	if (err < 0) {
		image_save_done(m);
		return err;
	}
	ready = xmalloc(sizeof *ready);
	godwit__mover__ready__init(ready);
	ready->pages = m->stats.pages;
	ready->bytes = m->stats.bytes;
	out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_READY;
	out->ready = ready;
	return stream_send_msg(m->stream, FRAME_READY, &ready->base, e);
}

/* --- keep --- */

static int take_streams(struct mover *m, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct stat st;
	ssize_t n;

	if (!m->n_came)
		return 0;
	if (fstat(m->came[0], &st) < 0)
		return err_errno(e, "cannot look at the job's streams");
	if (st.st_size > STREAMS_BYTES_MAX)
		return err_set(e, -EFBIG, "the job's streams hold %lld bytes", (long long)st.st_size);
	bytes = xmalloc((size_t)st.st_size + 1);
	n = pread(m->came[0], bytes, (size_t)st.st_size, 0);
	if (n < 0)
		return err_errno(e, "cannot read the job's streams");
	m->to.final->streams = godwit__ckpt__streams__unpack(NULL, (size_t)n, bytes);
	return m->to.final->streams ? 0 : err_set(e, -EPROTO, "the job's streams are damaged");
}

int image_keep(struct mover *m, const Godwit__Mover__MoverMessage *in, Godwit__Mover__MoverMessage *out,
	       struct err *e)
{
	int err;

	(void)in;
	if (!m->to.saving || !m->to.saving->taken)
		return err_set(e, -EPROTO, "not the time to keep");
	m->to.saving->taken = false;
	err = take_streams(m, e);
	if (!err)
		err = write_image(m, e);
	if (!err) {
		out->kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_KEPT;
		out->kept = xmalloc(sizeof *out->kept);
		godwit__mover__kept__init(out->kept);
		out->kept->written = image_written(m->to.saving->w);
	}
	image_save_done(m);
	return err;
}

void image_save_done(struct mover *m)
{
	struct saving *s = m->to.saving;

	if (!s)
		return;
	image_writer_free(s->w);
	fd_close(&s->fd);
	free(s->begin.data);
	free(s->pieces);
	free(s);
	m->to.saving = NULL;
}
