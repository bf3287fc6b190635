/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MEMORY_MEMORY_H
#define GW_MEMORY_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "checkpoint.pb-c.h"
#include "inject/remote.h"
#include "memory/stream.h"

/*
 * The memory of a process on its way. What the regions are is in the checkpoint message (Memory.regions, filled
 * and rebuilt by src/state/mm.c); what is in them flows here, as page data on the stream, moved by a strategy.
 *
 *   source                                        destination
 *   memory_source_new       at check              memory_target_new       when the blank is there
 *   memory_source_describe  the job runs          mm_prepare (state/mm)   regions made, pages populated
 *   strategy->send_before   the job runs          strategy->receive_before  (pre-copy will be here)
 *   memory_source_freeze    the job is stopped    mm_restore              regions corrected
 *   memory_send             after the checkpoint  memory_receive
 *   memory_source_verify    while D finishes      mm_finish               protections, locks, names
 *
 * The two halves of each line meet on the stream; the strategy's name is agreed in the mover's first message.
 */

struct mm_snapshot; /* the source's view of an address space: src/memory/source.c */
struct mm_target;   /* the destination's */

struct memory_stats {
	uint64_t pages; /* whose content was sent */
	uint64_t bytes; /* of page content */
	uint64_t zero;	/* pages found to be all zero and not sent; a pumped page is not looked at */
	uint64_t rounds;
	/* Of the sender, may be NULL: called now and then, while the job is stopped. Must be quick. */
	void (*tell)(void *arg, const struct memory_stats *stats);
	void *tell_arg;
};

/* How page contents travel. One file each; `before` may be NULL. All four return 0 or -errno. */
struct memory_strategy {
	const char *name;
	/* The job runs at the source, the regions exist at the destination. */
	int (*send_before)(struct mm_snapshot *s, struct stream *stream, struct memory_stats *stats,
			   struct err *e);
	int (*receive_before)(struct mm_target *t, struct stream *stream, struct memory_stats *stats,
			      struct err *e);
	/* The job is stopped; the checkpoint message has gone before. */
	int (*send)(struct mm_snapshot *s, struct stream *stream, struct memory_stats *stats, struct err *e);
	int (*receive)(struct mm_target *t, struct stream *stream, struct memory_stats *stats, struct err *e);
};
extern const struct memory_strategy memory_eager;
/* By name; "" and NULL are the default. NULL: there is no such strategy. */
const struct memory_strategy *memory_strategy_find(const char *name);

/* --- the source --- */

/* Looks at /proc/PID (`proc`, a directory descriptor that stays the caller's and must outlive the snapshot). */
int memory_source_new(pid_t pid, int proc, struct mm_snapshot **ret, struct err *e) must_check;
void memory_source_free(struct mm_snapshot *s); /* NULL-safe */

/* Finds mappings, their flags, shared objects and the pages that hold something (source.h) while the job runs: may
 * be stale by the time it returns. src/state/mm.c makes the description of it. */
int memory_source_describe(struct mm_snapshot *s, struct err *e) must_check;
/* The same when every thread is stopped, as cheaply as can be; `r` is the stopped process. */
int memory_source_freeze(struct mm_snapshot *s, struct remote *r, struct err *e) must_check;

/* Sends the pages of the frozen snapshot. The checkpoint message has been sent before. */
int memory_send(struct mm_snapshot *s, const struct memory_strategy *how, struct stream *stream,
		struct memory_stats *stats, struct err *e) must_check;

/* While the destination finishes and before READY is believed: nothing that only a slow look shows (advice, locks)
 * has changed between description and freeze. -EAGAIN with words: undo, and the migration may be tried again. */
int memory_source_verify(struct mm_snapshot *s, struct err *e) must_check;

/* --- the destination --- */

int memory_target_new(struct remote *r, struct mm_target **ret, struct err *e) must_check;
void memory_target_free(struct mm_target *t); /* NULL-safe */

/* Receives the pages and writes them. src/state/mm.c's restore has corrected the regions before; its finish, which
 * sets protections, runs after. */
int memory_receive(struct mm_target *t, const struct memory_strategy *how, struct stream *stream,
		   struct memory_stats *stats, struct err *e) must_check;

#endif
