/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MEMORY_EXTENT_H
#define GW_MEMORY_EXTENT_H

#include <stddef.h>
#include <stdint.h>

/* Runs of pages: byte addresses, page-aligned, ascending and apart from each other once extents_sort has run. */

struct extent {
	uint64_t start, end;
};

struct extents {
	struct extent *e;
	size_t n, room;
};

void extents_done(struct extents *x); /* leaves it empty */
/* Appends; joins with the last one if it continues it. */
void extents_add(struct extents *x, uint64_t start, uint64_t end);
/* Sorts and joins what touches or overlaps. Linear when it is sorted already. */
void extents_sort(struct extents *x);
uint64_t extents_bytes(const struct extents *x);
/* What is in `a` and not in `b`, both sorted, appended to `out`. Linear. */
void extents_minus(const struct extents *a, const struct extents *b, struct extents *out);
/* The part of `x` (sorted) inside start..end, appended to `out`. `hint` (may be NULL) remembers where the last
 * call ended, so that ascending calls are linear together. */
void extents_within(const struct extents *x, uint64_t start, uint64_t end, size_t *hint, struct extents *out);

#endif
