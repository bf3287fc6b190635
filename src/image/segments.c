/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PT_LOAD segments for gdb. Chunks ascend by space and start, as regions ascend by start; contents of a space that
 * continue each other continue each other in the file, too, so a run of chunks is one piece of a segment.
 *
 * What lacks in anonymous memory is zero, and small gaps are holes in the file, too, so one segment may go over
 * them. Large gaps, and all of them in a mapped file, are segments without contents: gdb takes zeros, or looks
 * into the file that NT_FILE names.
 */
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "image/private.h"

void segments_done(struct segments *s)
{
	free(s->v);
	*s = (struct segments) { 0 };
}

static void add(struct segments *s, uint64_t start, uint64_t len, uint64_t offset, uint64_t in_file, uint32_t prot)
{
	if (s->n == s->room) {
		s->room = MAX(2 * s->room, (size_t)64);
		s->v = xrealloc(s->v, s->room * sizeof *s->v);
	}
	s->v[s->n++] = (Elf64_Phdr) { .p_type = PT_LOAD,
				      .p_flags = (prot & PROT_READ ? PF_R : 0) | (prot & PROT_WRITE ? PF_W : 0) |
						 (prot & PROT_EXEC ? PF_X : 0),
				      .p_offset = offset,
				      .p_vaddr = start,
				      .p_filesz = in_file,
				      .p_memsz = len,
				      .p_align = IMAGE_PAGE };
}

/* The first chunk of the space that ends behind `at`. */
static size_t find_chunk(Godwit__Image__Chunk *const *c, size_t n, uint32_t space, uint64_t at)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c[mid]->space < space || (c[mid]->space == space && c[mid]->start + c[mid]->bytes <= at))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Does the file go on from one chunk to the next as memory does? */
static bool goes_on(const Godwit__Image__Chunk *a, const Godwit__Image__Chunk *b, bool holes)
{
	/* What is compressed is not there for gdb. */
	return a->space == b->space && !a->stored && !b->stored && b->offset - a->offset == b->start - a->start &&
	       (holes || b->start == a->start + a->bytes);
}

/* Where one mapping looks into a space: its first byte is `from` there. */
static void add_region(struct segments *s, const Godwit__Ckpt__Region *g, uint32_t space, uint64_t from,
		       Godwit__Image__Chunk *const *c, size_t n, bool holes)
{
	uint64_t at = from, end = from + (g->end - g->start);
	bool over = holes && g->kind != GODWIT__CKPT__REGION__KIND__FILE_PRIVATE &&
		    g->kind != GODWIT__CKPT__REGION__KIND__FILE_SHARED;
	size_t i = find_chunk(c, n, space, from);

	while (i < n && c[i]->space == space && c[i]->start < end) {
		const Godwit__Image__Chunk *first = c[i], *last = c[i];
		uint64_t start = MAX(first->start, from), stop;

		for (i++; i < n && goes_on(last, c[i], over) && c[i]->start < end; i++)
			last = c[i];
		if (first->stored)
			continue;
		stop = MIN(last->start + last->bytes, end);
		if (start > at)
			add(s, g->start + (at - from), start - at, 0, 0, g->prot);
		add(s, g->start + (start - from), stop - start, first->offset + (start - first->start),
		    stop - start, g->prot);
		at = stop;
	}
	if (at < end)
		add(s, g->start + (at - from), end - at, 0, 0, g->prot);
}

void segments_add_process(struct segments *s, const Godwit__Ckpt__Process *p, Godwit__Image__Chunk *const *chunks,
			  size_t n_chunks, uint64_t vdso_offset, bool holes)
{
	const Godwit__Ckpt__Memory *m = p->memory;

	for (size_t i = 0; i < m->n_regions; i++) {
		const Godwit__Ckpt__Region *g = m->regions[i];

		if (g->kind == GODWIT__CKPT__REGION__KIND__ANON_SHARED)
			add_region(s, g, g->object, g->offset, chunks, n_chunks, holes);
		else
			add_region(s, g, 0, g->start, chunks, n_chunks, holes);
	}
	if (vdso_offset)
		add(s, m->vdso_start, m->vdso_len, vdso_offset, m->vdso_len, PROT_READ | PROT_EXEC);
}
