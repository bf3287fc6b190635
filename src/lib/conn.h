/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_LIB_CONN_H
#define GW_LIB_CONN_H

/* Private to client.c and conn.c: a connection to flipd. */

#include <sys/queue.h>

#include "base/htab.h"
#include "lib/client.h"
#include "lib/frame.h"

struct service;
struct chunk;

struct gwc {
	int fd;
	const struct gwc_ops *ops;
	void *user;
	bool dead;
	bool blocking, interrupted;
	uint64_t id;
	uint32_t endpoint;
	struct htab calls;
	LIST_HEAD(, service) services;
	STAILQ_HEAD(, chunk) queue;
	size_t queued;
	/* The frame that is being read: its header, then header and payload together. */
	uint8_t *in;
	size_t in_len, in_cap, in_at;
	/* Of a long one whose data are put where somebody wants them, all that comes before is in `in`. */
	struct direct {
		uint8_t *to; /* NULL: it is not such a one */
		size_t room, skip, got;
		struct frame frame;
	} direct;
};

/* Of a frame: all of it at p or, if `direct` is set, only what comes before the data, which are there. */
struct payload {
	const uint8_t *p;
	size_t len;
	const uint8_t *direct;
};

static inline const uint8_t *payload_data(const struct payload *load, size_t skip)
{
	return load->direct ? load->direct : load->p + skip;
}

void conn_init(struct gwc *c);
/* Gives up what waits to be written, and the buffers. */
void conn_done(struct gwc *c);

/* client.c: a frame has arrived, and the connection is lost (-ECONNRESET). */
void conn_frame(struct gwc *c, const struct frame *f, const struct payload *load);
int conn_die(struct gwc *c);

#endif
