/* SPDX-License-Identifier: Apache-2.0 */
/* The frame of the RPC core: endpoints, ports, and who gets which message. */
#include "rpc/core.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

static const struct flip_ops flip_ops;

void rpc_config_default(struct rpc_config *c)
{
	*c = (struct rpc_config) {
		.answer_us = 250000,
		.enquire_us = 5000000,
		.reply_us = 200000,
		.ack_us = 20000,
		.busy_us = 2000,
		.busy_max_us = 200000,
		.window_us = 600000000,
		.tries = 10,
		.held_max = 4096,
		.clients_max = 16384,
		.share = 4,
	};
	flip_config_default(&c->flip);
}

struct rpc *rpc_new(const struct rpc_config *c, const struct rpc_ops *ops, void *ctx, uint64_t now_us)
{
	struct rpc *r = xcalloc(1, sizeof(*r));

	r->config = *c;
	r->ops = ops;
	r->ctx = ctx;
	r->now_us = now_us;
	LIST_INIT(&r->eps);
	TAILQ_INIT(&r->port_lru);
	TAILQ_INIT(&r->locating);
	/* Names of requests go along with a program that moves, and must not meet those that are given there. */
	randombytes_buf(&r->serve_id, sizeof(r->serve_id));
	r->serve_id >>= 2;
	r->flip = flip_new(&c->flip, &flip_ops, r, now_us);
	return r;
}

struct flip *rpc_flip(struct rpc *r)
{
	return r->flip;
}

const struct rpc_stats *rpc_stats(const struct rpc *r)
{
	return &r->stats;
}

static uint64_t port_hash(const struct gw_port *p)
{
	uint64_t words[2];

	memcpy(words, p->bytes, sizeof(words));
	return hash_u64(words[0] ^ hash_u64(words[1]));
}

static struct port *port_find(const struct htab *t, const struct gw_port *put, const struct rpc_ep *ep)
{
	for (struct hnode *h = htab_first(t, port_hash(put)); h; h = htab_next(h)) {
		struct port *p = container_of(h, struct port, node);

		if (!memcmp(&p->port, put, sizeof(*put)) && (!ep || p->ep == ep))
			return p;
	}
	return NULL;
}

struct port *rpc_local_port(struct rpc *r, const struct gw_port *put)
{
	struct port *busy = NULL;

	for (struct hnode *h = htab_first(&r->ports, port_hash(put)); h; h = htab_next(h)) {
		struct port *p = container_of(h, struct port, node);

		if (memcmp(&p->port, put, sizeof(*put)) != 0)
			continue;
		if (p->ep->flip->state == FLIP_EP_UP)
			return p;
		busy = p;
	}
	return busy;
}

int rpc_port_add(struct rpc *r, struct rpc_ep *ep, const struct gw_port *put)
{
	struct port *p;

	if (gw_port_is_null(put))
		return -EINVAL;
	if (port_find(&r->ports, put, ep))
		return -EEXIST;
	if (ep->n_ports >= PORTS_PER_EP_MAX)
		return -ENOSPC;
	p = xcalloc(1, sizeof(*p));
	p->port = *put;
	p->ep = ep;
	ep->n_ports++;
	htab_add(&r->ports, &p->node, port_hash(put));
	LIST_INSERT_HEAD(&ep->ports, p, ep_list);
	return 0;
}

int rpc_serve(struct rpc *r, struct rpc_ep *ep, const struct gw_port *put)
{
	return ep->closed ? -ENOENT : rpc_port_add(r, ep, put);
}

static void port_drop(struct rpc *r, struct port *p)
{
	p->ep->n_ports--;
	htab_del(&r->ports, &p->node);
	LIST_REMOVE(p, ep_list);
	free(p);
}

void rpc_unserve(struct rpc *r, struct rpc_ep *ep, const struct gw_port *put)
{
	struct port *p = port_find(&r->ports, put, ep);

	if (p)
		port_drop(r, p);
}

static void uncache(struct rpc *r, struct port *p)
{
	htab_del(&r->port_cache, &p->node);
	TAILQ_REMOVE(&r->port_lru, p, lru);
	free(p);
}

void rpc_port_cache(struct rpc *r, const struct gw_port *put, flip_addr addr)
{
	struct port *p = port_find(&r->port_cache, put, NULL);

	if (!p) {
		if (r->port_cache.n >= PORT_CACHE_MAX)
			uncache(r, TAILQ_LAST(&r->port_lru, port_lru));
		p = xcalloc(1, sizeof(*p));
		p->port = *put;
		htab_add(&r->port_cache, &p->node, port_hash(put));
		TAILQ_INSERT_HEAD(&r->port_lru, p, lru);
	}
	p->addr = addr;
}

flip_addr rpc_port_cached(struct rpc *r, const struct gw_port *put)
{
	struct port *p = port_find(&r->port_cache, put, NULL);

	if (!p)
		return 0;
	TAILQ_REMOVE(&r->port_lru, p, lru);
	TAILQ_INSERT_HEAD(&r->port_lru, p, lru);
	return p->addr;
}

void rpc_port_uncache(struct rpc *r, const struct gw_port *put, flip_addr addr)
{
	struct port *p = port_find(&r->port_cache, put, NULL);

	if (p && p->addr == addr)
		uncache(r, p);
}

static uint64_t owner_hash(const void *owner, uint32_t number)
{
	return hash_u64((uintptr_t)owner ^ hash_u64(number));
}

struct rpc_ep *rpc_ep_wrap(struct rpc *r, struct flip_ep *flip, void *owner, uint32_t number)
{
	struct rpc_ep *ep = xcalloc(1, sizeof(*ep));

	ep->flip = flip;
	flip->user = ep;
	ep->owner = owner;
	ep->number = number;
	TAILQ_INIT(&ep->trans);
	TAILQ_INIT(&ep->client_lru);
	LIST_INIT(&ep->ports);
	LIST_INIT(&ep->acks);
	LIST_INSERT_HEAD(&r->eps, ep, list);
	htab_add(&r->owned, &ep->node, owner_hash(owner, number));
	return ep;
}

struct rpc_ep *rpc_ep_new(struct rpc *r, uint32_t inc, void *owner, uint32_t number)
{
	struct flip_ep *flip = NULL;

	while (!flip)
		flip = flip_ep_new(r->flip, flip_addr_random(), inc, NULL);
	return rpc_ep_wrap(r, flip, owner, number);
}

struct rpc_ep *rpc_ep_find(struct rpc *r, const void *owner, uint32_t number)
{
	struct hnode *h = htab_first(&r->owned, owner_hash(owner, number));

	for (; h; h = htab_next(h)) {
		struct rpc_ep *ep = container_of(h, struct rpc_ep, node);

		if (ep->owner == owner && ep->number == number && !ep->closed)
			return ep;
	}
	return NULL;
}

static void ep_free(struct rpc *r, struct rpc_ep *ep)
{
	while (!TAILQ_EMPTY(&ep->trans))
		trans_drop(r, TAILQ_FIRST(&ep->trans));
	while (!LIST_EMPTY(&ep->acks))
		ack_drop(r, LIST_FIRST(&ep->acks));
	while (!LIST_EMPTY(&ep->ports))
		port_drop(r, LIST_FIRST(&ep->ports));
	while (!TAILQ_EMPTY(&ep->client_lru))
		client_drop(r, ep, TAILQ_FIRST(&ep->client_lru));
	htab_done(&ep->trans_by_tid);
	htab_done(&ep->clients);
	htab_done(&ep->askers);
	htab_del(&r->owned, &ep->node);
	LIST_REMOVE(ep, list);
	flip_ep_free(r->flip, ep->flip);
	free(ep);
}

/* A closed endpoint stays as long as it owes somebody a reply. */
void rpc_ep_reap(struct rpc *r, struct rpc_ep *ep)
{
	if (ep->closed && !ep->n_serves)
		ep_free(r, ep);
}

void rpc_ep_close(struct rpc *r, struct rpc_ep *ep)
{
	struct trans *t;

	if (ep->closed)
		return;
	client_flush_acks(r, ep);
	while ((t = TAILQ_FIRST(&ep->trans))) {
		if (ep->taken) {
			trans_end(r, t, RPC_MOVED);
			continue;
		}
		trans_signal(r, t);
		trans_drop(r, t);
	}
	while (!LIST_EMPTY(&ep->ports))
		port_drop(r, LIST_FIRST(&ep->ports));
	if (!ep->taken)
		server_fail_held(r, ep);
	else if (ep->whole)
		server_drop_all(r, ep);
	server_forget_elsewhere(r, ep);
	ep->closed = true;
	ep->flip->state = FLIP_EP_GHOST;
	rpc_ep_reap(r, ep);
}

void rpc_owner_gone(struct rpc *r, const void *owner)
{
	struct rpc_ep *ep, *next;

	for (ep = LIST_FIRST(&r->eps); ep; ep = next) {
		next = LIST_NEXT(ep, list);
		if (ep->owner != owner)
			continue;
		ep->taken = ep->whole = false;
		ep->owner = NULL;
		if (!ep->closed) {
			rpc_ep_close(r, ep);
			continue;
		}
		server_fail_held(r, ep);
		rpc_ep_reap(r, ep);
	}
}

void rpc_free(struct rpc *r)
{
	if (!r)
		return;
	while (!LIST_EMPTY(&r->eps))
		ep_free(r, LIST_FIRST(&r->eps));
	while (!TAILQ_EMPTY(&r->port_lru))
		uncache(r, TAILQ_FIRST(&r->port_lru));
	flip_free(r->flip);
	htab_done(&r->ports);
	htab_done(&r->port_cache);
	htab_done(&r->serves);
	htab_done(&r->owned);
	timers_done(&r->timers);
	free(r);
}

struct rpc_ep *rpc_ep_next(struct rpc *r, const void *owner, const struct rpc_ep *after)
{
	struct rpc_ep *ep = after ? LIST_NEXT(after, list) : LIST_FIRST(&r->eps);

	while (ep && (ep->owner != owner || ep->closed))
		ep = LIST_NEXT(ep, list);
	return ep;
}

uint32_t rpc_ep_number(const struct rpc_ep *ep)
{
	return ep->number;
}

flip_addr rpc_ep_addr(const struct rpc_ep *ep)
{
	return ep->flip->addr;
}

uint32_t rpc_ep_inc(const struct rpc_ep *ep)
{
	return ep->flip->inc;
}

uint32_t rpc_send(struct rpc *r, struct rpc_ep *ep, flip_addr to, const struct rpc_hdr *h,
		  const struct rpc_body *body)
{
	struct flip_data d = { .head_len = RPC_HDR_LEN, .body = body->buf, .off = body->off, .len = body->len };

	rpc_hdr_encode(h, d.head);
	return flip_send(r->flip, ep->flip, to, FLIP_LOC_NONE, &d, r->now_us);
}

uint32_t rpc_say(struct rpc *r, struct rpc_ep *ep, flip_addr to, uint32_t loc, const struct rpc_hdr *h)
{
	struct flip_data d = { .head_len = RPC_HDR_LEN };

	rpc_hdr_encode(h, d.head);
	return flip_send(r->flip, ep->flip, to, loc, &d, r->now_us);
}

static int split(const struct flip_data *d, struct rpc_hdr *ret_h, struct rpc_body *ret_body)
{
	size_t skip = d->head_len ? 0 : RPC_HDR_LEN;
	int err;

	if (d->head_len)
		err = rpc_hdr_decode(ret_h, d->head, d->head_len + d->len);
	else
		err = d->len < RPC_HDR_LEN ? -EBADMSG : rpc_hdr_decode(ret_h, d->body->data + d->off, d->len);
	if (!err)
		*ret_body = (struct rpc_body) { .buf = d->body, .off = d->off + skip, .len = d->len - skip };
	return err;
}

/* Is a message for the endpoint as a client, rather than as a server? */
static bool to_client(const struct rpc_hdr *h)
{
	switch (h->type) {
	case RPC_REPLY:
	case RPC_ALIVE:
	case RPC_FAIL:
		return true;
	case RPC_ACK:
	case RPC_NAK:
		return !(h->flags & RPC_F_REPLY);
	case RPC_RECEIVED:
		return h->flags & RPC_F_REPLY;
	default:
		return false;
	}
}

static void on_deliver(void *ctx, struct flip_ep *fep, const struct flip_delivery *d)
{
	struct rpc_ep *ep = fep->user;
	struct rpc *r = ctx;
	struct rpc_body body;
	struct rpc_hdr h;

	if (split(&d->data, &h, &body) < 0)
		return;
	if (to_client(&h))
		client_message(r, ep, d, &h, &body);
	else
		server_message(r, ep, d, &h, &body);
}

static void on_notdeliver(void *ctx, struct flip_ep *fep, const struct flip_failure *f)
{
	if (!client_notdeliver(ctx, fep->user, f))
		server_notdeliver(ctx, fep->user, f);
}

static bool on_owed(void *ctx, struct flip_ep *fep, flip_addr src, const struct flip_data *d)
{
	struct rpc_ep *ep = fep->user;
	struct rpc_body body;
	struct rpc_hdr h;

	(void)ctx;
	return !ep->whole && split(d, &h, &body) == 0 && !to_client(&h) && server_owes(ep, src, &h);
}

static enum flip_here on_port_here(void *ctx, const uint8_t bytes[FLIP_PORT_LEN], struct flip_ep **ret_ep)
{
	struct gw_port put;
	struct port *p;

	memcpy(put.bytes, bytes, GW_PORT_LEN);
	p = rpc_local_port(ctx, &put);
	if (!p)
		return FLIP_NOT_HERE;
	*ret_ep = p->ep->flip;
	return p->ep->flip->state == FLIP_EP_UP ? FLIP_IS_HERE : FLIP_HERE_BUSY;
}

static bool on_port_wanted(void *ctx, const uint8_t bytes[FLIP_PORT_LEN])
{
	const struct trans *t;
	struct rpc *r = ctx;

	TAILQ_FOREACH (t, &r->locating, locating) {
		if (!t->ep->taken && !memcmp(t->port.bytes, bytes, GW_PORT_LEN))
			return true;
	}
	return false;
}

static void on_located(void *ctx, const uint8_t bytes[FLIP_PORT_LEN], flip_addr addr)
{
	struct trans *t, *next, *last;
	struct rpc *r = ctx;
	struct gw_port put;

	memcpy(put.bytes, bytes, GW_PORT_LEN);
	if (addr)
		rpc_port_cache(r, &put, addr);
	/* Those that have to go on looking queue up again behind the last one: once around is enough. */
	last = TAILQ_LAST(&r->locating, locating_queue);
	for (t = TAILQ_FIRST(&r->locating); t; t = next) {
		next = t == last ? NULL : TAILQ_NEXT(t, locating);
		if (memcmp(&t->port, &put, sizeof(put)) != 0)
			continue;
		if (addr)
			trans_find_server(r, t);
		else
			trans_end(r, t, GW_NOTFOUND);
	}
}

static void on_announced(void *ctx, flip_addr addr)
{
	struct rpc *r = ctx;
	struct rpc_ep *ep;

	LIST_FOREACH (ep, &r->eps, list) {
		client_announced(r, ep, addr);
		server_announced(r, ep, addr);
	}
}

static void on_lost(void *ctx, struct flip_ep *fep, uint32_t inc)
{
	struct rpc_ep *ep = fep->user;
	struct rpc *r = ctx;

	while (!LIST_EMPTY(&ep->ports))
		port_drop(r, LIST_FIRST(&ep->ports));
	while (!TAILQ_EMPTY(&ep->trans))
		trans_end(r, TAILQ_FIRST(&ep->trans), RPC_MOVED);
	if (ep->went)
		server_drop_all(r, ep);
	server_forget_elsewhere(r, ep);
	if (!ep->closed && ep->owner)
		r->ops->lost(r->ctx, ep->owner, ep->number, inc);
}

static void on_transmit(void *ctx, uint32_t loc, const struct iovec *iov, int n)
{
	struct rpc *r = ctx;

	r->ops->transmit(r->ctx, loc, iov, n);
}

static uint32_t on_frag(void *ctx, uint32_t loc)
{
	struct rpc *r = ctx;

	return r->ops->frag ? r->ops->frag(r->ctx, loc) : FLIP_FRAG;
}

static const struct flip_ops flip_ops = {
	.transmit = on_transmit,
	.frag = on_frag,
	.deliver = on_deliver,
	.notdeliver = on_notdeliver,
	.owed = on_owed,
	.port_here = on_port_here,
	.port_wanted = on_port_wanted,
	.located = on_located,
	.announced = on_announced,
	.lost = on_lost,
};

void rpc_clock(struct rpc *r, uint64_t now_us)
{
	r->now_us = now_us;
}

void rpc_work(struct rpc *r, uint64_t now_us)
{
	r->now_us = now_us;
	timers_run(&r->timers, r, now_us);
	/* What a delivery sends to another local endpoint is handed up in the same call. */
	flip_work(r->flip, now_us);
}

uint64_t rpc_next(const struct rpc *r)
{
	return MIN(timers_next(&r->timers), flip_next(r->flip));
}
