/* SPDX-License-Identifier: Apache-2.0 */
#include "flip/route.h"

#include <stdlib.h>

#include "base/util.h"

void routes_init(struct routes *r)
{
	*r = (struct routes) { 0 };
	TAILQ_INIT(&r->lru);
}

static void drop(struct routes *r, struct route *route)
{
	htab_del(&r->by_addr, &route->node);
	TAILQ_REMOVE(&r->lru, route, lru);
	free(route);
}

void routes_done(struct routes *r)
{
	while (!TAILQ_EMPTY(&r->lru))
		drop(r, TAILQ_FIRST(&r->lru));
	htab_done(&r->by_addr);
}

static struct route *find(const struct routes *r, flip_addr addr)
{
	for (struct hnode *h = htab_first(&r->by_addr, hash_u64(addr)); h; h = htab_next(h)) {
		struct route *route = container_of(h, struct route, node);

		if (route->addr == addr)
			return route;
	}
	return NULL;
}

/*
 * As many come as go: each new address looks at the two that were not used for longest. One that has to be kept
 * goes to the front, so that it does not hide what lies behind it.
 */
static void drop_idle(struct routes *r, uint64_t now_us)
{
	for (int i = 0; i < 2 && !TAILQ_EMPTY(&r->lru); i++) {
		struct route *route = TAILQ_LAST(&r->lru, route_lru);
		uint64_t idle_us = now_us - route->used_us;

		if (idle_us < ROUTES_IDLE_US)
			return;
		if (route->inc <= 1 || idle_us >= ROUTES_IDLE_MOVED_US) {
			drop(r, route);
		} else {
			TAILQ_REMOVE(&r->lru, route, lru);
			TAILQ_INSERT_HEAD(&r->lru, route, lru);
		}
	}
}

static struct route *add(struct routes *r, flip_addr addr, uint64_t now_us)
{
	struct route *route = xcalloc(1, sizeof(*route));

	drop_idle(r, now_us);
	if (r->by_addr.n >= ROUTES_MAX)
		drop(r, TAILQ_LAST(&r->lru, route_lru));
	route->addr = addr;
	htab_add(&r->by_addr, &route->node, hash_u64(addr));
	TAILQ_INSERT_HEAD(&r->lru, route, lru);
	return route;
}

bool routes_learn(struct routes *r, flip_addr addr, uint32_t loc, uint32_t inc, uint64_t now_us)
{
	struct route *route = find(r, addr);

	if (route && route->inc > inc)
		return false;
	if (!route)
		route = add(r, addr, now_us);
	route->loc = loc;
	route->inc = inc;
	route->used_us = now_us;
	return true;
}

const struct route *routes_find(struct routes *r, flip_addr addr, uint64_t now_us)
{
	struct route *route = find(r, addr);

	if (!route)
		return NULL;
	TAILQ_REMOVE(&r->lru, route, lru);
	TAILQ_INSERT_HEAD(&r->lru, route, lru);
	route->used_us = now_us;
	return route->loc == FLIP_LOC_NONE ? NULL : route;
}

uint32_t routes_floor(const struct routes *r, flip_addr addr)
{
	const struct route *route = find(r, addr);

	return route ? route->inc : 0;
}

void routes_forget(struct routes *r, flip_addr addr, uint32_t loc)
{
	struct route *route = find(r, addr);

	if (route && route->loc == loc)
		route->loc = FLIP_LOC_NONE;
}

void routes_forget_location(struct routes *r, uint32_t loc)
{
	struct route *route;

	TAILQ_FOREACH (route, &r->lru, lru) {
		if (route->loc == loc)
			route->loc = FLIP_LOC_NONE;
	}
}
