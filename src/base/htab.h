/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_BASE_HTAB_H
#define GW_BASE_HTAB_H

/*
 * A hash table of embedded nodes. The caller hashes and compares:
 *
 *	for (struct hnode *h = htab_first(t, hash); h; h = htab_next(h))
 *		if (container_of(h, struct thing, node)->key == key) ...
 */

#include <stddef.h>
#include <stdint.h>

struct hnode {
	struct hnode *next;
	uint64_t hash;
};

struct htab {
	struct hnode **slots;
	size_t n_slots, n;
};

void htab_done(struct htab *t);
void htab_add(struct htab *t, struct hnode *node, uint64_t hash);
void htab_del(struct htab *t, struct hnode *node);
/* Nodes of equal hash, the youngest first. */
struct hnode *htab_first(const struct htab *t, uint64_t hash);
struct hnode *htab_next(const struct hnode *node);
/* All nodes in no order: start with *place = 0; NULL at the end. The node that was returned may be deleted (or
 * freed) before the next call if it is the only change. */
struct hnode *htab_walk(const struct htab *t, size_t *place, struct hnode **next);

/* Spreads a number over 64 bits (splitmix64's finaliser). */
static inline uint64_t hash_u64(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

#endif
