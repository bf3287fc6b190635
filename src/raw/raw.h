/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_RAW_RAW_H
#define GW_RAW_RAW_H

/*
 * Raw FLIP for programs: messages between addresses and to groups, unreliable. A core without I/O beside RPC's, on
 * the same FLIP.
 *
 * Unreliable means what it says of networks and hosts that fail; a move is neither. What comes back because its
 * receiver is being moved is sent again, until the receiver is somewhere. For that a message is kept for a while
 * after it was sent: RAW_KEPT_US, and RAW_KEPT_MAX bytes of each endpoint at most.
 *
 * Callbacks may run inside any call and must not call back. Time and timers are FLIP's (flip_work).
 */

#include "flip/flip.h"

#define RAW_KEPT_US 2000000u
#define RAW_KEPT_MAX (1u << 20)
/* Messages of an endpoint that are not known to have left: more are refused. */
#define RAW_UNDER_WAY_MAX 1024u
/* Bytes of those that have not left whole, each copy of one to a group counted: likewise. */
#define RAW_SENDING_MAX (256u << 20)
/* The longest message. */
#define RAW_MSG_MAX (16u << 20)
#define RAW_LOCATE_MAX_US 3600000000u

struct raw;
struct raw_ep;

struct raw_ops {
	/* A message for an endpoint; false: its owner cannot take it now, and it is lost. `group`: 0, or to whom
	 * it was sent. */
	bool (*data)(void *ctx, void *owner, uint32_t number, flip_addr src, flip_addr group,
		     const struct flip_data *d);
	/* The message that the owner calls `id` was not delivered, or perhaps not. */
	void (*failed)(void *ctx, void *owner, uint32_t number, uint64_t id, flip_addr dst, enum flip_why why,
		       bool certain);
	/* The address lives elsewhere now. */
	void (*lost)(void *ctx, void *owner, uint32_t number, uint32_t inc);
	/* Is the host trusted? */
	bool (*trusts)(void *ctx, uint32_t loc);
};

struct raw_stats {
	uint64_t sent, received, again, failed, full, strays;
};

enum raw_flag {
	RAW_INVAL = 0x01, /* do not believe the route that is known: locate dst */
	RAW_SAFE = 0x02,  /* not to hosts that are not trusted */
	RAW_GROUP = 0x04, /* dst is a group */
};

struct raw_send {
	uint64_t id;
	flip_addr dst;
	unsigned flags;
	/* Of a group: it is sent once so many others are in it; 0: to whoever is. And to those only that are at
	 * most so many networks away, 0: to all. */
	uint32_t n, hops;
	uint64_t locate_us;
	struct flip_data data; /* no head; the body is referred to */
};

struct raw *raw_new(struct flip *f, const struct raw_ops *ops, void *ctx);
void raw_free(struct raw *r);
const struct raw_stats *raw_stats(const struct raw *r);

/* An endpoint with a fresh address. */
struct raw_ep *raw_ep_new(struct raw *r, void *owner, uint32_t number);
struct raw_ep *raw_ep_find(struct raw *r, const void *owner, uint32_t number);
/* The endpoints of an owner, one after the other; NULL before the first and after the last. */
struct raw_ep *raw_ep_next(struct raw *r, const void *owner, const struct raw_ep *after);
void raw_ep_close(struct raw *r, struct raw_ep *ep);
uint32_t raw_ep_number(const struct raw_ep *ep);
struct flip_ep *raw_ep_flip(const struct raw_ep *ep);

/* Listens on F(private_group), or for what is broadcast if that is null; *ret is the address. -ENOSPC; -EBUSY
 * while it is taken. */
int raw_join(struct raw *r, struct raw_ep *ep, flip_addr private_group, flip_addr *ret) must_check;
void raw_leave(struct raw *r, struct raw_ep *ep, flip_addr group);
/* Ends with `failed` or with nothing. */
void raw_send(struct raw *r, struct raw_ep *ep, const struct raw_send *s, uint64_t now_us);

/* Moving an endpoint, as rpc_ep_take and its kin do: BUSY from here on, and its state as bytes, which are the
 * caller's. */
int raw_ep_take(struct raw *r, struct raw_ep *ep, struct buf **ret_blob) must_check;
int raw_ep_resume(struct raw *r, struct raw_ep *ep, uint64_t now_us) must_check;
/* -EBADMSG, -EEXIST. */
int raw_ep_install(struct raw *r, const void *blob, size_t len, void *owner, uint32_t number,
		   uint64_t now_us) must_check;

/* For people. */
struct raw_ep_info {
	const void *owner;
	uint32_t number, inc;
	flip_addr addr;
	bool busy;
	uint32_t groups, under_way;
};
void raw_each_ep(struct raw *r, void (*fn)(void *ctx, const struct raw_ep_info *info), void *ctx);

#endif
