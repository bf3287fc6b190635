/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MEMORY_CHUNK_H
#define GW_MEMORY_CHUNK_H

#include <sys/uio.h>

#include "memory/source.h"
#include "memory/target.h"

/*
 * Page data on the stream: chunks, each of which says where its pages belong. All numbers little-endian.
 *
 *   u32 runs      1..CHUNK_RUNS_MAX; 0: the end of the transfer, nothing follows
 *   u32 pages     of all runs together
 *   u32 space     0: addresses of the process; else the id of a shared object, and offsets in it
 *   u32 coding    0: the pages as they are. Others are refused today
 *   runs times { u64 start, u64 bytes }
 *   the pages
 */

#define CHUNK_HEAD_LEN 16
#define CHUNK_RUN_LEN 16
#define CHUNK_PAGES 64	     /* that we put into one */
#define CHUNK_RUNS_MAX 4096u /* that we take */
#define CHUNK_PAGES_MAX 16384u

/* Gathers pages and sends them chunk by chunk. */
struct chunk_writer {
	const struct mm_snapshot *source;
	struct stream *stream;
	struct memory_stats *stats;
	const struct mm_object *object; /* NULL: private pages */
	bool readable;			/* by process_vm_readv; else through /proc/PID/mem */
	bool skip_zero;			/* the destination's pages are zero already */
	uint32_t n_runs, n_pages;
	struct extent run[CHUNK_PAGES];
	/* what holds for the runs */
	const struct mm_object *pending_object;
	bool pending_readable;
	bool pending_skip[CHUNK_PAGES];
};

/* All of `x`, in chunks; the last one may wait for more. object, readable and skip_zero may change between calls.
 */
int chunk_send(struct chunk_writer *w, const struct extents *x, struct err *e) must_check;
/* The end of the transfer. */
int chunk_send_end(struct chunk_writer *w, struct err *e) must_check;

/* The head of a chunk and of a run in it. */
void chunk_put_head(uint8_t *to, uint32_t n_runs, uint32_t n_pages, uint32_t space);
void chunk_put_run(uint8_t *to, const struct extent *run);

/* A chunk on its way in. */
struct chunk {
	uint32_t n_runs, n_pages, space;
	struct mm_shared *object; /* NULL: the process's own memory */
	struct extent *run;	  /* room for CHUNK_RUNS_MAX */
};

/* Where the next bytes of a chunk go. */
struct chunk_place {
	uint32_t run;
	uint64_t at;
};
/* Describes the next bytes, at most `len`, in at most `max` parts; moves on. Returns how many parts. */
size_t chunk_next_parts(const struct chunk *c, struct chunk_place *p, size_t len, struct iovec *parts, size_t max);

/* Writes the next bytes to where they belong. */
int chunk_write(struct mm_target *t, const struct chunk *c, struct chunk_place *p, const uint8_t *from, size_t len,
		struct err *e) must_check;

/* chunk_direct.c: the pages of a big chunk on a plain stream, read by the process itself into its own memory. */
#define CHUNK_DIRECT_PAGES 128u
int chunk_take_direct(struct mm_target *t, struct stream *stream, const struct chunk *c, struct err *e) must_check;
int chunk_direct_done(struct mm_target *t, struct err *e) must_check;

/* Takes chunks until the end. */
int chunk_receive_all(struct mm_target *t, struct stream *stream, struct memory_stats *stats,
		      struct err *e) must_check;

#endif
