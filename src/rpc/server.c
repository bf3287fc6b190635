/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's side of a transaction.
 *
 * Theory of operation. A request whose number the client's window has not seen is marked there and handed to the
 * program; from then on a `struct serve` stands for it: held by the program first, then replied, until the client
 * acknowledges the reply. Copies of the request, and questions about it, are answered from window and serve; so it
 * is executed at most once. An acknowledgement is an ACK, or the `acked` of any later message of the client.
 *
 * The window belongs to the endpoint and moves with it. What the program held or had replied when the endpoint was
 * taken stays with the old home, which answers it; at the new home it is `elsewhere`: known to be cared for, for a
 * while. That is for a program that serves in another's name and does not move itself, as procd. When a program
 * moves, its endpoint is taken as a whole: what it holds and what it has replied go along.
 */
#include "rpc/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define ASK_MAX_SHIFT 5u
#define BOUNCES_MAX 20u
#define MISSES_MAX 2u

static void serve_fire(struct timer *timer, void *ctx, uint64_t now_us);

struct client *client_find(struct rpc_ep *ep, flip_addr addr)
{
	for (struct hnode *h = htab_first(&ep->clients, hash_u64(addr)); h; h = htab_next(h)) {
		struct client *c = container_of(h, struct client, node);

		if (c->addr == addr)
			return c;
	}
	return NULL;
}

void client_drop(struct rpc *r, struct rpc_ep *ep, struct client *c)
{
	while (!LIST_EMPTY(&c->serves))
		serve_drop(r, LIST_FIRST(&c->serves));
	asker_drop_client(ep, c);
	htab_del(&ep->clients, &c->node);
	TAILQ_REMOVE(&ep->client_lru, c, lru);
	free(c);
}

struct client *client_new(struct rpc *r, struct rpc_ep *ep, flip_addr addr)
{
	struct client *c = TAILQ_LAST(&ep->client_lru, client_lru);

	/* A window that is forgotten too early would let a late copy run again; so rather refuse new clients. */
	while (c && ep->clients.n >= r->config.clients_max / 2) {
		struct client *older = TAILQ_PREV(c, client_lru, lru);

		if (LIST_EMPTY(&c->serves) && r->now_us - c->heard_us >= r->config.window_us)
			client_drop(r, ep, c);
		else if (r->now_us - c->heard_us < r->config.window_us)
			break;
		c = older;
	}
	if (ep->clients.n >= r->config.clients_max)
		return NULL;
	c = xcalloc(1, sizeof(*c));
	c->addr = addr;
	c->heard_us = r->now_us;
	LIST_INIT(&c->serves);
	htab_add(&ep->clients, &c->node, hash_u64(addr));
	TAILQ_INSERT_HEAD(&ep->client_lru, c, lru);
	return c;
}

struct serve *serve_new(struct rpc *r, struct rpc_ep *ep, struct client *c, uint64_t tid, uint64_t id)
{
	struct serve *s = xcalloc(1, sizeof(*s));

	s->ep = ep;
	s->client = c;
	s->tid = tid;
	s->id = id ? id : ++r->serve_id;
	s->timer.fire = serve_fire;
	ep->n_serves++;
	htab_add(&r->serves, &s->node, hash_u64(s->id));
	LIST_INSERT_HEAD(&c->serves, s, list);
	return s;
}

static bool held(const struct serve *s)
{
	return !s->replied && !s->elsewhere;
}

void serve_drop(struct rpc *r, struct serve *s)
{
	timers_disarm(&r->timers, &s->timer);
	htab_del(&r->serves, &s->node);
	LIST_REMOVE(s, list);
	s->ep->n_serves--;
	if (held(s))
		s->ep->n_held--;
	asker_unhold(s->ep, s);
	buf_unref(s->body.buf);
	free(s);
}

/* As serve_drop; the endpoint may go with it. */
static void serve_end(struct rpc *r, struct serve *s)
{
	struct rpc_ep *ep = s->ep;

	serve_drop(r, s);
	rpc_ep_reap(r, ep);
}

static struct serve *serve_find(const struct client *c, uint64_t tid)
{
	struct serve *s;

	LIST_FOREACH (s, &c->serves, list) {
		if (s->tid == tid)
			return s;
	}
	return NULL;
}

void serve_adopt(struct rpc *r, struct serve *s, struct client *c, struct rpc_ep *ep)
{
	struct serve *old = serve_find(c, s->tid);

	if (old)
		serve_drop(r, old);
	LIST_REMOVE(s, list);
	s->ep->n_serves--;
	ep->n_serves++;
	if (held(s)) {
		s->ep->n_held--;
		ep->n_held++;
	}
	if (s->asker) {
		struct asker *a = asker_get(ep, s->asker->loc, s->asker->uid);

		asker_unhold(s->ep, s);
		asker_hold(a, s);
	}
	s->ep = ep;
	s->client = c;
	LIST_INSERT_HEAD(&c->serves, s, list);
}

static void answer(struct rpc *r, struct rpc_ep *ep, const struct flip_delivery *d, uint64_t tid,
		   enum rpc_type type, enum rpc_why why)
{
	struct rpc_hdr h = { .type = type, .why = why, .tid = tid };

	rpc_say(r, ep, d->src, d->loc, &h);
}

static void arm(struct rpc *r, struct serve *s, uint64_t delay_us)
{
	timers_arm(&r->timers, &s->timer, r->now_us + delay_us);
}

static void send_reply(struct rpc *r, struct serve *s)
{
	struct rpc_hdr h = { .type = RPC_REPLY, .tid = s->tid };

	s->busy = false;
	s->messid = rpc_send(r, s->ep, s->client->addr, &h, &s->body);
	arm(r, s, r->config.reply_us << MIN(s->tries, ASK_MAX_SHIFT));
}

struct serve *serve_named(struct rpc *r, const void *owner, uint64_t id)
{
	for (struct hnode *h = htab_first(&r->serves, hash_u64(id)); h; h = htab_next(h)) {
		struct serve *s = container_of(h, struct serve, node);

		if (s->id == id && s->ep->owner == owner && held(s))
			return s;
	}
	return NULL;
}

int rpc_reply(struct rpc *r, const void *owner, uint64_t id, const struct rpc_body *body)
{
	struct serve *s = serve_named(r, owner, id);

	if (!s)
		return -ENOENT;
	s->replied = true;
	s->ep->n_held--;
	asker_unhold(s->ep, s);
	s->body = *body;
	buf_ref(body->buf);
	send_reply(r, s);
	return 0;
}

static bool sending(struct rpc *r, const struct serve *s)
{
	return s->messid && flip_sending(r->flip, s->ep->flip, s->messid);
}

static void serve_fire(struct timer *timer, void *ctx, uint64_t now_us)
{
	struct serve *s = container_of(timer, struct serve, timer);
	struct rpc_hdr h = { .type = RPC_RECEIVED, .flags = RPC_F_REPLY, .tid = s->tid };
	struct rpc *r = ctx;

	(void)now_us;
	if (s->busy) {
		send_reply(r, s);
		return;
	}
	if (!s->elsewhere && sending(r, s)) {
		arm(r, s, r->config.reply_us);
		return;
	}
	/* The client will learn from its next ENQUIRE, if it is there at all. */
	if (s->elsewhere || ++s->tries > r->config.tries) {
		serve_end(r, s);
		return;
	}
	s->messid = rpc_say(r, s->ep, s->client->addr, FLIP_LOC_NONE, &h);
	arm(r, s, r->config.reply_us << MIN(s->tries, ASK_MAX_SHIFT));
}

/* The client has the replies of everything up to `upto`. */
static void release(struct rpc *r, struct client *c, uint64_t upto)
{
	struct serve *s, *next;

	for (s = LIST_FIRST(&c->serves); s; s = next) {
		next = LIST_NEXT(s, list);
		if (s->tid <= upto && (s->replied || s->elsewhere))
			serve_drop(r, s);
	}
}

/* A question about a request, or a copy of it, that has a serve. */
static void known(struct rpc *r, struct serve *s, const struct flip_delivery *d, const struct rpc_hdr *h)
{
	if (s->replied && !sending(r, s)) {
		s->tries = 0;
		send_reply(r, s);
		return;
	}
	answer(r, s->ep, d, s->tid, h->type == RPC_ENQUIRE ? RPC_ALIVE : RPC_ACK, 0);
	if (h->type == RPC_ENQUIRE && h->flags & RPC_F_SIGTRANS && !s->cancelled && held(s) && s->ep->owner) {
		s->cancelled = true;
		r->ops->cancelled(r->ctx, s->ep->owner, s->id);
	}
}

static void begin(struct rpc *r, struct rpc_ep *ep, struct client *c, const struct flip_delivery *d,
		  const struct rpc_hdr *h, const struct rpc_body *body)
{
	struct rpc_request req = {
		.client = d->src, .loc = d->loc, .port = h->port, .uid = h->uid, .gid = h->gid
	};
	struct asker *a = NULL;
	struct serve *s;
	struct port *p;

	LIST_FOREACH (p, &ep->ports, ep_list) {
		if (!memcmp(&p->port, &h->port, sizeof(p->port)))
			break;
	}
	if (p)
		a = asker_get(ep, d->loc, h->uid);
	if (!p || !ep->owner || ep->n_held >= r->config.held_max ||
	    a->n_held >= r->config.held_max / r->config.share || !r->ops->room(r->ctx, ep->owner, body->len)) {
		r->stats.full += p != NULL;
		answer(r, ep, d, h->tid, RPC_NAK, p ? RPC_WHY_FULL : RPC_WHY_PORT);
		if (a)
			asker_reap(ep, a);
		return;
	}
	rpc_window_mark(&c->window, h->tid);
	ep->n_held++;
	s = serve_new(r, ep, c, h->tid, 0);
	asker_hold(a, s);
	req.id = s->id;
	req.body = *body;
	r->ops->request(r->ctx, ep->owner, ep->number, &req);
}

static void on_request(struct rpc *r, struct rpc_ep *ep, struct client *c, const struct flip_delivery *d,
		       const struct rpc_hdr *h, const struct rpc_body *body)
{
	struct serve *s = serve_find(c, h->tid);

	if (s) {
		r->stats.duplicates++;
		known(r, s, d, h);
		return;
	}
	if (rpc_window_test(&c->window, h->tid) == RPC_NOT_BEGUN) {
		begin(r, ep, c, d, h, body);
		return;
	}
	r->stats.duplicates++;
	/* The client waits for the answer if this copy is its own; a copy that the network made needs none. */
	if (h->flags & RPC_F_RETRANS)
		answer(r, ep, d, h->tid, RPC_FAIL, 0);
}

static void on_question(struct rpc *r, struct rpc_ep *ep, struct client *c, const struct flip_delivery *d,
			const struct rpc_hdr *h)
{
	struct serve *s = c ? serve_find(c, h->tid) : NULL;

	if (s)
		known(r, s, d, h);
	else if (!c || rpc_window_test(&c->window, h->tid) == RPC_NOT_BEGUN)
		answer(r, ep, d, h->tid, RPC_NAK, RPC_WHY_LACK);
	else
		answer(r, ep, d, h->tid, RPC_FAIL, 0);
}

/* There is a window for who sends a request, and it is on its user's account. */
static bool known_client(struct rpc *r, struct rpc_ep *ep, const struct flip_delivery *d, const struct rpc_hdr *h,
			 struct client **c)
{
	struct asker *a;

	if (*c && (*c)->asker)
		return true;
	a = asker_get(ep, d->loc, h->uid);
	a->n_held++; /* windows that make room may be his last */
	if (!*c && asker_has_room(r, ep, a))
		*c = client_new(r, ep, d->src);
	a->n_held--;
	if (*c)
		asker_add_client(a, *c);
	else
		asker_reap(ep, a);
	return *c != NULL;
}

static void heard(struct rpc *r, struct rpc_ep *ep, struct client *c)
{
	c->heard_us = r->now_us;
	TAILQ_REMOVE(&ep->client_lru, c, lru);
	TAILQ_INSERT_HEAD(&ep->client_lru, c, lru);
	if (c->asker) {
		TAILQ_REMOVE(&c->asker->clients, c, of_asker);
		TAILQ_INSERT_HEAD(&c->asker->clients, c, of_asker);
	}
}

void server_message(struct rpc *r, struct rpc_ep *ep, const struct flip_delivery *d, const struct rpc_hdr *h,
		    const struct rpc_body *body)
{
	struct client *c = client_find(ep, d->src);
	struct serve *s;

	if (h->type == RPC_REQUEST && !known_client(r, ep, d, h, &c)) {
		r->stats.full++;
		answer(r, ep, d, h->tid, RPC_NAK, RPC_WHY_FULL);
		return;
	}
	if (c) {
		heard(r, ep, c);
		release(r, c, h->acked);
	}
	switch (h->type) {
	case RPC_REQUEST:
		on_request(r, ep, c, d, h, body);
		break;
	case RPC_ENQUIRE:
	case RPC_RECEIVED:
		on_question(r, ep, c, d, h);
		break;
	case RPC_ACK:
	case RPC_NAK:
		s = c ? serve_find(c, h->tid) : NULL;
		if (!s || !s->replied)
			break;
		if (h->type == RPC_ACK)
			serve_drop(r, s);
		else if (!sending(r, s))
			send_reply(r, s);
		break;
	default:
		break;
	}
	rpc_ep_reap(r, ep);
}

static struct serve *by_messid(struct rpc_ep *ep, const struct flip_failure *f)
{
	struct client *c = client_find(ep, f->dst);
	struct serve *s;

	if (!c)
		return NULL;
	LIST_FOREACH (s, &c->serves, list) {
		if (s->replied && s->messid == f->messid)
			return s;
	}
	return NULL;
}

void server_notdeliver(struct rpc *r, struct rpc_ep *ep, const struct flip_failure *f)
{
	struct serve *s = by_messid(ep, f);

	if (!s)
		return;
	switch (f->why) {
	case FLIP_WHY_BUSY:
		r->stats.busy++;
		s->busy = true;
		s->tries = 0;
		arm(r, s, MIN(r->config.busy_us << MIN(s->busy_tries, 12u), r->config.busy_max_us));
		s->busy_tries++;
		break;
	case FLIP_WHY_NOTHERE:
		if (++s->bounces > BOUNCES_MAX)
			serve_end(r, s);
		else
			send_reply(r, s);
		break;
	case FLIP_WHY_NOT_LOCATED:
		/* A client that moves twice during one search can be missed by it. */
		if (++s->misses > MISSES_MAX)
			serve_end(r, s);
		else
			arm(r, s, r->config.reply_us);
		break;
	case FLIP_WHY_TIMEOUT:
	case FLIP_WHY_UNTRUSTED:
		arm(r, s, 0);
		break;
	}
}

void server_announced(struct rpc *r, struct rpc_ep *ep, flip_addr addr)
{
	struct client *c = client_find(ep, addr);
	struct serve *s;

	if (!c)
		return;
	LIST_FOREACH (s, &c->serves, list) {
		if (s->busy)
			send_reply(r, s);
	}
}

void server_fail_held(struct rpc *r, struct rpc_ep *ep)
{
	struct client *c;
	struct serve *s, *next;

	TAILQ_FOREACH (c, &ep->client_lru, lru) {
		for (s = LIST_FIRST(&c->serves); s; s = next) {
			struct rpc_hdr h = { .type = RPC_FAIL, .tid = s->tid };

			next = LIST_NEXT(s, list);
			if (!held(s))
				continue;
			rpc_say(r, ep, c->addr, FLIP_LOC_NONE, &h);
			serve_drop(r, s);
		}
	}
}

void server_suspend(struct rpc *r, struct rpc_ep *ep)
{
	struct client *c;
	struct serve *s;

	TAILQ_FOREACH (c, &ep->client_lru, lru) {
		LIST_FOREACH (s, &c->serves, list) {
			if (!s->replied)
				continue;
			if (sending(r, s))
				flip_cancel(r->flip, ep->flip, s->messid);
			timers_disarm(&r->timers, &s->timer);
		}
	}
}

void server_go_on(struct rpc *r, struct rpc_ep *ep)
{
	struct client *c;
	struct serve *s;

	TAILQ_FOREACH (c, &ep->client_lru, lru) {
		LIST_FOREACH (s, &c->serves, list) {
			if (s->replied)
				send_reply(r, s);
		}
	}
}

void server_drop_all(struct rpc *r, struct rpc_ep *ep)
{
	struct client *c;

	TAILQ_FOREACH (c, &ep->client_lru, lru) {
		while (!LIST_EMPTY(&c->serves))
			serve_drop(r, LIST_FIRST(&c->serves));
	}
}

void server_forget_elsewhere(struct rpc *r, struct rpc_ep *ep)
{
	struct serve *s, *next;
	struct client *c;

	TAILQ_FOREACH (c, &ep->client_lru, lru) {
		for (s = LIST_FIRST(&c->serves); s; s = next) {
			next = LIST_NEXT(s, list);
			if (s->elsewhere)
				serve_drop(r, s);
		}
	}
}

bool server_owes(struct rpc_ep *ep, flip_addr src, const struct rpc_hdr *h)
{
	const struct client *c = client_find(ep, src);
	const struct serve *s = c && h->type != RPC_REQUEST ? serve_find(c, h->tid) : NULL;

	return s && !s->elsewhere;
}
