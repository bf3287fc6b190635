/* SPDX-License-Identifier: Apache-2.0 */
#include "base/htab.h"

#include <stdlib.h>

#include "base/util.h"

void htab_done(struct htab *t)
{
	free(t->slots);
	*t = (struct htab) { 0 };
}

static void grow(struct htab *t)
{
	struct htab bigger = { .n_slots = t->n_slots ? 2 * t->n_slots : 16 };

	bigger.slots = xcalloc(bigger.n_slots, sizeof(struct hnode *));
	for (size_t i = 0; i < t->n_slots; i++) {
		struct hnode *node = t->slots[i];

		while (node) {
			struct hnode *next = node->next;

			htab_add(&bigger, node, node->hash);
			node = next;
		}
	}
	htab_done(t);
	*t = bigger;
}

void htab_add(struct htab *t, struct hnode *node, uint64_t hash)
{
	struct hnode **slot;

	if (t->n >= t->n_slots)
		grow(t);
	slot = &t->slots[hash & (t->n_slots - 1)];
	node->hash = hash;
	node->next = *slot;
	*slot = node;
	t->n++;
}

void htab_del(struct htab *t, struct hnode *node)
{
	struct hnode **at = &t->slots[node->hash & (t->n_slots - 1)];

	while (*at != node)
		at = &(*at)->next;
	*at = node->next;
	t->n--;
}

static struct hnode *same(struct hnode *node, uint64_t hash)
{
	while (node && node->hash != hash)
		node = node->next;
	return node;
}

struct hnode *htab_first(const struct htab *t, uint64_t hash)
{
	return t->n_slots ? same(t->slots[hash & (t->n_slots - 1)], hash) : NULL;
}

struct hnode *htab_next(const struct hnode *node)
{
	return same(node->next, node->hash);
}

struct hnode *htab_walk(const struct htab *t, size_t *place, struct hnode **next)
{
	struct hnode *node = *place ? *next : NULL;

	while (!node && *place < t->n_slots)
		node = t->slots[(*place)++];
	if (node)
		*next = node->next;
	return node;
}
