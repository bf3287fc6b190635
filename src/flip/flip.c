/* SPDX-License-Identifier: Apache-2.0 */
#include "flip/core.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/util.h"

/* After the first, so that a host that lost one announcement hears another. */
static const uint64_t announce_after_us[] = { 0, 30000, 300000 };

void flip_config_default(struct flip_config *c)
{
	*c = (struct flip_config) {
		.host = flip_addr_publish(flip_addr_random()),
		.settle_us = 1000000,
		.locate_us = 100000,
		.locate_max_us = FLIP_LOCATE_DEFAULT_US,
		.reassembly_bytes = 256u << 20,
		.window = 32 * FLIP_FRAG,
	};
}

struct flip *flip_new(const struct flip_config *c, const struct flip_ops *ops, void *ctx, uint64_t now_us)
{
	struct flip *f = xcalloc(1, sizeof(*f));

	f->config = *c;
	f->ops = ops;
	f->ctx = ctx;
	f->started_us = now_us;
	f->locate_id = randombytes_random();
	routes_init(&f->routes);
	STAILQ_INIT(&f->upcalls);
	TAILQ_INIT(&f->ins_by_age);
	LIST_INIT(&f->announcements);
	return f;
}

static void upcall_free(struct upcall *u)
{
	if (u->kind == UP_DELIVER)
		buf_unref(u->delivery.data.body);
	free(u);
}

void flip_free(struct flip *f)
{
	struct hnode *node, *next;
	struct announcement *a;
	struct upcall *u;

	if (!f)
		return;
	f->closing = true;
	for (size_t i = 0; (node = htab_walk(&f->outs, &i, &next));)
		out_free(f, container_of(node, struct out, node));
	while (!TAILQ_EMPTY(&f->ins_by_age))
		in_free(f, TAILQ_FIRST(&f->ins_by_age));
	for (size_t i = 0; (node = htab_walk(&f->locates, &i, &next));)
		locate_free(f, container_of(node, struct locate, node));
	for (size_t i = 0; (node = htab_walk(&f->groups, &i, &next));)
		group_free(f, container_of(node, struct group, node));
	for (size_t i = 0; (node = htab_walk(&f->eps, &i, &next));) {
		free(container_of(node, struct flip_ep, node)->groups);
		free(container_of(node, struct flip_ep, node));
	}
	while ((u = STAILQ_FIRST(&f->upcalls))) {
		STAILQ_REMOVE_HEAD(&f->upcalls, next);
		upcall_free(u);
	}
	while ((a = LIST_FIRST(&f->announcements))) {
		LIST_REMOVE(a, list);
		free(a);
	}
	for (unsigned i = 0; i < FLIP_LOCS_MAX; i++)
		free(f->links[i]);
	htab_done(&f->eps);
	htab_done(&f->outs);
	htab_done(&f->ins);
	htab_done(&f->locates);
	htab_done(&f->groups);
	routes_done(&f->routes);
	timers_done(&f->timers);
	free(f);
}

void flip_raw(struct flip *f, const struct flip_raw_ops *ops, void *ctx)
{
	f->raw = ops;
	f->raw_ctx = ctx;
}

struct timers *flip_timers(struct flip *f)
{
	return &f->timers;
}

uint64_t flip_now(const struct flip *f)
{
	return f->now_us;
}

bool flip_admits(const struct flip *f, uint8_t flags, uint32_t loc)
{
	return !(flags & FLIP_F_SAFE) || loc == FLIP_LOC_HERE || !f->raw || !f->raw->trusts ||
	       f->raw->trusts(f->raw_ctx, loc);
}

bool flip_owes(struct flip *f, struct flip_ep *ep, flip_addr src, const struct flip_data *d)
{
	return !ep->raw && f->ops->owed(f->ctx, ep, src, d);
}

const struct flip_stats *flip_stats(const struct flip *f)
{
	return &f->stats;
}

flip_addr flip_host(const struct flip *f)
{
	return f->config.host;
}

struct upcall *flip_upcall(struct flip *f, int kind, flip_addr ep)
{
	struct upcall *u = xcalloc(1, sizeof(*u));

	u->kind = kind;
	u->ep = ep;
	STAILQ_INSERT_TAIL(&f->upcalls, u, next);
	return u;
}

void flip_fail(struct flip *f, flip_addr ep, flip_addr dst, uint32_t messid, enum flip_why why, bool certain)
{
	flip_upcall(f, UP_NOTDELIVER, ep)->failure =
		(struct flip_failure) { .dst = dst, .messid = messid, .why = why, .certain = certain };
}

void flip_packet(struct flip *f, uint32_t loc, struct flip_hdr *h, const void *data)
{
	uint8_t head[FLIP_HDR_LEN];
	struct iovec iov[2] = { { head, sizeof(head) }, { (void *)(uintptr_t)data, h->length } };

	h->frag = FLIP_FRAG;
	h->hops_max = h->hops_max ? h->hops_max : 1;
	flip_hdr_encode(h, head);
	f->stats.out++;
	f->ops->transmit(f->ctx, loc, iov, h->length ? 2 : 1);
}

void flip_packet_each(struct flip *f, struct flip_hdr *h, const void *data)
{
	for (uint32_t loc = 1; loc < FLIP_LOCS_MAX; loc++) {
		if (loc_has(&f->alive, loc))
			flip_packet(f, loc, h, data);
	}
}

struct flip_ep *flip_ep_find(struct flip *f, flip_addr addr)
{
	struct flip_ep *ghost = NULL;

	/* A ghost may stand beside its successor if both homes were this host. */
	for (struct hnode *h = htab_first(&f->eps, hash_u64(addr)); h; h = htab_next(h)) {
		struct flip_ep *ep = container_of(h, struct flip_ep, node);

		if (ep->addr != addr)
			continue;
		if (ep->state != FLIP_EP_GHOST)
			return ep;
		ghost = ep;
	}
	return ghost;
}

struct flip_ep *flip_ep_new(struct flip *f, flip_addr private_addr, uint32_t inc, void *user)
{
	flip_addr addr = flip_addr_publish(private_addr);
	struct flip_ep *ep = flip_ep_find(f, addr);

	if (!addr || (ep && ep->state != FLIP_EP_GHOST && ep->inc >= inc) || routes_floor(&f->routes, addr) > inc)
		return NULL;
	if (ep)
		ep->state = FLIP_EP_GHOST;
	ep = xcalloc(1, sizeof(*ep));
	ep->private_addr = private_addr;
	ep->addr = addr;
	ep->inc = inc;
	ep->messid = 1;
	ep->state = FLIP_EP_UP;
	ep->user = user;
	htab_add(&f->eps, &ep->node, hash_u64(addr));
	return ep;
}

void flip_ep_put(struct wire_out *w, const struct flip_ep *ep, uint32_t magic, uint16_t version)
{
	wire_put_u32(w, magic);
	wire_put_u16(w, version);
	wire_put_u16(w, 0);
	wire_put_u64(w, ep->private_addr);
	wire_put_u32(w, ep->inc);
	wire_put_u32(w, ep->messid);
}

int flip_ep_get(struct flip *f, struct wire_in *w, uint32_t magic, uint16_t version, struct flip_ep **ret_ep)
{
	bool ours = wire_get_u32(w) == magic && wire_get_u16(w) == version && !wire_get_u16(w);
	flip_addr private_addr = ours ? wire_get_u64(w) : 0;
	uint32_t inc = wire_get_u32(w), messid = wire_get_u32(w);

	if (w->bad || !private_addr || inc == UINT32_MAX)
		return -EBADMSG;
	*ret_ep = flip_ep_new(f, private_addr, inc + 1, NULL);
	if (!*ret_ep)
		return -EEXIST;
	(*ret_ep)->messid = messid;
	return 0;
}

void flip_ep_hide(struct flip *f, struct flip_ep *ep)
{
	if (!ep->hidden)
		htab_del(&f->eps, &ep->node);
	ep->hidden = true;
}

void flip_ep_free(struct flip *f, struct flip_ep *ep)
{
	if (!ep)
		return;
	flip_ep_hide(f, ep);
	f->n_joined -= ep->n_groups;
	free(ep->groups);
	free(ep);
}

static void ep_lose(struct flip *f, struct flip_ep *ep, uint32_t inc)
{
	ep->state = FLIP_EP_GHOST;
	flip_upcall(f, UP_LOST, ep->addr)->lost_inc = inc;
}

void flip_learn(struct flip *f, flip_addr addr, uint32_t loc, uint32_t inc)
{
	struct flip_ep *ep = flip_ep_find(f, addr);
	const struct route *old;
	bool known;

	if (ep && ep->state != FLIP_EP_GHOST) {
		if (inc <= ep->inc)
			return;
		ep_lose(f, ep, inc);
	}
	old = routes_find(&f->routes, addr, f->now_us);
	if (old && old->loc == loc && old->inc == inc)
		return;
	/* Nobody can be waiting for an address that was never heard of and is not being sought. */
	known = routes_floor(&f->routes, addr) || locate_pending(f, addr);
	if (!routes_learn(&f->routes, addr, loc, inc, f->now_us)) {
		f->stats.routes_rejected++;
		return;
	}
	if (known)
		flip_upcall(f, UP_ANNOUNCED, 0)->announced = addr;
}

void flip_invalidate(struct flip *f, flip_addr addr)
{
	const struct route *route = routes_find(&f->routes, addr, f->now_us);

	if (route)
		routes_forget(&f->routes, addr, route->loc);
}

uint32_t flip_location(struct flip *f, flip_addr addr)
{
	const struct flip_ep *ep = flip_ep_find(f, addr);
	const struct route *route;

	if (ep && ep->state != FLIP_EP_GHOST)
		return FLIP_LOC_HERE;
	route = routes_find(&f->routes, addr, f->now_us);
	return route ? route->loc : FLIP_LOC_NONE;
}

static void announce_now(struct flip *f, const struct flip_ep *ep, bool first)
{
	struct flip_hdr h = {
		.type = FLIP_HEREIS,
		.flags = FLIP_F_ANNOUNCE,
		.src = ep->addr,
		.dst = f->config.host,
		.src_inc = ep->inc,
	};

	f->stats.announcements++;
	/* All are told authentically once. The broadcast is a hint, to whoever was not reached and wonders. */
	if (first)
		flip_packet_each(f, &h, NULL);
	h.hops_max = FLIP_HOPS_MAX;
	flip_packet(f, FLIP_LOC_ALL, &h, NULL);
}

static void announcement_fire(struct timer *t, void *ctx, uint64_t now_us)
{
	struct announcement *a = container_of(t, struct announcement, timer);
	struct flip *f = ctx;
	struct flip_ep *ep = flip_ep_find(f, a->addr);

	if (ep && ep->state == FLIP_EP_UP && a->left) {
		announce_now(f, ep, a->left == ARRAY_LEN(announce_after_us));
		a->left--;
	} else {
		a->left = 0;
	}
	if (a->left) {
		timers_arm(&f->timers, t, now_us + announce_after_us[ARRAY_LEN(announce_after_us) - a->left]);
		return;
	}
	LIST_REMOVE(a, list);
	free(a);
}

void flip_ep_announce(struct flip *f, struct flip_ep *ep, uint64_t now_us)
{
	struct announcement *a = xcalloc(1, sizeof(*a));

	a->addr = ep->addr;
	a->left = ARRAY_LEN(announce_after_us);
	a->timer.fire = announcement_fire;
	LIST_INSERT_HEAD(&f->announcements, a, list);
	timers_arm(&f->timers, &a->timer, now_us);
	flip_upcall(f, UP_ANNOUNCED, 0)->announced = ep->addr;
}

/* A packet of ours came back: nobody there (or moving). */
static void bounced(struct flip *f, uint32_t loc, const struct flip_hdr *h)
{
	enum flip_why why = h->type == FLIP_BUSY	? FLIP_WHY_BUSY
			    : h->type == FLIP_UNTRUSTED ? FLIP_WHY_UNTRUSTED
							: FLIP_WHY_NOTHERE;
	struct out *o = out_find(f, h->dst, h->messid);

	if (why == FLIP_WHY_NOTHERE)
		routes_forget(&f->routes, h->src, loc);
	if (o && o->dst == h->src && o->link && o->link->loc == loc)
		out_fail(f, o, why, !o->resent);
	else if (!o && h->total <= h->frag)
		flip_fail(f, h->dst, h->src, h->messid, why, true);
}

/* Hints cost one question each; without interest in the address none is asked. */
static void hinted(struct flip *f, uint32_t loc, const struct flip_hdr *h)
{
	struct flip_hdr q = { .type = FLIP_LOCATE, .src = f->config.host, .dst = h->src, .messid = h->messid };
	const struct flip_ep *ep = flip_ep_find(f, h->src);
	const struct route *route = routes_find(&f->routes, h->src, f->now_us);

	if (h->flags & FLIP_F_PORT || (route && route->loc == loc && route->inc == h->src_inc))
		return;
	if (ep ? ep->inc < h->src_inc
	       : routes_floor(&f->routes, h->src) && routes_floor(&f->routes, h->src) <= h->src_inc)
		flip_packet(f, loc, &q, NULL);
}

void flip_input(struct flip *f, uint32_t loc, bool broadcast, const uint8_t *packet, size_t len, uint64_t now_us)
{
	const uint8_t *data;
	struct flip_hdr h;

	f->now_us = now_us;
	f->stats.in++;
	if (loc >= FLIP_LOCS_MAX || flip_hdr_decode(&h, packet, len, &data) < 0 ||
	    (broadcast && h.type != FLIP_LOCATE && h.type != FLIP_HEREIS)) {
		f->stats.bad++;
		return;
	}
	switch (h.type) {
	case FLIP_LOCATE:
		if (h.flags & FLIP_F_GROUP)
			group_question(f, loc, &h);
		else
			locate_question(f, loc, &h, data);
		break;
	case FLIP_HEREIS:
		if (h.flags & FLIP_F_GROUP) {
			if (!broadcast)
				group_answer(f, loc, &h, data, now_us);
			break;
		}
		if (broadcast) {
			hinted(f, loc, &h);
			break;
		}
		flip_learn(f, h.src, loc, h.src_inc);
		/* An endpoint that goes on where it was is no news for the routes, but it is for those who wait.
		 */
		if (h.flags & FLIP_F_ANNOUNCE && flip_location(f, h.src) == loc)
			flip_upcall(f, UP_ANNOUNCED, 0)->announced = h.src;
		locate_answer(f, loc, &h, data, now_us);
		break;
	case FLIP_UNIDATA:
	case FLIP_MULTIDATA:
		in_unidata(f, loc, &h, data, now_us);
		break;
	case FLIP_NOTHERE:
	case FLIP_BUSY:
		if (h.flags & FLIP_F_LOCATE && h.flags & FLIP_F_GROUP)
			group_answer(f, loc, &h, NULL, now_us);
		else if (h.flags & FLIP_F_LOCATE)
			locate_answer(f, loc, &h, data, now_us);
		else
			bounced(f, loc, &h);
		break;
	case FLIP_UNTRUSTED:
		bounced(f, loc, &h);
		break;
	case FLIP_CREDIT:
		out_credit(f, &h, data, now_us);
		break;
	default:
		f->stats.bad++;
		break;
	}
}

static void upcall_run(struct flip *f, struct upcall *u, uint64_t now_us)
{
	struct flip_ep *ep = u->ep ? flip_ep_find(f, u->ep) : NULL;

	switch (u->kind) {
	case UP_DELIVER:
		if (ep && (ep->state == FLIP_EP_UP || flip_owes(f, ep, u->delivery.src, &u->delivery.data))) {
			f->stats.delivered++;
			if (ep->raw)
				f->raw->deliver(f->raw_ctx, ep, &u->delivery);
			else
				f->ops->deliver(f->ctx, ep, &u->delivery);
		}
		break;
	case UP_NOTDELIVER:
		if (ep && ep->raw)
			f->raw->notdeliver(f->raw_ctx, ep, &u->failure);
		else if (ep)
			f->ops->notdeliver(f->ctx, ep, &u->failure);
		break;
	case UP_LOCATED:
		f->ops->located(f->ctx, u->located.port, u->located.addr);
		break;
	case UP_ANNOUNCED:
		locate_resolved(f, u->announced, now_us);
		f->ops->announced(f->ctx, u->announced);
		if (f->raw)
			f->raw->announced(f->raw_ctx, u->announced);
		break;
	case UP_LOST:
		if (ep && ep->state == FLIP_EP_GHOST && ep->raw)
			f->raw->lost(f->raw_ctx, ep, u->lost_inc);
		else if (ep && ep->state == FLIP_EP_GHOST)
			f->ops->lost(f->ctx, ep, u->lost_inc);
		break;
	case UP_GROUP:
		f->raw->group_located(f->raw_ctx, u->group);
		break;
	}
}

void flip_work(struct flip *f, uint64_t now_us)
{
	struct upcall *u;

	f->now_us = now_us;
	timers_run(&f->timers, f, now_us);
	while ((u = STAILQ_FIRST(&f->upcalls))) {
		STAILQ_REMOVE_HEAD(&f->upcalls, next);
		upcall_run(f, u, now_us);
		upcall_free(u);
	}
}

uint64_t flip_next(const struct flip *f)
{
	return STAILQ_EMPTY(&f->upcalls) ? timers_next(&f->timers) : 0;
}

void flip_peer_alive(struct flip *f, uint32_t loc, bool alive, uint64_t now_us)
{
	struct link *l;
	struct out *o;

	f->now_us = now_us;
	if (!loc || loc >= FLIP_LOCS_MAX || loc_has(&f->alive, loc) == alive)
		return;
	loc_set(&f->alive, loc, alive);
	if (alive)
		return;
	routes_forget_location(&f->routes, loc);
	l = f->links[loc];
	while (l && (o = TAILQ_FIRST(&l->outs)))
		out_fail(f, o, FLIP_WHY_TIMEOUT, false);
	locate_peer_dead(f, loc, now_us);
	group_peer_dead(f, loc, now_us);
}

void flip_peer_distance(struct flip *f, uint32_t loc, uint8_t hops)
{
	if (loc && loc < FLIP_LOCS_MAX)
		f->distance[loc] = hops;
}

void flip_each_route(const struct flip *f, void (*fn)(void *ctx, flip_addr addr, uint32_t loc, uint32_t inc),
		     void *ctx)
{
	const struct route *r;

	TAILQ_FOREACH (r, &f->routes.lru, lru) {
		if (r->loc != FLIP_LOC_NONE)
			fn(ctx, r->addr, r->loc, r->inc);
	}
}
