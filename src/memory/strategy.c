/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/util.h"
#include "memory/target.h"

static const struct memory_strategy *const strategies[] = { &memory_eager }; /* the first is the default */

const struct memory_strategy *memory_strategy_find(const char *name)
{
	if (!name || !name[0])
		return strategies[0];
	for (size_t i = 0; i < ARRAY_LEN(strategies); i++)
		if (!strcmp(strategies[i]->name, name))
			return strategies[i];
	return NULL;
}

int memory_send(struct mm_snapshot *s, const struct memory_strategy *how, struct stream *stream,
		struct memory_stats *stats, struct err *e)
{
	*stats = (struct memory_stats) { .tell = stats->tell, .tell_arg = stats->tell_arg };
	return how->send(s, stream, stats, e);
}

int memory_receive(struct mm_target *t, const struct memory_strategy *how, struct stream *stream,
		   struct memory_stats *stats, struct err *e)
{
	int err;

	*stats = (struct memory_stats) { 0 };
	t->last_place = 0;
	err = how->receive(t, stream, stats, e);
	if (err)
		return err;
	extents_sort(&t->received);
	for (size_t i = 0; i < t->n_shared; i++)
		extents_sort(&t->shared[i].received);
	return 0;
}
