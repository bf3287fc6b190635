/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/extent.h"

#include "base/util.h"

void extents_done(struct extents *x)
{
	free(x->e);
	*x = (struct extents) { 0 };
}

void extents_add(struct extents *x, uint64_t start, uint64_t end)
{
	if (start >= end)
		return;
	if (x->n && x->e[x->n - 1].end == start) {
		x->e[x->n - 1].end = end;
		return;
	}
	if (x->n == x->room) {
		x->room = x->room ? x->room * 2 : 64;
		x->e = xrealloc(x->e, x->room * sizeof *x->e);
	}
	x->e[x->n++] = (struct extent) { start, end };
}

static int by_start(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

void extents_sort(struct extents *x)
{
	size_t to = 0, i;

	for (i = 1; i < x->n && x->e[i - 1].end < x->e[i].start; i++)
		;
	if (i >= x->n)
		return;
	qsort(x->e, x->n, sizeof *x->e, by_start);
	for (i = 1; i < x->n; i++) {
		if (x->e[i].start <= x->e[to].end)
			x->e[to].end = MAX(x->e[to].end, x->e[i].end);
		else
			x->e[++to] = x->e[i];
	}
	x->n = to + 1;
}

uint64_t extents_bytes(const struct extents *x)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < x->n; i++)
		sum += x->e[i].end - x->e[i].start;
	return sum;
}

void extents_minus(const struct extents *a, const struct extents *b, struct extents *out)
{
	size_t k = 0;

	for (size_t i = 0; i < a->n; i++) {
		uint64_t at = a->e[i].start, end = a->e[i].end;

		while (k < b->n && b->e[k].end <= at)
			k++;
		for (size_t j = k; j < b->n && b->e[j].start < end && at < end; j++) {
			if (b->e[j].start > at)
				extents_add(out, at, b->e[j].start);
			at = b->e[j].end;
		}
		if (at < end)
			extents_add(out, at, end);
	}
}

void extents_within(const struct extents *x, uint64_t start, uint64_t end, size_t *hint, struct extents *out)
{
	size_t i = hint ? *hint : 0;

	while (i < x->n && x->e[i].end <= start)
		i++;
	if (hint)
		*hint = i;
	for (; i < x->n && x->e[i].start < end; i++)
		extents_add(out, MAX(x->e[i].start, start), MIN(x->e[i].end, end));
}
