/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timers.h"

#include <stdlib.h>

#include "base/util.h"

void timers_done(struct timers *q)
{
	free(q->heap);
	*q = (struct timers) { 0 };
}

static void put(struct timers *q, size_t place, struct timer *t)
{
	q->heap[place - 1] = t;
	t->place = place;
}

static void sift_up(struct timers *q, struct timer *t)
{
	size_t i = t->place;

	while (i > 1 && q->heap[i / 2 - 1]->due_us > t->due_us) {
		put(q, i, q->heap[i / 2 - 1]);
		i /= 2;
	}
	put(q, i, t);
}

static void sift_down(struct timers *q, struct timer *t)
{
	size_t i = t->place;

	for (;;) {
		size_t child = 2 * i;

		if (child > q->n)
			break;
		if (child < q->n && q->heap[child]->due_us < q->heap[child - 1]->due_us)
			child++;
		if (q->heap[child - 1]->due_us >= t->due_us)
			break;
		put(q, i, q->heap[child - 1]);
		i = child;
	}
	put(q, i, t);
}

void timers_disarm(struct timers *q, struct timer *t)
{
	struct timer *last;

	if (!t->place)
		return;
	last = q->heap[--q->n];
	if (last != t) {
		put(q, t->place, last);
		sift_up(q, last);
		sift_down(q, last);
	}
	t->place = 0;
}

void timers_arm(struct timers *q, struct timer *t, uint64_t due_us)
{
	timers_disarm(q, t);
	if (q->n == q->cap) {
		q->cap = q->cap ? 2 * q->cap : 64;
		q->heap = xrealloc(q->heap, q->cap * sizeof(struct timer *));
	}
	t->due_us = due_us;
	q->n++;
	put(q, q->n, t);
	sift_up(q, t);
}

uint64_t timers_next(const struct timers *q)
{
	return q->n ? q->heap[0]->due_us : TIMERS_NEVER;
}

void timers_run(struct timers *q, void *ctx, uint64_t now_us)
{
	while (q->n && q->heap[0]->due_us <= now_us) {
		struct timer *t = q->heap[0];

		timers_disarm(q, t);
		t->fire(t, ctx, now_us);
	}
}
