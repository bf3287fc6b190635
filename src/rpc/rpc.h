/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_RPC_RPC_H
#define GW_RPC_RPC_H

/*
 * RPC: transactions, at most once. A core without I/O, on top of the FLIP core, which it owns.
 *
 * One `struct rpc` is the RPC of one host. Local programs act through the calls below, packets come in through
 * flip_input(rpc_flip(r), ...). After each batch of events call rpc_work, and again at rpc_next(). Callbacks may
 * run inside any call and must not call back.
 *
 * An endpoint belongs to an owner (a connection, say), who gave it a number; callbacks name both.
 */

#include "flip/flip.h"
#include "rpc/header.h"

/* Names a piece of a shared buffer: the user's header and data. */
struct rpc_body {
	struct buf *buf;
	size_t off, len;
};

struct rpc_request {
	uint64_t id;
	flip_addr client;
	uint32_t loc;
	struct gw_port port; /* put-port */
	uint32_t uid, gid;
	struct rpc_body body; /* ref what is kept */
};

struct rpc_ops {
	void (*transmit)(void *ctx, uint32_t loc, const struct iovec *iov, int n);
	uint32_t (*frag)(void *ctx, uint32_t loc); /* see flip_ops */
	/* Can the owner take a request of this size? Otherwise its client is told to try again. */
	bool (*room)(void *ctx, void *owner, size_t len);
	void (*request)(void *ctx, void *owner, uint32_t number, const struct rpc_request *r);
	/* The end of a transaction; a body only with GW_OK. Status RPC_MOVED: it left with its endpoint. */
	void (*reply)(void *ctx, void *owner, uint32_t number, uint64_t cookie, int status,
		      const struct rpc_body *body);
	void (*cancelled)(void *ctx, void *owner, uint64_t id);
	void (*lost)(void *ctx, void *owner, uint32_t number, uint32_t inc);
};

#define RPC_MOVED (-30)

struct rpc_config {
	struct flip_config flip;
	uint64_t answer_us;  /* how soon a request is asked after: RECEIVED */
	uint64_t enquire_us; /* and its server, once it has it */
	uint64_t reply_us;   /* how soon a reply is asked after */
	uint64_t ack_us;     /* how long the acknowledgement of a reply may wait for company */
	uint64_t busy_us;    /* first retry after BUSY; doubles up to busy_max_us */
	uint64_t busy_max_us;
	uint64_t window_us;   /* how long a silent client's window is kept at least */
	unsigned tries;	      /* unanswered questions before a transaction is given up */
	unsigned held_max;    /* requests an endpoint holds */
	unsigned clients_max; /* windows an endpoint keeps */
	unsigned share;	      /* no user of a host gets more than 1/share of either */
};

struct rpc_stats {
	uint64_t requests, replies, duplicates, retries, busy, failures, notfound, full;
};

/* What the bytes of an endpoint that arrives may ask for. Whoever wrote them wrote the names of its ports, and the
 * users that its transactions speak for: neither is true because it says so. */
struct rpc_bounds {
	bool root;	     /* whatever it likes */
	uint32_t uid, gid;   /* else: transactions of this user only, */
	struct gw_port port; /* and of the well-known ports this one at most; of all ports, if it is not null */
};

struct rpc;
struct rpc_ep;

void rpc_config_default(struct rpc_config *c);
struct rpc *rpc_new(const struct rpc_config *c, const struct rpc_ops *ops, void *ctx, uint64_t now_us);
void rpc_free(struct rpc *r);
struct flip *rpc_flip(struct rpc *r);
const struct rpc_stats *rpc_stats(const struct rpc *r);
/* Tells the time: before the calls of a batch. */
void rpc_clock(struct rpc *r, uint64_t now_us);
void rpc_work(struct rpc *r, uint64_t now_us);
uint64_t rpc_next(const struct rpc *r);

/* An endpoint with a fresh address. */
struct rpc_ep *rpc_ep_new(struct rpc *r, uint32_t inc, void *owner, uint32_t number);
/* NULL if the owner has none with this number (any more). */
struct rpc_ep *rpc_ep_find(struct rpc *r, const void *owner, uint32_t number);
/* The owner is done with it: ports close, transactions are dropped. What it has replied is still seen to. Requests
 * that it holds fail at their clients, unless it was taken: then rpc_reply to them still works. */
void rpc_ep_close(struct rpc *r, struct rpc_ep *ep);
/* Closes all that an owner has, and fails all requests that it holds. */
void rpc_owner_gone(struct rpc *r, const void *owner);
/* The endpoints of an owner that are not closed, one after the other; NULL before the first and after the last. */
struct rpc_ep *rpc_ep_next(struct rpc *r, const void *owner, const struct rpc_ep *after);
uint32_t rpc_ep_number(const struct rpc_ep *ep);
flip_addr rpc_ep_addr(const struct rpc_ep *ep);
uint32_t rpc_ep_inc(const struct rpc_ep *ep);

/* Serves a put-port. -EEXIST, -ENOSPC. */
int rpc_serve(struct rpc *r, struct rpc_ep *ep, const struct gw_port *put) must_check;
void rpc_unserve(struct rpc *r, struct rpc_ep *ep, const struct gw_port *put);
/* Answers a request once; takes a reference. -ENOENT if the owner does not hold it. */
int rpc_reply(struct rpc *r, const void *owner, uint64_t id, const struct rpc_body *body);

/* Starts a transaction; takes a reference to the body. `cookie` names it from now on and is unique in the
 * endpoint. */
void rpc_trans(struct rpc *r, struct rpc_ep *ep, uint64_t cookie, const struct gw_port *put, uint32_t uid,
	       uint32_t gid, uint64_t locate_us, const struct rpc_body *body);
/* As gwc_cancel and, with `forget`, gwc_forget. Unknown cookies are ignored. */
void rpc_cancel(struct rpc *r, struct rpc_ep *ep, uint64_t cookie, bool forget);

/* For people: what there is, endpoint by endpoint, and the ports that are served here or cached as served there.
 */
struct rpc_ep_info {
	const void *owner;
	uint32_t number, inc;
	flip_addr addr;
	bool busy, ghost; /* being moved; gone, and still owing something */
	unsigned held, replied, calling, clients, ports;
	/* Of `calling`: no server is known yet; the server has it. Of both sides: longer messages that are on
	 * their way. */
	unsigned locating, waiting, sending;
};
void rpc_each_ep(struct rpc *r, void (*fn)(void *ctx, const struct rpc_ep_info *info), void *ctx);
void rpc_each_port(struct rpc *r,
		   void (*fn)(void *ctx, const struct gw_port *put, flip_addr addr, const void *owner, bool here),
		   void *ctx);

/* Moving an endpoint: lib/client.h tells the story. The blob of rpc_ep_take is the caller's. -EBUSY if taken
 * before, -EOVERFLOW after 2^32 homes. `whole`: its owner moves along with it, so what it holds, under the same
 * ids, and what it has replied are in the blob too, and closing it here fails nobody. */
int rpc_ep_take(struct rpc *r, struct rpc_ep *ep, bool whole, struct buf **ret_blob) must_check;
int rpc_ep_resume(struct rpc *r, struct rpc_ep *ep) must_check;
/* -EBADMSG, -EACCES (more than the bounds allow), -EEXIST. */
int rpc_ep_install(struct rpc *r, const void *blob, size_t len, const struct rpc_bounds *bounds, void *owner,
		   uint32_t number, struct rpc_ep **ret_ep) must_check;

#endif
