/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MEMORY_PUMP_H
#define GW_MEMORY_PUMP_H

#include "memory/chunk.h"

/*
 * Pages from a stopped process to a plain stream without a copy in user space: the agent puts references to them
 * into pipes (vmsplice), from which they are spliced to the socket here. The socket stays ours, so that a wait on
 * it obeys the stream's deadline, and our death leaves the process with nothing but pipes that its agent closes.
 */

#define PUMP_PIPES 8
#define PUMP_PIPE_PAGES 256u
#define PUMP_PAGES (PUMP_PIPES * PUMP_PIPE_PAGES) /* of one round */

struct pump {
	struct remote *remote;
	struct stream *stream;
	struct memory_stats *stats;
	struct batch *b;
	int there[PUMP_PIPES]; /* writing ends, in the process */
	int here[PUMP_PIPES];  /* reading ends */
	uint32_t n_runs, n_pages;
	struct extent run[PUMP_PAGES];
};

/* Makes the pipes. -EMFILE, -ENFILE or -EPERM: the process may not have them; use another way. */
int pump_open(struct pump *p, struct remote *r, struct stream *stream, struct memory_stats *stats,
	      struct err *e) must_check;
/* Sends all of `x`, readable private pages. */
int pump_send(struct pump *p, const struct extents *x, struct err *e) must_check;
/* Sends what is left over. */
int pump_flush(struct pump *p, struct err *e) must_check;
/* Closes the pipes there and here. NULL-safe for a zeroed one; on every way out. */
int pump_close(struct pump *p, struct err *e) must_check;

#endif
