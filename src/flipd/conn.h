/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FLIPD_CONN_H
#define GW_FLIPD_CONN_H

/* A connection of a local program: private to local.c and travel.c. */

#include "flipd/flipd.h"

struct out_frame {
	STAILQ_ENTRY(out_frame) next;
	uint8_t head[FRAME_HDR_LEN + GW_HOST_MAX];
	size_t head_len, at;
	struct buf *buf;
	size_t off, len;
};

struct conn {
	LIST_ENTRY(conn) list;
	struct flipd *d;
	uv_poll_t poll;
	int fd;
	struct user *user;
	uid_t uid;
	gid_t gid;
	bool greeted, doomed, writing;
	bool over;     /* the payload that comes is beyond its user's quota: read and dropped */
	bool arriving; /* for a program that moves here: nothing is heard of it yet */
	bool arrived;
	bool gone;	     /* its program has closed it while it was leased */
	struct conn *lessee; /* it is travelling, in the care of that one; itself: of whoever comes */
	bool committed;	     /* the care does not end with who took it */
	bool deciding;	     /* nor at once: he may have come as far as that, and the next one knows */
	struct timer patience;
	uint64_t inode;
	bool tracing;
	uint32_t untraced; /* packets that it has not been told of, since it does not keep up */
	uint64_t token;	   /* what its arrival is known by */
	size_t n_eps, n_calls;
	STAILQ_HEAD(, out_frame) out;
	size_t out_bytes;
	/* A frame that has begun: its header, and its payload as far as it has come. */
	uint8_t head[FRAME_HDR_LEN];
	size_t head_len;
	struct frame frame;
	struct buf *payload;
	size_t payload_len;
};

/* Marks it; it is closed when the cores are done. */
void conn_doom(struct conn *c, const char *why);
/* Looks again at what it waits for: nothing at all while it travels. */
void conn_poll(struct conn *c);
/* May it open one more endpoint, with this number? */
bool conn_may_open(const struct conn *c, uint32_t number);
/* Whose it is from now on. */
void conn_become(struct conn *c, uid_t uid, gid_t gid);
/* It has so many endpoints more, or less. */
void conn_count_ep(struct conn *c, int n);
void conn_done(struct conn *c, uint64_t id, int status, struct buf *payload);
void conn_answer(struct conn *c, const struct frame *f, const struct rpc_body *body);
/* Bytes that its program has sent. */
void conn_input(struct conn *c, const uint8_t *p, size_t n);
/* Reads and does whatever its program has sent up to now. */
void conn_drain(struct conn *c);
/* Bytes for its program, as they are. */
void conn_output(struct conn *c, const void *data, size_t len);

/* --- local_raw.c: raw FLIP --- */

/* FRAME_RAW_*; `body` is the payload. */
void raw_frame(struct conn *c, const struct frame *f, const struct rpc_body *body);
/* The connection is closed. */
void raw_conn_gone(struct conn *c);

/* --- travel.c: a program's connection goes along when the program moves --- */

/* FRAME_CONN_*; `body` is the payload. Each is answered by DONE. */
void travel_frame(struct conn *c, const struct frame *f, const struct rpc_body *body);
/* The connection is about to be closed. True if it has to stay a while, since somebody takes care of it. */
bool travel_keeps(struct conn *c);
/* Whoever took care of others has gone. */
void travel_lessee_gone(struct conn *c);

#endif
