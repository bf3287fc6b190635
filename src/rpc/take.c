/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving an endpoint: its communication state as bytes.
 *
 *	magic (4) version (2) zero (2)  private address (8)  incarnation (4)  messid (4)  tid (8)
 *	ports (4): put-port (16)
 *	clients (4): address (8)  idle_us (8)  high (8)  window (RPC_WINDOW / 8)  owed (4):
 *		     tid (8)  what (1)  flags (1)  zero (2)  id, or left_us (8)  length (4)  body of the reply
 *	transactions (4): tid (8)  cookie (8)  port (16)  uid (4)  gid (4)  state (1)  flags (1)  zero (2)
 *	                  unsure (4)  dst (8)  locate_us (8)  length (4)  body
 *
 * A transaction of a client that is elsewhere keeps its number, so that its server recognises it. One of a server
 * whose program stays behind stays with it, and is listed as owed, with the time that the old home is given for
 *it. When the endpoint comes back to a host that still owes something, the two become one again. One of a server
 *whose program moves goes along.
 */
#include "rpc/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "base/wire.h"

#define MAGIC 0x47574550u
#define VERSION 2u
#define BLOB_MAX (16u << 20)
#define TRANS_MAX 65536u
#define OWED_MAX 65536u
/* How long the old home is believed to care for what it owes. */
#define ELSEWHERE_US 30000000u

/* The old home still sends what it owes, under the same address: the numbers must not meet. */
#define MESSID_GAP 65536u

enum { T_CANCELLED = 1, T_FORGOTTEN = 2 };
/* What is owed: by an old home, or by the program that comes along; or it is just not acknowledged yet. */
enum { OWED_ELSEWHERE = 0, OWED_HELD = 1, OWED_REPLIED = 2 };

static size_t blob_size(const struct rpc_ep *ep, bool whole)
{
	size_t size = FLIP_EP_HEAD_LEN + 20 + 16 * ep->n_ports + ep->clients.n * (28 + RPC_WINDOW / 8) +
		      24 * ep->n_serves;
	const struct client *c;
	const struct serve *s;
	const struct trans *t;

	TAILQ_FOREACH (t, &ep->trans, by_tid)
		size += 68 + t->body.len;
	TAILQ_FOREACH (c, &ep->client_lru, lru) {
		LIST_FOREACH (s, &c->serves, list)
			size += whole ? s->body.len : 0;
	}
	return size;
}

static void put_serve(struct wire_out *w, const struct rpc *r, const struct serve *s, bool whole)
{
	bool mine = whole && !s->elsewhere;

	wire_put_u64(w, s->tid);
	wire_put_u8(w, !mine ? OWED_ELSEWHERE : s->replied ? OWED_REPLIED : OWED_HELD);
	wire_put_u8(w, s->cancelled ? T_CANCELLED : 0);
	wire_put_u16(w, 0);
	if (mine)
		wire_put_u64(w, s->id);
	else /* Several moves in a row do not make it more. */
		wire_put_u64(w, s->elsewhere ? s->timer.due_us - MIN(s->timer.due_us, r->now_us) : ELSEWHERE_US);
	wire_put_u32(w, mine ? (uint32_t)s->body.len : 0);
	if (mine && s->body.len)
		wire_put_bytes(w, s->body.buf->data + s->body.off, s->body.len);
}

static void put_clients(struct wire_out *w, const struct rpc *r, const struct rpc_ep *ep, bool whole)
{
	const struct client *c;
	const struct serve *s;

	wire_put_u32(w, ep->clients.n);
	/* The least recently heard first: so they are added, and end up in the same order. */
	TAILQ_FOREACH_REVERSE(c, &ep->client_lru, client_lru, lru)
	{
		uint32_t owed = 0;

		wire_put_u64(w, c->addr);
		wire_put_u64(w, r->now_us - c->heard_us);
		wire_put_u64(w, c->window.high);
		for (unsigned i = 0; i < RPC_WINDOW / 64; i++)
			wire_put_u64(w, c->window.bits[i]);
		LIST_FOREACH (s, &c->serves, list)
			owed++;
		wire_put_u32(w, owed);
		LIST_FOREACH (s, &c->serves, list)
			put_serve(w, r, s, whole);
	}
}

static void put_trans(struct wire_out *w, const struct trans *t)
{
	wire_put_u64(w, t->tid);
	wire_put_u64(w, t->cookie);
	wire_put_bytes(w, t->port.bytes, GW_PORT_LEN);
	wire_put_u32(w, t->uid);
	wire_put_u32(w, t->gid);
	wire_put_u8(w, t->state);
	wire_put_u8(w, (t->cancelled ? T_CANCELLED : 0) | (t->forgotten ? T_FORGOTTEN : 0));
	wire_put_u16(w, 0);
	wire_put_u32(w, t->unsure);
	wire_put_u64(w, t->dst);
	wire_put_u64(w, t->locate_us);
	wire_put_u32(w, t->body.len);
	wire_put_bytes(w, t->body.buf->data + t->body.off, t->body.len);
}

int rpc_ep_take(struct rpc *r, struct rpc_ep *ep, bool whole, struct buf **ret_blob)
{
	size_t size = blob_size(ep, whole);
	struct trans *t;
	const struct port *p;
	struct wire_out w;
	struct buf *blob;
	uint32_t n = 0;

	if (ep->taken || ep->closed || ep->flip->state != FLIP_EP_UP)
		return -EBUSY;
	if (size > BLOB_MAX)
		return -EMSGSIZE;
	if (ep->flip->inc == UINT32_MAX) /* it has had its last home */
		return -EOVERFLOW;
	client_flush_acks(r, ep);
	blob = buf_new(size);
	w = wire_out(blob->data, size);
	flip_ep_put(&w, ep->flip, MAGIC, VERSION);
	wire_put_u64(&w, ep->tid);
	wire_put_u32(&w, ep->n_ports);
	LIST_FOREACH (p, &ep->ports, ep_list)
		wire_put_bytes(&w, p->port.bytes, GW_PORT_LEN);
	put_clients(&w, r, ep, whole);
	TAILQ_FOREACH (t, &ep->trans, by_tid)
		n++;
	wire_put_u32(&w, n);
	TAILQ_FOREACH (t, &ep->trans, by_tid)
		put_trans(&w, t);
	if (w.bad || w.len != size) {
		buf_unref(blob);
		return -EOVERFLOW;
	}
	TAILQ_FOREACH (t, &ep->trans, by_tid)
		trans_suspend(r, t);
	if (whole)
		server_suspend(r, ep);
	ep->taken = true;
	ep->whole = whole;
	ep->went |= whole;
	ep->flip->state = FLIP_EP_BUSY;
	*ret_blob = blob;
	return 0;
}

int rpc_ep_resume(struct rpc *r, struct rpc_ep *ep)
{
	struct trans *t, *next;
	bool whole = ep->whole;

	if (!ep->taken || ep->flip->state != FLIP_EP_BUSY)
		return -EINVAL;
	ep->taken = ep->whole = false;
	ep->flip->state = FLIP_EP_UP;
	for (t = TAILQ_FIRST(&ep->trans); t; t = next) {
		next = TAILQ_NEXT(t, by_tid);
		if (t->state == TRANS_LOCATE)
			trans_find_server(r, t);
		else
			trans_poke(r, t);
	}
	if (whole)
		server_go_on(r, ep);
	flip_ep_announce(r->flip, ep->flip, r->now_us);
	return 0;
}

static bool may_serve(const struct rpc_bounds *b, const struct gw_port *put)
{
	if (b->root || !memcmp(put, &b->port, sizeof *put))
		return true;
	return gw_port_is_null(&b->port) && !gw_port_is_well_known(put);
}

static int get_ports(struct wire_in *w, struct rpc *r, struct rpc_ep *ep, const struct rpc_bounds *b)
{
	uint32_t n = wire_get_u32(w);

	for (uint32_t i = 0; i < n && !w->bad; i++) {
		struct gw_port put;

		wire_get_bytes(w, put.bytes, GW_PORT_LEN);
		if (w->bad)
			break;
		if (!may_serve(b, &put))
			return -EACCES;
		if (rpc_port_add(r, ep, &put) < 0)
			return -EBADMSG;
	}
	return w->bad ? -EBADMSG : 0;
}

static int get_serve(struct wire_in *w, struct rpc *r, struct rpc_ep *ep, struct client *c)
{
	uint64_t tid = wire_get_u64(w);
	uint8_t what = wire_get_u8(w), flags = wire_get_u8(w);
	uint16_t zero = wire_get_u16(w);
	uint64_t value = wire_get_u64(w);
	uint32_t len = wire_get_u32(w);
	const uint8_t *body = wire_skip(w, len);
	struct serve *s;

	if (w->bad || zero || what > OWED_REPLIED || (what != OWED_REPLIED && len) ||
	    (what == OWED_REPLIED && (len < RPC_USER_HDR_LEN || len > RPC_USER_HDR_LEN + GW_MSG_MAX)) ||
	    (what == OWED_HELD && (!value || serve_named(r, ep->owner, value))))
		return -EBADMSG;
	s = serve_new(r, ep, c, tid, what == OWED_HELD ? value : 0);
	s->cancelled = flags & T_CANCELLED;
	if (what == OWED_ELSEWHERE) {
		s->elsewhere = true;
		timers_arm(&r->timers, &s->timer, r->now_us + MIN(value, ELSEWHERE_US));
	} else if (what == OWED_HELD) {
		ep->n_held++;
	} else {
		s->replied = true;
		s->body = (struct rpc_body) { .buf = buf_copy(body, len), .len = len };
	}
	return 0;
}

static int get_client(struct wire_in *w, struct rpc *r, struct rpc_ep *ep)
{
	flip_addr addr = wire_get_u64(w);
	uint64_t idle_us = wire_get_u64(w);
	struct client *c;
	uint32_t owed;
	int err = 0;

	if (w->bad || !addr || client_find(ep, addr) || !(c = client_new(r, ep, addr)))
		return -EBADMSG;
	c->heard_us = r->now_us > idle_us ? r->now_us - idle_us : 0;
	c->window.high = wire_get_u64(w);
	for (unsigned i = 0; i < RPC_WINDOW / 64; i++)
		c->window.bits[i] = wire_get_u64(w);
	owed = wire_get_u32(w);
	if (owed > OWED_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < owed && !err; i++)
		err = get_serve(w, r, ep, c);
	return w->bad ? -EBADMSG : err;
}

static int get_trans(struct wire_in *w, struct rpc *r, struct rpc_ep *ep, const struct rpc_bounds *b)
{
	uint64_t tid = wire_get_u64(w), cookie = wire_get_u64(w);
	const struct trans *last = TAILQ_LAST(&ep->trans, trans_queue);
	struct trans *t, head = { 0 };
	struct rpc_body body = { 0 };
	const uint8_t *bytes;
	uint8_t flags;

	wire_get_bytes(w, head.port.bytes, GW_PORT_LEN);
	head.uid = wire_get_u32(w);
	head.gid = wire_get_u32(w);
	head.state = wire_get_u8(w);
	flags = wire_get_u8(w);
	w->bad |= wire_get_u16(w) != 0;
	head.unsure = wire_get_u32(w);
	head.dst = wire_get_u64(w);
	head.locate_us = wire_get_u64(w);
	body.len = wire_get_u32(w);
	bytes = wire_skip(w, body.len);
	if (w->bad || !tid || tid > ep->tid || (last && last->tid >= tid) || head.state < TRANS_LOCATE ||
	    head.state > TRANS_WAIT || body.len < RPC_USER_HDR_LEN || body.len > RPC_USER_HDR_LEN + GW_MSG_MAX ||
	    (head.state != TRANS_LOCATE && !head.dst))
		return -EBADMSG;
	if (!b->root && (head.uid != b->uid || head.gid != b->gid))
		return -EACCES;
	body.buf = buf_copy(bytes, body.len);
	t = trans_new(ep, tid, cookie, &body);
	buf_unref(body.buf);
	t->port = head.port;
	t->uid = head.uid;
	t->gid = head.gid;
	t->state = head.state == TRANS_WAIT ? TRANS_WAIT : TRANS_SEND;
	t->unsure = head.state == TRANS_LOCATE ? 0 : head.unsure;
	t->dst = head.state == TRANS_LOCATE ? 0 : head.dst;
	t->locate_us = MIN(head.locate_us, (uint64_t)3600 * 1000000);
	t->deadline_us = r->now_us + t->locate_us;
	t->cancelled = flags & T_CANCELLED;
	t->forgotten = flags & T_FORGOTTEN;
	return 0;
}

static int get_rest(struct wire_in *w, struct rpc *r, struct rpc_ep *ep, const struct rpc_bounds *b)
{
	uint32_t n;
	int err = get_ports(w, r, ep, b);

	n = err ? 0 : wire_get_u32(w);
	for (uint32_t i = 0; i < n && !err; i++)
		err = get_client(w, r, ep);
	n = err ? 0 : wire_get_u32(w);
	if (n > TRANS_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < n && !err; i++)
		err = get_trans(w, r, ep, b);
	return !err && (w->bad || w->left) ? -EBADMSG : err;
}

/* Transactions under way go on from here. */
static void go_on(struct rpc *r, struct rpc_ep *ep)
{
	struct trans *t, *next;

	for (t = TAILQ_FIRST(&ep->trans); t; t = next) {
		next = TAILQ_NEXT(t, by_tid);
		if (t->dst)
			trans_poke(r, t);
		else
			trans_find_server(r, t);
	}
	server_go_on(r, ep);
}

static void adopt_client(struct rpc *r, struct rpc_ep *ep, struct rpc_ep *ghost, struct client *old)
{
	struct client *c = client_find(ep, old->addr);
	struct serve *s, *next;

	for (s = LIST_FIRST(&old->serves); s; s = next) {
		next = LIST_NEXT(s, list);
		if (c && !s->elsewhere && (s->replied || ghost->owner == ep->owner))
			serve_adopt(r, s, c, ep);
	}
}

/* This host was a home of the endpoint before and still owes replies in its name: they are the new one's from now
 * on, which is who the clients' answers reach. */
static void adopt_ghosts(struct rpc *r, struct rpc_ep *ep)
{
	struct rpc_ep *ghost, *next;
	struct client *c;

	for (ghost = LIST_FIRST(&r->eps); ghost; ghost = next) {
		next = LIST_NEXT(ghost, list);
		if (ghost == ep || ghost->flip->addr != ep->flip->addr)
			continue;
		TAILQ_FOREACH (c, &ghost->client_lru, lru)
			adopt_client(r, ep, ghost, c);
		server_forget_elsewhere(r, ghost);
		if (!ghost->n_serves)
			flip_ep_hide(r->flip, ghost->flip);
		rpc_ep_reap(r, ghost);
	}
}

/* Takes back a half-built endpoint without a word to anyone. */
static void unmake(struct rpc *r, struct rpc_ep *ep)
{
	while (!TAILQ_EMPTY(&ep->trans))
		trans_drop(r, TAILQ_FIRST(&ep->trans));
	while (!TAILQ_EMPTY(&ep->client_lru))
		client_drop(r, ep, TAILQ_FIRST(&ep->client_lru));
	rpc_ep_close(r, ep);
}

int rpc_ep_install(struct rpc *r, const void *blob, size_t len, const struct rpc_bounds *bounds, void *owner,
		   uint32_t number, struct rpc_ep **ret_ep)
{
	struct wire_in w = wire_in(blob, len);
	struct flip_ep *flip;
	struct rpc_ep *ep;
	int err = flip_ep_get(r->flip, &w, MAGIC, VERSION, &flip);

	if (err)
		return err;
	flip->messid += MESSID_GAP;
	ep = rpc_ep_wrap(r, flip, owner, number);
	ep->tid = wire_get_u64(&w);
	err = get_rest(&w, r, ep, bounds);
	if (err) {
		unmake(r, ep);
		return err;
	}
	adopt_ghosts(r, ep);
	flip_ep_announce(r->flip, flip, r->now_us);
	go_on(r, ep);
	*ret_ep = ep;
	return 0;
}
