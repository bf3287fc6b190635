/* SPDX-License-Identifier: Apache-2.0 */
/* The paper's own strategy: everything in one go, while the job is stopped. */
#include <errno.h>
#include <sys/mman.h>

#include "base/kernel.h"
#include "base/log.h"
#include "base/util.h"
#include "memory/chunk.h"
#include "memory/pump.h"

/* Below this setting up the pipes costs more than the copy that they save. */
#define PUMP_WORTH (4u << 20)
/* On a slower link it pays to look at the pages: zero ones need not be sent. */
#define SLOW_LINK (64u << 20)

struct eager {
	struct mm_snapshot *s;
	struct chunk_writer w;
	struct pump *pump; /* NULL: pages are copied */
};

static int send_private(struct eager *g, struct err *e)
{
	struct mm_snapshot *s = g->s;
	struct extents part = { 0 };
	size_t hint = 0;
	int err = 0;

	for (size_t i = 0; i < s->vmas.n && !err; i++) {
		const struct vma *v = &s->vmas.v[i];

		part.n = 0;
		extents_within(&s->pages, v->start, v->end, &hint, &part);
		g->w.readable = v->prot & PROT_READ;
		/* A zero page of a private file mapping hides what the file holds. */
		g->w.skip_zero = s->kinds[i] != VMA_KIND_FILE_PRIVATE;
		if (part.n)
			err = g->pump && g->w.readable ? pump_send(g->pump, &part, e)
						       : chunk_send(&g->w, &part, e);
	}
	extents_done(&part);
	return err || !g->pump ? err : pump_flush(g->pump, e);
}

/* Too few descriptors left in the job, say: not a reason to fail. */
static int try_pump(struct eager *g, struct stream *stream, struct err *e)
{
	uint64_t rate = stream_link_rate(stream);
	struct err why = { 0 };
	int err;

	if (stream_is_sealed(stream) || extents_bytes(&g->s->pages) < PUMP_WORTH || (rate && rate < SLOW_LINK) ||
	    !kernel_has(KERNEL_VMSPLICE))
		return 0;
	g->pump = xmalloc(sizeof *g->pump);
	err = pump_open(g->pump, g->s->remote, stream, g->w.stats, &why);
	if (!err)
		return 0;
	log_debug("pages are copied: %s", err_text(&why));
	err = pump_close(g->pump, e);
	free(g->pump);
	g->pump = NULL;
	return err;
}

static int send_all(struct eager *g, struct stream *stream, struct err *e)
{
	int err = try_pump(g, stream, e);

	if (!err)
		err = send_private(g, e);
	for (size_t i = 0; i < g->s->n_objects && !err; i++) {
		g->w.object = &g->s->objects[i];
		g->w.skip_zero = true;
		err = chunk_send(&g->w, &g->s->objects[i].pages, e);
	}
	return err ? err : chunk_send_end(&g->w, e);
}

static int eager_send(struct mm_snapshot *s, struct stream *stream, struct memory_stats *stats, struct err *e)
{
	struct eager g = { .s = s, .w = { .source = s, .stream = stream, .stats = stats } };
	int err = send_all(&g, stream, e);

	stats->rounds = 1;
	if (g.pump) {
		int closed = pump_close(g.pump, err ? NULL : e);

		err = err ? err : closed;
		free(g.pump);
	}
	return err;
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
