/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where is an address, and who serves a port?
 *
 * Theory of operation. The question goes out by broadcast, with a hop limit and then an interval that grow, until
 * somebody answers HEREIS or the deadline passes. It asks for negative answers too: when every host that is known
 * to be alive has said "not here" the search ends at once. One round of noes is not enough:
 *
 *   1. the question reaches D, where a moving endpoint is not yet installed: no
 *   2. the endpoint is installed at D and closed at S
 *   3. the question reaches S: no
 *
 * though it was never nowhere. So a second round, with a new id, must end the same way. A BUSY ends nothing and
 * postpones the deadline: whoever is being moved will be somewhere soon.
 *
 * A question that does not go as far as the farthest host ends nothing either: once those in reach have all said
 * no, the next one, which goes farther, follows at once.
 *
 * Noes cost a packet of each host. In a big cluster the first question does not ask for them: most often somebody
 * says yes. Nor does one after a BUSY: the noes of the others would end nothing.
 */
#include "flip/core.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define NOES_NEEDED 2u
#define BUSY_INTERVAL_US 20000u
#define BUSY_INTERVAL_MAX_US 160000u
#define MANY_HOSTS 16u
/* How long a first question to many hosts waits for a yes. */
#define QUIET_US 10000u
#define BUSY_LATELY_US 1000000u

static void locate_fire(struct timer *t, void *ctx, uint64_t now_us);

static uint64_t key_hash(bool is_port, flip_addr addr, const uint8_t *port)
{
	uint64_t words[2] = { addr, 0 };

	if (is_port)
		memcpy(words, port, sizeof(words));
	return hash_u64(words[0] ^ hash_u64(words[1] + is_port));
}

static struct locate *find(struct flip *f, bool is_port, flip_addr addr, const uint8_t *port)
{
	struct hnode *h = htab_first(&f->locates, key_hash(is_port, addr, port));

	for (; h; h = htab_next(h)) {
		struct locate *l = container_of(h, struct locate, node);

		if (l->is_port == is_port && (is_port ? !memcmp(l->port, port, FLIP_PORT_LEN) : l->addr == addr))
			return l;
	}
	return NULL;
}

static struct locate *locate_new(struct flip *f, bool is_port, flip_addr addr, const uint8_t *port,
				 uint64_t timeout_us, uint64_t now_us)
{
	struct locate *l = xcalloc(1, sizeof(*l));

	l->is_port = is_port;
	l->addr = addr;
	if (is_port)
		memcpy(l->port, port, FLIP_PORT_LEN);
	l->timeout_us = timeout_us;
	l->deadline_us = now_us + timeout_us;
	l->interval_us = f->config.locate_us;
	l->busy_interval_us = BUSY_INTERVAL_US;
	l->timer.fire = locate_fire;
	TAILQ_INIT(&l->outs);
	htab_add(&f->locates, &l->node, key_hash(is_port, addr, port));
	f->stats.locates++;
	return l;
}

void locate_leave(struct flip *f, struct out *o)
{
	(void)f;
	TAILQ_REMOVE(&o->locate->outs, o, queue);
	o->locate = NULL;
}

void locate_free(struct flip *f, struct locate *l)
{
	while (!TAILQ_EMPTY(&l->outs))
		locate_leave(f, TAILQ_FIRST(&l->outs));
	timers_disarm(&f->timers, &l->timer);
	htab_del(&f->locates, &l->node);
	free(l);
}

/* The end: `addr` serves the port, or nobody (0). */
static void port_end(struct flip *f, struct locate *l, flip_addr addr)
{
	struct upcall *u = flip_upcall(f, UP_LOCATED, 0);

	memcpy(u->located.port, l->port, FLIP_PORT_LEN);
	u->located.addr = addr;
	locate_free(f, l);
}

static void nowhere(struct flip *f, struct locate *l)
{
	struct out *o;

	if (l->is_port) {
		port_end(f, l, 0);
		return;
	}
	while ((o = TAILQ_FIRST(&l->outs)))
		out_fail(f, o, FLIP_WHY_NOT_LOCATED, true);
	locate_free(f, l);
}

/* Everybody who is alive has said no to this round. */
static void all_said_no(struct flip *f, struct locate *l, uint64_t now_us)
{
	uint64_t settled_us = flip_settled_us(f);

	if (l->busy)
		return;
	if (l->near) {
		timers_arm(&f->timers, &l->timer, now_us);
		return;
	}
	if (now_us < settled_us) {
		l->settling = true;
		timers_arm(&f->timers, &l->timer, MIN(settled_us, l->timer.due_us));
		return;
	}
	l->noes++;
	timers_arm(&f->timers, &l->timer, now_us);
}

bool locate_pending(struct flip *f, flip_addr addr)
{
	return find(f, false, addr, NULL) != NULL;
}

bool flip_port_busy(struct flip *f, const uint8_t port[FLIP_PORT_LEN], uint64_t now_us)
{
	const struct locate *l = find(f, true, 0, port);

	return l && l->busy_us && now_us - l->busy_us < BUSY_LATELY_US;
}

/* Who is moving will be somewhere soon. */
static void heard_busy(struct flip *f, struct locate *l, flip_addr addr, uint64_t now_us)
{
	bool again = l->busy;

	l->busy = true;
	l->busy_us = now_us;
	l->busy_addr = addr;
	l->noes = 0;
	/* If the next BUSY gets lost, the question is still asked again soon. */
	l->interval_us = f->config.locate_us;
	l->hops = 0;
	l->deadline_us = MAX(l->deadline_us, now_us + l->timeout_us);
	if (again)
		return;
	timers_arm(&f->timers, &l->timer, now_us + l->busy_interval_us);
	l->busy_interval_us = MIN(2 * l->busy_interval_us, BUSY_INTERVAL_MAX_US);
}

/* Whoever is alive and as near as the question goes will answer it, if it asks for that. */
static void await(struct flip *f, struct locate *l)
{
	l->near = false;
	l->awaited = (struct loc_set) { 0 };
	if (l->quiet)
		return;
	l->awaited = f->alive;
	for (uint32_t loc = 1; loc < FLIP_LOCS_MAX; loc++) {
		if (f->distance[loc] <= l->hops || !loc_has(&f->alive, loc))
			continue;
		loc_set(&l->awaited, loc, false);
		l->near = true;
	}
}

/* Asks once more. */
static void ask(struct flip *f, struct locate *l, uint64_t now_us)
{
	struct flip_hdr h = { .type = FLIP_LOCATE, .src = f->config.host, .dst = l->addr };
	bool first = !l->id;
	enum flip_here here = FLIP_NOT_HERE;
	struct flip_ep *ep = NULL;

	if (l->is_port)
		here = f->ops->port_here(f->ctx, l->port, &ep);
	if (here == FLIP_IS_HERE) {
		port_end(f, l, ep->addr);
		return;
	}
	l->quiet = l->busy || (first && loc_count(&f->alive) > MANY_HOSTS);
	l->busy = false;
	l->settling = false;
	l->id = h.messid = ++f->locate_id;
	l->hops = (uint8_t)MIN(2u * l->hops + 1, FLIP_HOPS_MAX);
	h.hops_max = l->hops;
	if (l->hops == FLIP_HOPS_MAX)
		l->interval_us = MIN(2 * l->interval_us, 1600000u);
	await(f, l);
	h.flags = (uint8_t)((l->quiet ? 0 : FLIP_F_ANSWER) | (l->is_port ? FLIP_F_PORT : 0));
	if (l->is_port)
		h.length = h.total = FLIP_PORT_LEN;
	timers_arm(&f->timers, &l->timer,
		   MIN(now_us + (first && l->quiet ? QUIET_US : l->interval_us), l->deadline_us));
	if (here == FLIP_HERE_BUSY)
		heard_busy(f, l, ep->addr, now_us);
	flip_packet(f, FLIP_LOC_ALL, &h, l->port);
	if (!l->quiet && loc_empty(&l->awaited))
		all_said_no(f, l, now_us);
}

static bool is_wanted(struct flip *f, const struct locate *l)
{
	if (!l->is_port)
		return !TAILQ_EMPTY(&l->outs);
	return !f->ops->port_wanted || f->ops->port_wanted(f->ctx, l->port);
}

static void locate_fire(struct timer *t, void *ctx, uint64_t now_us)
{
	struct locate *l = container_of(t, struct locate, timer);
	struct flip *f = ctx;

	if (!is_wanted(f, l)) {
		locate_free(f, l);
		return;
	}
	if (l->noes >= NOES_NEEDED || now_us >= l->deadline_us) {
		nowhere(f, l);
		return;
	}
	ask(f, l, now_us);
}

void locate_address(struct flip *f, struct out *o, uint64_t now_us)
{
	struct locate *l = find(f, false, o->dst, NULL);
	bool fresh = !l;

	if (fresh)
		l = locate_new(f, false, o->dst, NULL, f->config.locate_max_us, now_us);
	o->locate = l;
	TAILQ_INSERT_TAIL(&l->outs, o, queue);
	if (fresh)
		ask(f, l, now_us);
}

void flip_locate_port(struct flip *f, const uint8_t port[FLIP_PORT_LEN], uint64_t timeout_us, uint64_t now_us)
{
	struct locate *l = find(f, true, 0, port);

	if (l) {
		l->deadline_us = MAX(l->deadline_us, now_us + timeout_us);
		return;
	}
	l = locate_new(f, true, 0, port, timeout_us, now_us);
	ask(f, l, now_us);
}

/* An address has a new home: does it serve a port that was busy? */
static void hurry_busy_ports(struct flip *f, flip_addr addr, uint64_t now_us)
{
	struct hnode *node, *next;

	for (size_t i = 0; (node = htab_walk(&f->locates, &i, &next));) {
		struct locate *l = container_of(node, struct locate, node);

		if (l->is_port && l->busy && l->busy_addr == addr)
			timers_arm(&f->timers, &l->timer, now_us);
	}
}

void locate_resolved(struct flip *f, flip_addr addr, uint64_t now_us)
{
	struct locate *l = find(f, false, addr, NULL);
	uint32_t loc = flip_location(f, addr);
	struct out *o;

	hurry_busy_ports(f, addr, now_us);
	if (!l || loc == FLIP_LOC_NONE)
		return;
	while ((o = TAILQ_FIRST(&l->outs))) {
		struct flip_ep *here = flip_ep_find(f, addr), *src = flip_ep_find(f, o->src);

		locate_leave(f, o);
		if (loc != FLIP_LOC_HERE) {
			out_start(f, o, loc, now_us);
			continue;
		}
		if (here->state != FLIP_EP_UP)
			flip_fail(f, o->src, o->dst, o->messid, FLIP_WHY_BUSY, true);
		else if (src && src->raw == here->raw)
			in_local(f, here, src, o->messid, &o->data);
		out_free(f, o);
	}
	locate_free(f, l);
}

void locate_question(struct flip *f, uint32_t loc, const struct flip_hdr *h, const uint8_t *data)
{
	bool is_port = h->flags & FLIP_F_PORT;
	enum flip_here here = FLIP_NOT_HERE;
	struct flip_ep *ep = is_port ? NULL : flip_ep_find(f, h->dst);
	struct flip_hdr a = {
		.flags = (uint8_t)(FLIP_F_LOCATE | (h->flags & FLIP_F_PORT)),
		.dst = h->src,
		.src = h->dst,
		.messid = h->messid,
		.length = h->length,
		.total = h->total,
	};

	if (is_port)
		here = f->ops->port_here(f->ctx, data, &ep);
	else if (ep && ep->state != FLIP_EP_GHOST)
		here = ep->state == FLIP_EP_BUSY ? FLIP_HERE_BUSY : FLIP_IS_HERE;
	if (here == FLIP_NOT_HERE && !(h->flags & FLIP_F_ANSWER))
		return;
	a.type = here == FLIP_IS_HERE ? FLIP_HEREIS : here == FLIP_HERE_BUSY ? FLIP_BUSY : FLIP_NOTHERE;
	if (here == FLIP_IS_HERE)
		a.flags &= FLIP_F_PORT;
	if (ep && here != FLIP_NOT_HERE) {
		a.src = ep->addr;
		a.src_inc = ep->inc;
	}
	flip_packet(f, loc, &a, data);
}

void locate_answer(struct flip *f, uint32_t loc, const struct flip_hdr *h, const uint8_t *data, uint64_t now_us)
{
	bool is_port = h->flags & FLIP_F_PORT;
	struct locate *l = find(f, is_port, h->src, data);

	if (!l)
		return;
	if (h->type == FLIP_HEREIS) {
		/* That of an address has become a route, or is older than what we know. */
		if (is_port && routes_find(&f->routes, h->src, f->now_us))
			port_end(f, l, h->src);
		return;
	}
	if (h->messid != l->id)
		return;
	if (h->type == FLIP_BUSY) {
		heard_busy(f, l, h->src, now_us);
		return;
	}
	if (!loc_has(&l->awaited, loc))
		return;
	loc_set(&l->awaited, loc, false);
	if (loc_empty(&l->awaited))
		all_said_no(f, l, now_us);
}

void locate_peer_dead(struct flip *f, uint32_t loc, uint64_t now_us)
{
	struct hnode *node, *next;

	for (size_t i = 0; (node = htab_walk(&f->locates, &i, &next));) {
		struct locate *l = container_of(node, struct locate, node);

		if (!loc_has(&l->awaited, loc))
			continue;
		loc_set(&l->awaited, loc, false);
		if (loc_empty(&l->awaited))
			all_said_no(f, l, now_us);
	}
}
