/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Page contents of one process on their way into its core file.
 *
 * They come in any order, once, while the job is stopped, and go at once to where they will stay: behind each
 * other, in the order of their coming. Only what comes is written; all else waits until the job runs again. Where
 * each piece lies is kept, sorted at the end, and becomes the list of chunks.
 *
 * The hashes of the pages are worked out from the file, which is in the page cache, while the disk is busy with
 * it: each stretch is handed to the disk, then looked at. What is compressed, or goes into a file that is there
 * (update.c), is hashed on its way in.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "image/private.h"

/* Contents that are apart by less keep their distance in the file: a hole costs nothing, a segment does. */
#define GAP_MAX (1u << 20)
#define ZSTD_LEVEL 1
/* Handed to the disk at a time: more than it can write while they are hashed. */
#define WRITE_OUT_BYTES (8u << 20)
/* Threads that hash, and from how much on it takes more than one. */
#define PARTS_MAX 4u
#define PART_CHUNKS_MIN 128u

int file_write_at(int fd, const void *buf, size_t len, uint64_t at)
{
	const uint8_t *from = buf;

	while (len) {
		ssize_t n = pwrite(fd, from, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		from += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int file_read_at(int fd, void *buf, size_t len, uint64_t at)
{
	uint8_t *to = buf;

	while (len) {
		ssize_t n = pread(fd, to, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EBADMSG;
		to += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

void contents_done(struct contents *c)
{
	free(c->pieces);
	free(c->hashes);
	free(c->packed);
	free(c->frame);
	(void)ZSTD_freeCCtx(c->zstd);
	update_free(c->update);
	*c = (struct contents) { .fd = -EBADF };
}

void contents_init(struct contents *c, int fd, bool compress)
{
	*c = (struct contents) { .fd = fd, .end = IMAGE_PAGE, .compress = compress };
	if (!compress)
		return;
	c->packed = xmalloc(ZSTD_compressBound(IMAGE_CHUNK_MAX));
	c->zstd = ZSTD_createCCtx();
}

int contents_write(struct contents *c, const void *buf, size_t len, uint64_t at)
{
	int err = file_write_at(c->fd, buf, len, at);

	if (!err && c->frame)
		frame_hash_add(c->frame, buf, len, at);
	return err;
}

/* --- pieces --- */

static struct piece *add_piece(struct contents *c, uint32_t space, uint64_t start, size_t len)
{
	if (c->n == c->room) {
		c->room = MAX(2 * c->room, (size_t)1024);
		c->pieces = xrealloc(c->pieces, c->room * sizeof *c->pieces);
	}
	c->pieces[c->n] = (struct piece) {
		.space = space, .start = start, .end = start + len, .offset = c->end, .hash = c->n_hashes
	};
	return &c->pieces[c->n++];
}

/* Runs of pages that are not zero. */
static int write_sparse(struct contents *c, const uint8_t *buf, size_t len, uint64_t at)
{
	size_t from = 0;
	int err = 0;

	while (from < len && !err) {
		size_t to = from;

		if (page_is_zero(buf + from)) {
			from += IMAGE_PAGE;
			continue;
		}
		while (to < len && !page_is_zero(buf + to))
			to += IMAGE_PAGE;
		err = file_write_at(c->fd, buf + from, to - from, at + from);
		c->written += to - from;
		from = to;
	}
	return err;
}

static void add_hashes(struct contents *c, const uint8_t *bytes, size_t len)
{
	if (c->n_hashes + len / IMAGE_PAGE > c->hash_room) {
		c->hash_room = MAX(2 * c->hash_room, c->n_hashes + len / IMAGE_PAGE);
		c->hashes = xrealloc(c->hashes, c->hash_room * IMAGE_HASH_LEN);
	}
	for (size_t at = 0; at < len; at += IMAGE_PAGE)
		page_hash(bytes + at, c->hashes + IMAGE_HASH_LEN * c->n_hashes++);
}

static int put_plain(struct contents *c, uint32_t space, uint64_t start, const uint8_t *bytes, size_t len)
{
	struct piece *last = c->n ? &c->pieces[c->n - 1] : NULL;
	uint64_t at;

	if (last && last->space == space && last->end == start) {
		last->end += len;
	} else {
		if (last && last->space == space && start > last->end && start - last->end < GAP_MAX)
			c->end += start - last->end;
		(void)add_piece(c, space, start, len);
	}
	if (c->frame)
		add_hashes(c, bytes, len);
	at = c->end;
	c->end += len;
	return write_sparse(c, bytes, len, at);
}

/* One frame of its own; what is compressed comes in order. */
static int put_packed(struct contents *c, uint32_t space, uint64_t start, const uint8_t *bytes, size_t len)
{
	size_t packed = ZSTD_compressCCtx(c->zstd, c->packed, ZSTD_compressBound(len), bytes, len, ZSTD_LEVEL);
	struct piece *p;
	int err;

	if (ZSTD_isError(packed))
		return -EIO;
	p = add_piece(c, space, start, len);
	p->stored = packed;
	add_hashes(c, bytes, len);
	c->written += packed;
	err = contents_write(c, c->packed, packed, c->end);
	c->end += packed;
	return err;
}

/* Notes where a page is; true if it has to be written there. */
static bool place_page(struct contents *c, uint32_t space, uint64_t start, const uint8_t *page,
		       uint64_t *ret_offset)
{
	struct piece *last = c->n ? &c->pieces[c->n - 1] : NULL;
	size_t hash = c->n_hashes;
	uint64_t next = 0;
	bool is_there;

	add_hashes(c, page, IMAGE_PAGE);
	if (last && last->space == space && last->end == start)
		next = last->offset + (last->end - last->start);
	is_there = update_has(c->update, space, start, c->hashes + hash * IMAGE_HASH_LEN, ret_offset);
	if (!is_there)
		*ret_offset = update_take(c->update, next);
	if (next && *ret_offset == next) {
		last->end += IMAGE_PAGE;
	} else {
		last = add_piece(c, space, start, IMAGE_PAGE);
		last->offset = *ret_offset;
		last->hash = hash;
	}
	return !is_there;
}

/* Pages that the file does not have yet, in runs. Zero ones, too: its free places may hold anything. */
static int put_changed(struct contents *c, uint32_t space, uint64_t start, const uint8_t *bytes, size_t len)
{
	uint64_t run_at = 0, at;
	size_t run = 0, run_len = 0;
	int err = 0;

	for (size_t i = 0; i < len && !err; i += IMAGE_PAGE) {
		bool writes = place_page(c, space, start + i, bytes + i, &at);

		if (writes && run_len && run + run_len == i && run_at + run_len == at) {
			run_len += IMAGE_PAGE;
			continue;
		}
		if (!writes)
			continue;
		err = run_len ? file_write_at(c->fd, bytes + run, run_len, run_at) : 0;
		c->written += run_len;
		run = i;
		run_at = at;
		run_len = IMAGE_PAGE;
	}
	if (!err && run_len)
		err = file_write_at(c->fd, bytes + run, run_len, run_at);
	c->written += run_len;
	return err;
}

uint64_t contents_room(struct contents *c, uint64_t len)
{
	uint64_t at = 0;

	if (c->update)
		return update_room(c->update, len);
	at = ALIGN_UP(c->end, (uint64_t)IMAGE_PAGE);
	c->end = at + len;
	return at;
}

int contents_put(struct contents *c, uint32_t space, uint64_t start, const void *bytes, size_t len, struct err *e)
{
	int err;

	if (!len || (start | len) % IMAGE_PAGE || start > INT64_MAX || (c->compress && len > IMAGE_CHUNK_MAX))
		return err_set(e, -EINVAL, "page contents that are not whole pages");
	if (c->update)
		err = put_changed(c, space, start, bytes, len);
	else
		err = c->compress ? put_packed(c, space, start, bytes, len)
				  : put_plain(c, space, start, bytes, len);
	return err < 0 ? err_code(e, err, "cannot write page contents") : 0;
}

/* --- chunks --- */

static int by_place(const void *pa, const void *pb)
{
	const struct piece *a = pa, *b = pb;

	if (a->space != b->space)
		return a->space < b->space ? -1 : 1;
	return a->start < b->start ? -1 : a->start > b->start;
}

static int sort_pieces(struct contents *c, struct err *e)
{
	qsort(c->pieces, c->n, sizeof *c->pieces, by_place);
	for (size_t i = 1; i < c->n; i++) {
		const struct piece *a = &c->pieces[i - 1], *b = &c->pieces[i];

		if (a->space == b->space && a->end > b->start)
			return err_set(e, -EINVAL, "page contents at %#llx came twice",
				       (unsigned long long)b->start);
	}
	return 0;
}

static size_t count_chunks(const struct contents *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += (c->pieces[i].end - c->pieces[i].start + IMAGE_CHUNK_MAX - 1) / IMAGE_CHUNK_MAX;
	return n;
}

static Godwit__Image__Chunk *new_chunk(const struct piece *p, uint64_t start, size_t len)
{
	Godwit__Image__Chunk *k = xmalloc(sizeof *k);

	godwit__image__chunk__init(k);
	k->space = p->space;
	k->start = start;
	k->bytes = len;
	k->offset = p->offset + (start - p->start);
	k->stored = p->stored;
	return k;
}

int contents_list(struct contents *c, Godwit__Image__Image *m, struct err *e)
{
	size_t n = count_chunks(c);
	int err = sort_pieces(c, e);

	if (err < 0)
		return err;
	if (n > IMAGE_CHUNKS_MAX)
		return err_set(e, -E2BIG, "too many pieces of memory");
	m->chunks = xcalloc(n + 1, sizeof(*m->chunks));
	for (size_t i = 0; i < c->n; i++) {
		const struct piece *p = &c->pieces[i];

		for (uint64_t at = p->start; at < p->end; at += IMAGE_CHUNK_MAX)
			m->chunks[m->n_chunks++] =
				new_chunk(p, at, (size_t)MIN(p->end - at, (uint64_t)IMAGE_CHUNK_MAX));
	}
	return 0;
}

int contents_get(const struct contents *c, const Godwit__Image__Image *m, uint64_t start, void *page)
{
	size_t low = 0, high = m->n_chunks;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const Godwit__Image__Chunk *k = m->chunks[mid];

		if (!k->space && k->start + k->bytes <= start)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == m->n_chunks || m->chunks[low]->space || m->chunks[low]->start > start || m->chunks[low]->stored)
		return -ENOENT;
	return file_read_at(c->fd, page, IMAGE_PAGE, m->chunks[low]->offset + (start - m->chunks[low]->start));
}

/* --- hashes --- */

/* Zero pages at the very end are a hole behind the end of what was written. */
static int cover_end(const struct contents *c)
{
	off_t size = lseek(c->fd, 0, SEEK_END);

	if (size < 0)
		return -errno;
	return (uint64_t)size < c->end && ftruncate(c->fd, (off_t)c->end) < 0 ? -errno : 0;
}

/* What lies around `at` goes to the disk; an error shows in fsync(), too. */
static void write_out(const struct contents *c, uint64_t at, uint64_t *until)
{
	if (at < *until)
		return;
	(void)sync_file_range(c->fd, (off_t)at, WRITE_OUT_BYTES, SYNC_FILE_RANGE_WRITE);
	*until = at + WRITE_OUT_BYTES;
}

/* Some of the chunks. */
struct part {
	const struct contents *c;
	const Godwit__Image__Image *m;
	size_t from, to;
	uint8_t *hashes; /* of its first page */
	pthread_t thread;
	int err;
};

static void *hash_part(void *arg)
{
	struct part *p = arg;
	_cleanup_free_ uint8_t *buf = xmalloc(IMAGE_CHUNK_MAX);
	uint8_t *to = p->hashes;
	uint64_t written_out = 0;

	for (size_t i = p->from; i < p->to && !p->err; i++) {
		const Godwit__Image__Chunk *k = p->m->chunks[i];

		write_out(p->c, k->offset, &written_out);
		p->err = file_read_at(p->c->fd, buf, k->bytes, k->offset);
		for (size_t at = 0; at < k->bytes && !p->err; at += IMAGE_PAGE, to += IMAGE_HASH_LEN)
			page_hash(buf + at, to);
	}
	return NULL;
}

/* As many parts as this host has processors to look at them: a disk may be faster than one of them. */
static size_t split(const struct contents *c, const Godwit__Image__Image *m, struct part *parts)
{
	size_t n = m->n_chunks < PART_CHUNKS_MIN ? 1 : (size_t)MAX(sysconf(_SC_NPROCESSORS_ONLN), 1L), pages = 0;

	n = MIN(n, (size_t)PARTS_MAX);
	for (size_t i = 0, k = 0; k < n; k++) {
		parts[k] = (struct part) { .c = c,
					   .m = m,
					   .from = i,
					   .to = m->n_chunks * (k + 1) / n,
					   .hashes = c->hashes + pages * IMAGE_HASH_LEN };
		for (; i < parts[k].to; i++)
			pages += m->chunks[i]->bytes / IMAGE_PAGE;
	}
	return n;
}

static int hash_file(struct contents *c, const Godwit__Image__Image *m)
{
	struct part parts[PARTS_MAX];
	size_t n, started = 1;
	int err = cover_end(c);

	if (err < 0)
		return err;
	for (size_t i = 0; i < m->n_chunks; i++)
		c->n_hashes += m->chunks[i]->bytes / IMAGE_PAGE;
	c->hashes = xmalloc(c->n_hashes * IMAGE_HASH_LEN + 1);
	n = split(c, m, parts);
	while (started < n && pthread_create(&parts[started].thread, NULL, hash_part, &parts[started]) == 0)
		started++;
	(void)hash_part(&parts[0]);
	for (size_t i = started; i < n; i++) /* no thread to be had */
		(void)hash_part(&parts[i]);
	for (size_t i = 1; i < started; i++)
		(void)pthread_join(parts[i].thread, NULL);
	for (size_t i = 0; i < n && !err; i++)
		err = parts[i].err;
	return err;
}

/* Into the order of the chunks. Pieces are sorted as they are. */
static void order_hashes(struct contents *c)
{
	uint8_t *ordered = xmalloc(c->n_hashes * IMAGE_HASH_LEN + 1), *to = ordered;

	for (size_t i = 0; i < c->n; i++) {
		const struct piece *p = &c->pieces[i];
		size_t len = (p->end - p->start) / IMAGE_PAGE * IMAGE_HASH_LEN;

		memcpy(to, c->hashes + p->hash * IMAGE_HASH_LEN, len);
		to += len;
	}
	free(c->hashes);
	c->hashes = ordered;
}

int contents_hashes(struct contents *c, Godwit__Image__Image *m, struct err *e)
{
	struct contents_hash h;
	size_t n = 0;
	int err = 0;

	if (c->compress || c->update || c->frame)
		order_hashes(c);
	else
		err = hash_file(c, m);
	if (err < 0)
		return err_code(e, err, "cannot read page contents back");
	contents_hash_init(&h);
	for (size_t i = 0; i < m->n_chunks; i++)
		for (uint64_t at = 0; at < m->chunks[i]->bytes; at += IMAGE_PAGE, n++)
			contents_hash_add_page(&h, m->chunks[i]->space, m->chunks[i]->start + at,
					       c->hashes + IMAGE_HASH_LEN * n);
	m->hash.len = IMAGE_HASH_LEN;
	m->hash.data = xmalloc(IMAGE_HASH_LEN);
	contents_hash_end(&h, m->hash.data);
	m->hashes = contents_room(c, n * IMAGE_HASH_LEN);
	err = contents_write(c, c->hashes, n * IMAGE_HASH_LEN, m->hashes);
	return err < 0 ? err_code(e, err, "cannot write the hashes of page contents") : 0;
}
