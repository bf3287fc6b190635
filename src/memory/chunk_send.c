/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/util.h"
#include "memory/chunk.h"
#include "memory/wire.h"

static_assert(CHUNK_HEAD_LEN + CHUNK_PAGES * (CHUNK_RUN_LEN + PAGE_BYTES) <= STREAM_ROOM_MAX,
	      "a chunk fits a record");

/* An untouched first word settles it for nearly every page that holds something. */
static bool is_zero(const uint8_t *page)
{
	uint64_t first;

	memcpy(&first, page, sizeof first);
	return !first && !memcmp(page, page + 8, PAGE_BYTES - 8);
}

static int read_object(const struct chunk_writer *w, uint8_t *to)
{
	for (uint32_t i = 0; i < w->n_runs; i++) {
		size_t len = w->run[i].end - w->run[i].start;

		memcpy(to, w->pending_object->map + w->run[i].start, len);
		to += len;
	}
	return 0;
}

static int read_process(const struct chunk_writer *w, uint8_t *to, struct err *e)
{
	struct iovec local = { to, w->n_pages * PAGE_BYTES }, there[CHUNK_PAGES];
	ssize_t n;

	for (uint32_t i = 0; i < w->n_runs; i++) {
		there[i].iov_base = (void *)(uintptr_t)w->run[i].start;
		there[i].iov_len = w->run[i].end - w->run[i].start;
	}
	n = process_vm_readv(w->source->pid, &local, 1, there, w->n_runs, 0);
	if (n == (ssize_t)local.iov_len)
		return 0;
	if (n < 0)
		return err_errno(e, "reading the memory of process %d", w->source->pid);
	return err_set(e, -EFAULT, "a page of process %d cannot be read (%zd of %zu bytes from %llx)",
		       w->source->pid, n, local.iov_len, (unsigned long long)w->run[0].start);
}

/* Pages behind PROT_NONE: the debugger's way in does not ask for permissions. */
static int read_forced(const struct chunk_writer *w, uint8_t *to, struct err *e)
{
	for (uint32_t i = 0; i < w->n_runs; i++) {
		uint64_t at = w->run[i].start;

		while (at < w->run[i].end) {
			ssize_t n = pread(w->source->mem, to, w->run[i].end - at, (off_t)at);

			if (n <= 0)
				return err_errno(e, "reading the protected memory of process %d at %llx",
						 w->source->pid, (unsigned long long)at);
			at += (uint64_t)n;
			to += n;
		}
	}
	return 0;
}

/* Drops the zero pages out of the runs and closes the gaps. Returns the number of pages left. */
static uint32_t squeeze(struct chunk_writer *w, uint8_t *pages)
{
	struct extents left = { 0 };
	uint8_t *to = pages, *from = pages;

	for (uint32_t i = 0; i < w->n_runs; i++) {
		for (uint64_t at = w->run[i].start; at < w->run[i].end; at += PAGE_BYTES, from += PAGE_BYTES) {
			if (w->pending_skip[i] && is_zero(from))
				continue;
			extents_add(&left, at, at + PAGE_BYTES);
			if (to != from)
				memcpy(to, from, PAGE_BYTES);
			to += PAGE_BYTES;
		}
	}
	memcpy(w->run, left.e, left.n * sizeof *left.e);
	w->n_runs = (uint32_t)left.n;
	extents_done(&left);
	return (uint32_t)((size_t)(to - pages) / PAGE_BYTES);
}

static bool any_zero(const struct chunk_writer *w, const uint8_t *pages)
{
	for (uint32_t i = 0; i < w->n_runs; i++)
		for (uint64_t at = w->run[i].start; at < w->run[i].end; at += PAGE_BYTES, pages += PAGE_BYTES)
			if (w->pending_skip[i] && is_zero(pages))
				return true;
	return false;
}

void chunk_put_head(uint8_t *to, uint32_t n_runs, uint32_t n_pages, uint32_t space)
{
	wire_put_u32(to, n_runs);
	wire_put_u32(to + 4, n_pages);
	wire_put_u32(to + 8, space);
	wire_put_u32(to + 12, 0);
}

void chunk_put_run(uint8_t *to, const struct extent *run)
{
	wire_put_u64(to, run->start);
	wire_put_u64(to + 8, run->end - run->start);
}

static void put_head(const struct chunk_writer *w, uint8_t *to)
{
	chunk_put_head(to, w->n_runs, w->n_pages, w->pending_object ? w->pending_object->id : 0);
	for (uint32_t i = 0; i < w->n_runs; i++)
		chunk_put_run(to + CHUNK_HEAD_LEN + i * CHUNK_RUN_LEN, &w->run[i]);
}

static size_t head_len(const struct chunk_writer *w)
{
	return CHUNK_HEAD_LEN + w->n_runs * CHUNK_RUN_LEN;
}

/* The pages are read straight to where the record will have them. Zero pages, if there are any, are squeezed out
 * afterwards. Runs may have become more by then: the pages move to behind the longer head. */
static int flush_chunk(struct chunk_writer *w, struct err *e)
{
	size_t room, old_head = head_len(w);
	uint8_t *pages;
	void *at;
	int err;

	if (!w->n_pages)
		return 0;
	err = stream_room(w->stream, CHUNK_HEAD_LEN + w->n_pages * (CHUNK_RUN_LEN + PAGE_BYTES), &at, &room, e);
	if (err)
		return err;
	pages = (uint8_t *)at + old_head;
	if (w->pending_object)
		err = read_object(w, pages);
	else
		err = w->pending_readable ? read_process(w, pages, e) : read_forced(w, pages, e);
	if (err)
		return err;
	if (any_zero(w, pages)) {
		uint32_t left = squeeze(w, pages);

		w->stats->zero += w->n_pages - left;
		w->n_pages = left;
		memmove((uint8_t *)at + head_len(w), pages, left * PAGE_BYTES);
	}
	if (w->n_pages) {
		put_head(w, at);
		stream_commit(w->stream, head_len(w) + w->n_pages * PAGE_BYTES);
		w->stats->pages += w->n_pages;
		w->stats->bytes += w->n_pages * PAGE_BYTES;
		if (w->stats->tell)
			w->stats->tell(w->stats->tell_arg, w->stats);
	}
	w->n_runs = w->n_pages = 0;
	return 0;
}

int chunk_send(struct chunk_writer *w, const struct extents *x, struct err *e)
{
	int err = 0;

	if (w->pending_object != w->object || w->pending_readable != w->readable)
		err = flush_chunk(w, e);
	w->pending_object = w->object;
	w->pending_readable = w->readable;
	for (size_t i = 0; i < x->n && !err; i++) {
		for (uint64_t at = x->e[i].start; at < x->e[i].end && !err;) {
			uint64_t left = (x->e[i].end - at) / PAGE_BYTES;
			uint32_t n = (uint32_t)MIN(left, CHUNK_PAGES - w->n_pages);

			w->pending_skip[w->n_runs] = w->skip_zero;
			w->run[w->n_runs++] = (struct extent) { at, at + n * PAGE_BYTES };
			w->n_pages += n;
			at += n * PAGE_BYTES;
			if (w->n_pages == CHUNK_PAGES)
				err = flush_chunk(w, e);
		}
	}
	return err;
}

int chunk_send_end(struct chunk_writer *w, struct err *e)
{
	static const uint8_t end[CHUNK_HEAD_LEN];
	int err = flush_chunk(w, e);

	if (!err)
		err = stream_write(w->stream, end, sizeof end, e);

	return err ? err : stream_flush(w->stream, e);
}
