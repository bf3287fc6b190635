/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups: addresses that any number of endpoints listen on.
 *
 * Theory of operation. An endpoint has an address of its own, whatever else it listens on, and a group is a set of
 * such addresses. So a message for a group is a message for each of its members: it is sealed for each host, each
 * finds its way when a member moves, and membership moves with an endpoint without a word to anyone. FLIP's own
 * multicast counted locations instead, and an address had several; here one that moves would be two of them.
 *
 * Who is in a group is asked by broadcast, and every host says who of it is; a host where nobody is says so too.
 * The answer of them all is good for GROUP_FRESH_US; whoever joins meanwhile is announced to all. One who has left
 * stays in others' lists for as long: what it gets is not handed up to it.
 */
#include "flip/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "base/wire.h"

#define GROUP_FRESH_US 10000000u
#define GROUP_IDLE_US 60000000u
#define GROUPS_MAX 1024u
#define MEMBERS_MAX 4096u
#define INTERVAL_MAX_US 1600000u

static struct group *find(const struct flip *f, flip_addr addr)
{
	for (struct hnode *h = htab_first(&f->groups, hash_u64(addr)); h; h = htab_next(h)) {
		struct group *g = container_of(h, struct group, node);

		if (g->addr == addr)
			return g;
	}
	return NULL;
}

void group_free(struct flip *f, struct group *g)
{
	timers_disarm(&f->timers, &g->timer);
	htab_del(&f->groups, &g->node);
	free(g->members);
	free(g);
}

/* Those that nobody has used for long, or the one that was not used for longest: then what is known of it is asked
 * again when it is. */
static void make_room(struct flip *f)
{
	struct group *oldest = NULL;
	struct hnode *node, *next;

	if (f->groups.n < GROUPS_MAX)
		return;
	for (size_t i = 0; (node = htab_walk(&f->groups, &i, &next));) {
		struct group *g = container_of(node, struct group, node);

		if (!g->asking && f->now_us - g->used_us >= GROUP_IDLE_US)
			group_free(f, g);
		else if (!g->asking && (!oldest || g->used_us < oldest->used_us))
			oldest = g;
	}
	if (f->groups.n >= GROUPS_MAX && oldest)
		group_free(f, oldest);
}

static void group_fire(struct timer *t, void *ctx, uint64_t now_us);

static struct group *group_new(struct flip *f, flip_addr addr)
{
	struct group *g;

	make_room(f);
	g = xcalloc(1, sizeof(*g));
	g->addr = addr;
	g->timer.fire = group_fire;
	htab_add(&f->groups, &g->node, hash_u64(addr));
	return g;
}

/* --- who is in it here --- */

static bool is_among(const flip_addr *addrs, size_t n, flip_addr addr)
{
	for (size_t i = 0; i < n; i++) {
		if (addrs[i] == addr)
			return true;
	}
	return false;
}

bool flip_ep_in(const struct flip_ep *ep, flip_addr group)
{
	return is_among(ep->groups, ep->n_groups, group);
}

/* Addresses and incarnations of those in the group on this host, moving ones too: their address finds them. */
static size_t members_here(struct flip *f, flip_addr group, const struct flip_ep *ret[FLIP_MEMBERS_MAX])
{
	struct hnode *node, *next;
	size_t n = 0;

	if (!f->n_joined)
		return 0;
	for (size_t i = 0; (node = htab_walk(&f->eps, &i, &next)) && n < FLIP_MEMBERS_MAX;) {
		const struct flip_ep *ep = container_of(node, struct flip_ep, node);

		if (ep->n_groups && ep->state != FLIP_EP_GHOST && flip_ep_in(ep, group))
			ret[n++] = ep;
	}
	return n;
}

static void put_member(struct wire_out *w, const struct flip_ep *ep)
{
	wire_put_u64(w, ep->addr);
	wire_put_u32(w, ep->inc);
}

int flip_join(struct flip *f, struct flip_ep *ep, flip_addr group)
{
	const struct flip_ep *here[FLIP_MEMBERS_MAX];
	uint8_t data[FLIP_MEMBER_LEN];
	struct wire_out w = wire_out(data, sizeof(data));
	struct flip_hdr h = {
		.type = FLIP_HEREIS,
		.flags = FLIP_F_GROUP | FLIP_F_ANNOUNCE,
		.src = group,
		.dst = f->config.host,
		.length = sizeof(data),
		.total = sizeof(data),
	};

	if (flip_ep_in(ep, group))
		return 0;
	if (ep->n_groups >= FLIP_GROUPS_MAX || members_here(f, group, here) >= FLIP_MEMBERS_MAX)
		return -ENOSPC;
	ep->groups = xrealloc(ep->groups, (ep->n_groups + 1) * sizeof(*ep->groups));
	ep->groups[ep->n_groups++] = group;
	f->n_joined++;
	put_member(&w, ep);
	flip_packet_each(f, &h, data);
	return 0;
}

void flip_leave(struct flip *f, struct flip_ep *ep, flip_addr group)
{
	for (size_t i = 0; i < ep->n_groups; i++) {
		if (ep->groups[i] == group) {
			f->n_joined--;
			ep->groups[i] = ep->groups[--ep->n_groups];
			return;
		}
	}
}

void group_question(struct flip *f, uint32_t loc, const struct flip_hdr *h)
{
	const struct flip_ep *here[FLIP_MEMBERS_MAX];
	size_t n = members_here(f, h->dst, here);
	uint8_t data[FLIP_MEMBER_LEN * FLIP_MEMBERS_MAX];
	struct wire_out w = wire_out(data, sizeof(data));
	struct flip_hdr a = {
		.type = n ? FLIP_HEREIS : FLIP_NOTHERE,
		.flags = (uint8_t)(FLIP_F_GROUP | (n ? 0 : FLIP_F_LOCATE)),
		.src = h->dst,
		.dst = h->src,
		.messid = h->messid,
	};

	for (size_t i = 0; i < n; i++)
		put_member(&w, here[i]);
	a.length = a.total = (uint32_t)w.len;
	if (n || h->flags & FLIP_F_ANSWER)
		flip_packet(f, loc, &a, data);
}

/* --- who is in it elsewhere --- */

static void add(struct group *g, flip_addr addr)
{
	for (size_t i = 0; i < g->n; i++) {
		if (g->members[i].addr == addr) {
			g->members[i].id = g->id;
			return;
		}
	}
	if (g->n >= MEMBERS_MAX)
		return;
	if (g->n == g->cap) {
		g->cap = g->cap ? 2 * g->cap : 8;
		g->members = xrealloc(g->members, g->cap * sizeof(*g->members));
	}
	g->members[g->n++] = (struct member) { .addr = addr, .id = g->id };
}

/* Whom nobody has named in answer to the question that everybody has answered. */
static void drop_unnamed(struct group *g)
{
	size_t n = 0;

	for (size_t i = 0; i < g->n; i++) {
		if (g->members[i].id == g->id)
			g->members[n++] = g->members[i];
	}
	g->n = n;
}

static bool enough(struct flip *f, const struct group *g)
{
	const struct flip_ep *here[FLIP_MEMBERS_MAX];

	return g->n + members_here(f, g->addr, here) >= g->wanted;
}

static void end(struct flip *f, struct group *g)
{
	flip_upcall(f, UP_GROUP, 0)->group = g->addr;
	g->asking = false;
	g->wanted = 0;
	timers_disarm(&f->timers, &g->timer);
}

/* Everybody who is alive has answered, as far as one can know. */
static void answered(struct flip *f, struct group *g, uint64_t now_us)
{
	uint64_t settled_us = flip_settled_us(f);

	if (now_us < settled_us) {
		timers_arm(&f->timers, &g->timer, MIN(settled_us, g->timer.due_us));
		return;
	}
	drop_unnamed(g);
	g->asked_us = now_us;
	if (enough(f, g))
		end(f, g);
}

static void ask(struct flip *f, struct group *g, uint64_t now_us)
{
	struct flip_hdr h = {
		.type = FLIP_LOCATE,
		.flags = FLIP_F_GROUP | FLIP_F_ANSWER,
		.src = f->config.host,
		.dst = g->addr,
		.hops_max = FLIP_HOPS_MAX,
	};

	h.messid = g->id = ++f->locate_id;
	f->stats.locates++;
	g->awaited = f->alive;
	timers_arm(&f->timers, &g->timer, MIN(now_us + g->interval_us, g->deadline_us));
	g->interval_us = MIN(2 * g->interval_us, INTERVAL_MAX_US);
	flip_packet(f, FLIP_LOC_ALL, &h, NULL);
	if (loc_empty(&g->awaited))
		answered(f, g, now_us);
}

/* Not everybody has answered in time. If there are enough, those who were found are the group for now. */
static void group_fire(struct timer *t, void *ctx, uint64_t now_us)
{
	struct group *g = container_of(t, struct group, timer);
	struct flip *f = ctx;

	if (now_us >= flip_settled_us(f) && enough(f, g)) {
		g->asked_us = now_us;
		end(f, g);
	} else if (now_us >= g->deadline_us) {
		end(f, g);
	} else {
		ask(f, g, now_us);
	}
}

void flip_locate_group(struct flip *f, flip_addr group, size_t n, uint64_t timeout_us, uint64_t now_us)
{
	struct group *g = find(f, group);

	f->now_us = now_us;
	g = g ? g : group_new(f, group);
	g->used_us = now_us;
	g->wanted = MAX(g->wanted, n);
	if (g->asking) {
		g->deadline_us = MAX(g->deadline_us, now_us + timeout_us);
		return;
	}
	g->asking = true;
	g->deadline_us = now_us + timeout_us;
	g->interval_us = f->config.locate_us;
	ask(f, g, now_us);
}

static void have_answer(struct flip *f, struct group *g, uint32_t loc, uint64_t now_us)
{
	if (!g->asking || !loc_has(&g->awaited, loc))
		return;
	loc_set(&g->awaited, loc, false);
	if (loc_empty(&g->awaited))
		answered(f, g, now_us);
}

void group_answer(struct flip *f, uint32_t loc, const struct flip_hdr *h, const uint8_t *data, uint64_t now_us)
{
	struct group *g = find(f, h->src);
	struct wire_in w = wire_in(data, h->length);

	if (!g || (!(h->flags & FLIP_F_ANNOUNCE) && h->messid != g->id))
		return;
	while (w.left) {
		flip_addr member = wire_get_u64(&w);
		uint32_t inc = wire_get_u32(&w);
		const struct flip_ep *ep;

		if (!member)
			continue;
		flip_learn(f, member, loc, inc);
		ep = flip_ep_find(f, member);
		if (!ep || ep->state == FLIP_EP_GHOST)
			add(g, member);
	}
	if (!(h->flags & FLIP_F_ANNOUNCE))
		have_answer(f, g, loc, now_us);
	else if (g->asking && loc_empty(&g->awaited) && enough(f, g))
		answered(f, g, now_us);
}

void group_peer_dead(struct flip *f, uint32_t loc, uint64_t now_us)
{
	struct hnode *node, *next;

	for (size_t i = 0; (node = htab_walk(&f->groups, &i, &next));)
		have_answer(f, container_of(node, struct group, node), loc, now_us);
}

bool flip_group(struct flip *f, flip_addr group, flip_addr **ret_members, size_t *ret_n, uint64_t now_us)
{
	const struct flip_ep *here[FLIP_MEMBERS_MAX];
	struct group *g = find(f, group);
	flip_addr *all;
	size_t n;

	if (!g || !g->asked_us || now_us - g->asked_us >= GROUP_FRESH_US)
		return false;
	g->used_us = now_us;
	n = members_here(f, group, here);
	all = xcalloc(n + g->n + 1, sizeof(*all));
	for (size_t i = 0; i < n; i++)
		all[i] = here[i]->addr;
	/* One that has come here since is in both lists. */
	for (size_t i = 0, n_here = n; i < g->n; i++) {
		if (!is_among(all, n_here, g->members[i].addr))
			all[n++] = g->members[i].addr;
	}
	*ret_members = all;
	*ret_n = n;
	return true;
}

void flip_group_drop(struct flip *f, flip_addr group, flip_addr member)
{
	struct group *g = find(f, group);

	for (size_t i = 0; g && i < g->n; i++) {
		if (g->members[i].addr == member) {
			g->members[i] = g->members[--g->n];
			return;
		}
	}
}

unsigned flip_distance(struct flip *f, flip_addr addr)
{
	uint32_t loc = flip_location(f, addr);

	if (loc == FLIP_LOC_HERE || loc == FLIP_LOC_NONE)
		return 0;
	return MAX(f->distance[loc], 1);
}
