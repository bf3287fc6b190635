/* SPDX-License-Identifier: Apache-2.0 */
/* The paper's own strategy: everything in one go, while the job is stopped. */
#include <sys/mman.h>

#include "base/util.h"
#include "memory/chunk.h"

static int send_private(struct mm_snapshot *s, struct chunk_writer *w, struct err *e)
{
	struct extents part = { 0 };
	size_t hint = 0;
	int err = 0;

	for (size_t i = 0; i < s->vmas.n && !err; i++) {
		const struct vma *v = &s->vmas.v[i];

		part.n = 0;
		extents_within(&s->pages, v->start, v->end, &hint, &part);
		w->readable = v->prot & PROT_READ;
		/* A zero page of a private file mapping hides what the file holds. */
		w->skip_zero = s->kinds[i] != VMA_KIND_FILE_PRIVATE;
		if (part.n)
			err = chunk_send(w, &part, e);
	}
	extents_done(&part);
	return err;
}

static int eager_send(struct mm_snapshot *s, struct stream *stream, struct memory_stats *stats, struct err *e)
{
	struct chunk_writer w = { .source = s, .stream = stream, .stats = stats };
	int err = send_private(s, &w, e);

	for (size_t i = 0; i < s->n_objects && !err; i++) {
		w.object = &s->objects[i];
		w.skip_zero = true;
		err = chunk_send(&w, &s->objects[i].pages, e);
	}
	stats->rounds = 1;
	return err ? err : chunk_send_end(&w, e);
}

static int eager_receive(struct mm_target *t, struct stream *stream, struct memory_stats *stats, struct err *e)
{
	stats->rounds = 1;
	return chunk_receive_all(t, stream, stats, e);
}

const struct memory_strategy memory_eager = {
	.name = "eager",
	.send = eager_send,
	.receive = eager_receive,
};
