/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FLIP_ROUTE_H
#define GW_FLIP_ROUTE_H

/*
 * Where addresses are: address -> location, incarnation. Learned from traffic and from locates. A lower
 * incarnation never replaces a higher one, also after the route itself was forgotten: the entry stays as the
 * address's floor until it is the least recently used of too many, or was not used for long. Most addresses belong
 * to programs that live for one request and never move: there is nothing lower than their incarnation, so theirs
 * are not kept for long.
 */

#include <stdbool.h>
#include <sys/queue.h>

#include "base/htab.h"
#include "flip/addr.h"

#define ROUTES_MAX 8192u
#define ROUTES_IDLE_US 60000000u	 /* then an address that never moved is forgotten */
#define ROUTES_IDLE_MOVED_US 7200000000u /* and one that did */
/* No location: the address is not known to be anywhere. */
#define FLIP_LOC_NONE UINT32_MAX

struct route {
	struct hnode node;
	TAILQ_ENTRY(route) lru;
	flip_addr addr;
	uint32_t loc;
	uint32_t inc;
	uint64_t used_us;
};

struct routes {
	struct htab by_addr;
	TAILQ_HEAD(route_lru, route) lru; /* most recently used first */
};

void routes_init(struct routes *r);
void routes_done(struct routes *r);
/* The address was seen at `loc` with incarnation `inc`. False if a higher one is known; then nothing changes. */
bool routes_learn(struct routes *r, flip_addr addr, uint32_t loc, uint32_t inc, uint64_t now_us);
/* NULL if there is no way known. */
const struct route *routes_find(struct routes *r, flip_addr addr, uint64_t now_us);
/* The highest incarnation ever heard for the address, 0 if none. */
uint32_t routes_floor(const struct routes *r, flip_addr addr);
/* It is not at `loc` (any more). */
void routes_forget(struct routes *r, flip_addr addr, uint32_t loc);
/* Nothing is at `loc` any more. */
void routes_forget_location(struct routes *r, uint32_t loc);

#endif
