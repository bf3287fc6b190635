/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The description has each mapping's flags twice: as smaps spells them, and as the kernel has them. The kernel's
 * own say the same of any two mappings that have the same, so a mapping at the freeze has the flags of any
 * described one with its kernel flags, wherever that lay. Only if none had them smaps must be read. What the bits
 * mean nobody here has to know.
 */
#include <stdlib.h>

#include "base/util.h"
#include "inject/peek_vma.h"
#include "memory/source.h"

/* "Written since somebody last asked": not a property of the mapping. */
#define RAW_SOFT_DIRTY 0x08000000ull
/* So that an answer is never 0, which means "not known". */
#define RAW_KNOWN (1ull << 63)

void mm_flags_read(const struct mm_snapshot *s, struct mm_raw *ret)
{
	*ret = (struct mm_raw) { 0 };
	if (s->peek && peek_vma_read(s->peek, &ret->v, &ret->n) < 0)
		*ret = (struct mm_raw) { 0 };
}

void mm_raw_done(struct mm_raw *x)
{
	free(x->v);
	*x = (struct mm_raw) { 0 };
}

static uint64_t raw_at(const struct mm_raw *x, size_t *hint, uint64_t start)
{
	while (*hint < x->n && x->v[*hint].start < start)
		++*hint;
	if (*hint == x->n || x->v[*hint].start != start)
		return 0;
	return (x->v[*hint].flags & ~RAW_SOFT_DIRTY) | RAW_KNOWN;
}

void mm_flags_note(struct vma_list *l, const struct mm_raw *before, const struct mm_raw *after)
{
	size_t b = 0, a = 0;

	for (size_t i = 0; i < l->n; i++) {
		uint64_t raw = raw_at(before, &b, l->v[i].start);

		l->v[i].raw = raw == raw_at(after, &a, l->v[i].start) ? raw : 0;
	}
}

static void take(struct vma *to, const struct vma *from)
{
	to->flags = from->flags;
	to->pkey = from->pkey;
	to->has_flags = true;
}

/* Any described mapping of the same kernel flags. There are about a dozen different ones, whatever the process. */
static const struct vma *find_alike(const struct vma *const *alike, size_t n, uint64_t raw)
{
	for (size_t i = 0; i < n; i++)
		if (alike[i]->raw == raw)
			return alike[i];
	return NULL;
}

#define ALIKE_MAX 256

static bool carry_by_raw(const struct vma_list *from, struct vma_list *to)
{
	const struct vma *alike[ALIKE_MAX];
	size_t n = 0;

	for (size_t i = 0; i < from->n && n < ALIKE_MAX; i++)
		if (from->v[i].raw && !find_alike(alike, n, from->v[i].raw))
			alike[n++] = &from->v[i];
	for (size_t i = 0; i < to->n; i++) {
		const struct vma *like = to->v[i].raw ? find_alike(alike, n, to->v[i].raw) : NULL;

		if (!like)
			return false;
		take(&to->v[i], like);
	}
	return true;
}

static bool carry_by_place(const struct vma_list *from, struct vma_list *to)
{
	if (from->n != to->n)
		return false;
	for (size_t i = 0; i < to->n; i++) {
		if (!vma_same_place(&from->v[i], &to->v[i]))
			return false;
		take(&to->v[i], &from->v[i]);
	}
	return true;
}

bool mm_flags_carry(const struct mm_snapshot *s, struct vma_list *now, bool *ret_certain)
{
	if (s->peek && carry_by_raw(&s->vmas, now)) {
		*ret_certain = true;
		return true;
	}
	*ret_certain = false;
	return carry_by_place(&s->vmas, now);
}
