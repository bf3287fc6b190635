/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/util.h"
#include "memory/chunk.h"
#include "memory/vma.h"
#include "memory/wire.h"

#define IOVS 256

/* Everything that a run says is checked here, before a byte of it is written. */
static int check_run(struct mm_target *t, const struct chunk *c, uint64_t start, uint64_t len, struct err *e)
{
	if ((start | len) % PAGE_BYTES || !len || len > CHUNK_PAGES_MAX * PAGE_BYTES || start > UINT64_MAX - len)
		return err_set(e, -EPROTO, "the source sent an impossible run of pages (%#llx, %llu bytes)",
			       (unsigned long long)start, (unsigned long long)len);
	if (c->object ? start + len > c->object->size : !mm_target_allows(t, start, start + len))
		return err_set(e, -EPROTO, "the source sent pages for %#llx, where none belong",
			       (unsigned long long)start);
	return 0;
}

/* On a plain stream the pages after a head may be read by the process itself: nothing of them may land here. */
static int read_bytes(struct stream *stream, void *buf, size_t len, struct err *e)
{
	return stream_is_sealed(stream) ? stream_read(stream, buf, len, e)
					: stream_read_exact(stream, buf, len, e);
}

static int read_head(struct mm_target *t, struct stream *stream, struct chunk *c, struct err *e)
{
	uint8_t head[CHUNK_HEAD_LEN], *table = (uint8_t *)c->run;
	uint64_t bytes = 0;
	int err = read_bytes(stream, head, sizeof head, e);

	if (err)
		return err;
	c->n_runs = wire_get_u32(head);
	c->n_pages = wire_get_u32(head + 4);
	c->space = wire_get_u32(head + 8);
	if (c->n_runs > CHUNK_RUNS_MAX || c->n_pages > CHUNK_PAGES_MAX || wire_get_u32(head + 12))
		return err_set(e, -EPROTO, "the source sent an impossible chunk of pages");
	c->object = c->space ? mm_target_shared(t, c->space) : NULL;
	if (c->space && !c->object)
		return err_set(e, -EPROTO, "the source sent pages of an unknown object");
	/* The table of runs is decoded where it lies. */
	static_assert(sizeof(struct extent) == CHUNK_RUN_LEN, "a run is as long decoded as it is coded");
	err = read_bytes(stream, table, c->n_runs * CHUNK_RUN_LEN, e);
	if (err)
		return err;
	for (uint32_t i = 0; i < c->n_runs; i++) {
		uint64_t start = wire_get_u64(table + i * CHUNK_RUN_LEN);
		uint64_t len = wire_get_u64(table + i * CHUNK_RUN_LEN + 8);

		err = check_run(t, c, start, len, e);
		if (err)
			return err;
		c->run[i] = (struct extent) { start, start + len };
		bytes += len;
	}
	if (bytes != c->n_pages * PAGE_BYTES)
		return err_set(e, -EPROTO, "the source sent a chunk whose runs do not add up");
	return 0;
}

size_t chunk_next_parts(const struct chunk *c, struct chunk_place *p, size_t len, struct iovec *parts, size_t max)
{
	size_t n = 0;

	for (; n < max && len; n++) {
		size_t part = MIN(c->run[p->run].end - p->at, len);

		parts[n] = (struct iovec) { (void *)(uintptr_t)p->at, part };
		len -= part;
		p->at += part;
		if (p->at == c->run[p->run].end && ++p->run < c->n_runs)
			p->at = c->run[p->run].start;
	}
	return n;
}

static int write_process(const struct mm_target *t, const struct chunk *c, struct chunk_place *p,
			 const uint8_t *from, size_t len, struct err *e)
{
	while (len) {
		struct iovec there[IOVS], here = { (void *)(uintptr_t)from, 0 };
		size_t n = chunk_next_parts(c, p, len, there, IOVS);
		ssize_t done;

		for (size_t i = 0; i < n; i++)
			here.iov_len += there[i].iov_len;
		done = process_vm_writev(t->remote->pid, &here, 1, there, n, 0);
		if (done < 0)
			return err_errno(e, "writing the memory of the job");
		if ((size_t)done != here.iov_len)
			return err_set(e, -EFAULT, "the job's memory could not be written at %p",
				       there[0].iov_base);
		from += done;
		len -= (size_t)done;
	}
	return 0;
}

static void write_object(const struct chunk *c, struct chunk_place *p, const uint8_t *from, size_t len)
{
	while (len) {
		size_t part = MIN(c->run[p->run].end - p->at, len);

		memcpy(c->object->map + p->at, from, part);
		from += part;
		len -= part;
		p->at += part;
		if (p->at == c->run[p->run].end && ++p->run < c->n_runs)
			p->at = c->run[p->run].start;
	}
}

int chunk_write(struct mm_target *t, const struct chunk *c, struct chunk_place *p, const uint8_t *from, size_t len,
		struct err *e)
{
	if (!c->object)
		return write_process(t, c, p, from, len, e);
	write_object(c, p, from, len);
	return 0;
}

static int take_pages(struct mm_target *t, struct stream *stream, const struct chunk *c, struct err *e)
{
	struct chunk_place p = { .run = 0, .at = c->run[0].start };
	size_t left = c->n_pages * PAGE_BYTES;

	while (left) {
		const void *from;
		size_t n;
		int err = stream_peek(stream, &from, &n, e);

		if (err)
			return err;
		n = MIN(n, left);
		err = chunk_write(t, c, &p, from, n, e);
		if (err)
			return err;
		stream_consume(stream, n);
		left -= n;
	}
	return 0;
}

int chunk_receive_all(struct mm_target *t, struct stream *stream, struct memory_stats *stats, struct err *e)
{
	_cleanup_free_ struct extent *run = xmalloc(CHUNK_RUNS_MAX * sizeof *run);
	struct chunk c = { .run = run };

	for (;;) {
		int err = read_head(t, stream, &c, e);

		if (err)
			return err;
		if (!c.n_runs)
			return chunk_direct_done(t, e);
		if (c.n_pages >= CHUNK_DIRECT_PAGES && !c.object && !stream_is_sealed(stream) &&
		    t->agent_sock >= 0)
			err = chunk_take_direct(t, stream, &c, e);
		else
			err = take_pages(t, stream, &c, e);
		if (err)
			return err;
		for (uint32_t i = 0; i < c.n_runs; i++)
			extents_add(c.object ? &c.object->received : &t->received, run[i].start, run[i].end);
		stats->pages += c.n_pages;
		stats->bytes += c.n_pages * PAGE_BYTES;
	}
}
