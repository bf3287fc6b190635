/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The blank process is emptied and filled with the regions of the description while the job still runs at the
 * source; their pages are populated, since faults are what receiving costs most. A region whose pages will come is
 * mapped writable until then.
 *
 * The final message is compared with the description. Where a final region and an early one overlap and are of the
 * same making (kind, object and place in it, flags that cannot be changed later), the overlap stays. The rest of
 * the early ones is unmapped, then the rest of the final ones mapped: so a heap that grew costs one mmap, and an
 * address space that did not change costs nothing. Both passes are linear.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/kernel.h"
#include "base/util.h"
#include "memory/vma.h"
#include "state/file.h"
#include "state/mm.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#define POPULATE_STEP (64ull << 20)
#define TOUCH_AT_ONCE 1024

bool mm_is_private(const Godwit__Ckpt__Region *g)
{
	return g->kind == GODWIT__CKPT__REGION__KIND__ANON_PRIVATE ||
	       g->kind == GODWIT__CKPT__REGION__KIND__STACK || g->kind == GODWIT__CKPT__REGION__KIND__FILE_PRIVATE;
}

static bool is_file(const Godwit__Ckpt__Region *g)
{
	return g->kind == GODWIT__CKPT__REGION__KIND__FILE_PRIVATE ||
	       g->kind == GODWIT__CKPT__REGION__KIND__FILE_SHARED;
}

/* Never writable and executable at once: some systems refuse that. */
uint32_t mm_early_prot(const Godwit__Ckpt__Region *g)
{
	if (!mm_is_private(g) || g->prot & PROT_WRITE || !(g->has_pages || g->n_resident || g->accounted))
		return g->prot;
	return PROT_READ | PROT_WRITE;
}

/* --- objects and files as descriptors over there --- */

struct there {
	uint64_t key; /* kind << 32 | id */
	int fd;
};

struct there_list {
	struct there *v;
	size_t n;
};

static uint64_t key_of(const Godwit__Ckpt__Region *g)
{
	return (uint64_t)!is_file(g) << 32 | g->object;
}

static bool needs_fd(const Godwit__Ckpt__Region *g)
{
	return is_file(g) || g->kind == GODWIT__CKPT__REGION__KIND__ANON_SHARED;
}

static int by_key(const void *a, const void *b)
{
	const struct there *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

static int there_fd(const struct there_list *l, const Godwit__Ckpt__Region *g)
{
	struct there key = { .key = key_of(g) },
		     *found = l->n ? bsearch(&key, l->v, l->n, sizeof *l->v, by_key) : NULL;

	return found ? found->fd : -1;
}

static int here_fd(struct state_target *d, const Godwit__Ckpt__Region *g, struct err *e)
{
	const struct mm_shared *o;

	if (is_file(g))
		return file_target_fd(d, g->object, e);
	o = mm_target_shared(d->mm, g->object);
	return o ? o->fd : err_set(e, -EPROTO, "an unknown shared object is mapped");
}

/* Hands over what the listed regions map, each once, and the executable (as key UINT64_MAX) if `exe`. */
static int hand_over(struct state_target *d, Godwit__Ckpt__Region *const *list, size_t n, bool exe,
		     struct there_list *l, struct err *e)
{
	_cleanup_free_ int *here = xmalloc((n + 1) * sizeof *here), *there = xmalloc((n + 1) * sizeof *there);
	size_t to = 0;
	int err;

	l->v = xmalloc((n + 1) * sizeof *l->v);
	for (size_t i = 0; i < n; i++)
		if (needs_fd(list[i]))
			l->v[l->n++] = (struct there) { key_of(list[i]), (int)i };
	qsort(l->v, l->n, sizeof *l->v, by_key);
	for (size_t i = 0; i < l->n; i++) {
		if (to && l->v[to - 1].key == l->v[i].key)
			continue;
		here[to] = here_fd(d, list[l->v[i].fd], e);
		if (here[to] < 0)
			return here[to];
		l->v[to++] = l->v[i];
	}
	if (exe) {
		here[to] = file_target_fd(d, d->process->memory->exe_object, e);
		if (here[to] < 0)
			return here[to];
		l->v[to++].key = UINT64_MAX;
	}
	l->n = to;
	err = remote_put_fds(d->remote, &d->remote->threads[0], d->agent_sock, d->agent_sock_there, here, to,
			     there, e);
	for (size_t i = 0; i < to; i++)
		l->v[i].fd = err ? -1 : there[i];
	return err;
}

static int close_there(struct mm_run *x, struct there_list *l, struct err *e)
{
	int err = 0;

	for (size_t i = 0; i < l->n && !err; i++) {
		err = mm_run_room(x, 1, 0, e);
		if (!err)
			batch_call(x->b, NULL, SYS_close, bval((uint64_t)l->v[i].fd));
	}
	return err;
}

/* --- mapping --- */

/* start..end of a region; `fd` over there, or -1. */
static int map_piece(struct mm_run *x, const Godwit__Ckpt__Region *g, uint64_t start, uint64_t end, int fd,
		     struct err *e)
{
	uint32_t flags = MAP_FIXED_NOREPLACE | (g->flags & MAP_NORESERVE);
	int err = mm_run_room(x, 1, 0, e);

	if (err)
		return err;
	if (g->flags & MM_DROPPABLE)
		flags |= MM_DROPPABLE;
	else
		flags |= mm_is_private(g) ? MAP_PRIVATE : MAP_SHARED;
	if (!needs_fd(g))
		flags |= MAP_ANONYMOUS;
	if (g->kind == GODWIT__CKPT__REGION__KIND__STACK)
		flags |= MAP_GROWSDOWN;
	batch_call(x->b, "mapping memory", SYS_mmap, bval(start), bval(end - start), bval(mm_early_prot(g)),
		   bval(flags), bval((uint64_t)(int64_t)fd),
		   bval(needs_fd(g) ? g->offset + (start - g->start) : 0));
	return 0;
}

/* Before 5.14: a write to each page, from here. What they hold until the real content comes is nobody's business.
 */
static void touch_pages(const struct mm_run *x, uint64_t start, uint64_t end)
{
	static const uint8_t zeroes[TOUCH_AT_ONCE];
	struct iovec here = { .iov_base = (void *)(uintptr_t)zeroes }, there[TOUCH_AT_ONCE];

	while (start < end) {
		size_t n = 0;

		for (; n < TOUCH_AT_ONCE && start < end; n++, start += PAGE_BYTES)
			there[n] = (struct iovec) { (void *)(uintptr_t)start, 1 };
		here.iov_len = n;
		if (process_vm_writev(x->remote->pid, &here, 1, there, n, 0) < 0)
			return; /* then they come by faults */
	}
}

static int populate_run(struct mm_run *x, const Godwit__Ckpt__Region *g, uint64_t start, uint64_t end,
			struct err *e)
{
	/* A file's own pages need no copy; of shared memory we may not even be allowed to write. */
	bool writes = mm_early_prot(g) & PROT_WRITE;

	if (!kernel_has(KERNEL_POPULATE)) {
		if (writes)
			touch_pages(x, start, end);
		return 0;
	}
	while (start < end) {
		uint64_t step = MIN(end - start, POPULATE_STEP);
		int err = mm_run_room(x, 1, 0, e);

		if (err)
			return err;
		/* Not worth failing for: pages then come by faults. */
		batch_call(x->b, NULL, SYS_madvise, bval(start), bval(step),
			   bval(writes ? MADV_POPULATE_WRITE : MADV_POPULATE_READ));
		start += step;
	}
	return 0;
}

static int populate_private(struct state_target *d, struct mm_run *x, const Godwit__Ckpt__Region *g, struct err *e)
{
	uint64_t at = g->start;
	int err = 0;

	for (size_t i = 0; i + 1 < g->n_resident && !err; i += 2) {
		uint64_t start = at + g->resident[i] * PAGE_BYTES, end = start + g->resident[i + 1] * PAGE_BYTES;

		err = populate_run(x, g, start, end, e);
		extents_add(&d->mm->populated, start, end);
		at = end;
	}
	return err;
}

/* The job's own cgroup pays for its shared memory: so the blank touches it, where it maps it, not we. */
static int populate_shared(struct state_target *d, struct mm_run *x, const Godwit__Ckpt__Region *g, struct err *e)
{
	struct mm_shared *o = mm_target_shared(d->mm, g->object);
	struct extents part = { 0 };
	int err = 0;

	extents_within(&o->populated, g->offset, g->offset + (g->end - g->start), NULL, &part);
	for (size_t i = 0; i < part.n && !err; i++)
		err = populate_run(x, g, g->start + (part.e[i].start - g->offset),
				   g->start + (part.e[i].end - g->offset), e);
	extents_done(&part);
	return err;
}

static int populate(struct state_target *d, struct mm_run *x, const Godwit__Ckpt__Memory *m, struct err *e)
{
	int err = 0;

	for (size_t i = 0; i < m->n_regions && !err; i++) {
		const Godwit__Ckpt__Region *g = m->regions[i];

		if (mm_is_private(g))
			err = populate_private(d, x, g, e);
		else if (g->kind == GODWIT__CKPT__REGION__KIND__ANON_SHARED)
			err = populate_shared(d, x, g, e);
	}
	extents_sort(&d->mm->populated);
	return err;
}

/* --- prepare --- */

/* Unmaps start..end but for what is to stay. */
static void unmap_around(struct mm_run *x, uint64_t start, uint64_t end, uint64_t keep, uint64_t keep_end)
{
	if (keep < end && keep_end > start) {
		if (keep > start)
			batch_call(x->b, "emptying the blank process", SYS_munmap, bval(start),
				   bval(keep - start));
		start = keep_end;
	}
	if (start < end)
		batch_call(x->b, "emptying the blank process", SYS_munmap, bval(start), bval(end - start));
}

/*
 * Registering for memory barriers (membarrier) takes an RCU grace period, milliseconds, once there are threads;
 * now it is free. Whether the job has done so is known only when it stands still: so what programs use is
 * registered for all. Nobody notices, and a kernel that cannot do it has not let the job do it either.
 */
static void register_barriers(struct mm_run *x)
{
	for (uint32_t bit = 1; bit <= MM_BARRIERS_EARLY; bit <<= 1)
		if (bit & MM_BARRIERS_EARLY)
			batch_call(x->b, NULL, SYS_membarrier, bval(bit));
}

static int empty(struct state_target *d, struct mm_run *x, struct err *e)
{
	uint64_t agent = x->remote->agent.a, end = agent + remote_agent_size();
	struct vdso_plan plan;
	bool moves;
	int err = vdso_plan(d, &plan, e);

	if (err)
		return err;
	moves = plan.wanted && !kernel_has(KERNEL_MAP_VDSO);
	if (moves)
		err = vdso_move(d, x, &plan, e);
	if (err)
		return err;
	register_barriers(x);
	unmap_around(x, 0, agent, moves ? plan.at : 0, moves ? plan.at + plan.len : 0);
	unmap_around(x, end, VMA_USER_END, moves ? plan.at : 0, moves ? plan.at + plan.len : 0);
	err = mm_run_flush(x, e);
	if (!err && plan.wanted && !moves)
		err = vdso_map(x, &plan, e);
	return err || !plan.wanted ? err : vdso_finish(d, x, &plan, e);
}

static int make_objects(struct state_target *d, struct err *e)
{
	for (size_t i = 0; i < d->job->n_shared; i++) {
		const Godwit__Ckpt__Region *o = d->job->shared[i];
		struct mm_shared *shared = mm_target_shared(d->mm, o->object);
		uint64_t at = 0;
		int err;

		if (shared) {
			if (shared->size != o->end)
				return err_set(e, -EAGAIN,
					       "shared memory changed its size while the job was moved");
			continue;
		}
		err = mm_target_add_shared(d->mm, o->object, o->end, o->name, e);
		if (err)
			return err;
		shared = mm_target_shared(d->mm, o->object);
		for (size_t k = 0; k + 1 < o->n_resident; k += 2) {
			at += o->resident[k] * PAGE_BYTES;
			extents_add(&shared->populated, at, at + o->resident[k + 1] * PAGE_BYTES);
			at += o->resident[k + 1] * PAGE_BYTES;
		}
	}
	return 0;
}

static int map_all(struct state_target *d, struct mm_run *x, const struct there_list *l, struct err *e)
{
	const Godwit__Ckpt__Memory *m = d->process->memory;
	int err = 0;

	for (size_t i = 0; i < m->n_regions && !err; i++)
		err = map_piece(x, m->regions[i], m->regions[i]->start, m->regions[i]->end,
				there_fd(l, m->regions[i]), e);
	for (size_t i = 0; i < m->n_regions && !err; i++)
		if (m->regions[i]->n_advice)
			err = mm_advise(x, m->regions[i], 0, 0, e);
	return err ? err : mm_run_flush(x, e);
}

static int prepare_in(struct state_target *d, struct mm_run *x, struct there_list *l, struct err *e)
{
	const Godwit__Ckpt__Memory *m = d->process->memory;
	int err = empty(d, x, e);

	if (!err)
		err = make_objects(d, e);
	if (!err)
		err = hand_over(d, m->regions, m->n_regions, true, l, e);
	/* The link to the executable can be changed only while nothing of the old one is mapped. */
	if (!err)
		err = mm_set_map(d, x, l->v[l->n - 1].fd, e);
	if (!err)
		err = map_all(d, x, l, e);
	if (!err)
		err = close_there(x, l, e);
	if (!err)
		err = mm_run_flush(x, e);
	if (!err)
		err = populate(d, x, m, e);
	return err ? err : mm_run_flush(x, e);
}

int mm_prepare(struct state_target *d, struct err *e)
{
	struct there_list l = { 0 };
	struct mm_run x;
	int err = 0;

	if (!d->process->memory)
		return err_set(e, -EPROTO, "the source describes no memory");
	err = mm_validate(d->job, d->process->memory, d->remote->agent.a, e);
	if (!err && !d->mm)
		err = memory_target_new(d->remote, &d->mm, e);
	if (err)
		return err;
	d->mm->agent_sock = d->agent_sock;
	d->mm->agent_sock_there = d->agent_sock_there;
	mm_run_init(&x, d->remote);
	err = prepare_in(d, &x, &l, e);
	free(l.v);
	mm_run_done(&x);
	return err;
}

/* --- corrections --- */

static uint32_t huge_advice(const Godwit__Ckpt__Region *g)
{
	uint32_t found = 0;

	for (size_t i = 0; i < g->n_advice; i++)
		if (g->advice[i] == MADV_HUGEPAGE || g->advice[i] == MADV_NOHUGEPAGE)
			found = g->advice[i];
	return found;
}

/* What has been made from `a` serves for `b` where they overlap. Huge-page advice cannot be taken back to neither.
 */
static bool same_making(const Godwit__Ckpt__Region *a, const Godwit__Ckpt__Region *b)
{
	if (a->kind != b->kind || a->flags != b->flags || huge_advice(a) != huge_advice(b))
		return false;
	return !needs_fd(a) ||
	       (a->object == b->object && a->writes == b->writes && a->start - a->offset == b->start - b->offset);
}

typedef int piece_fn(void *ctx, const Godwit__Ckpt__Region *g, uint64_t start, uint64_t end, struct err *e);

/* Calls `fn` for every part of `a`'s regions that no region of `b` of the same making covers. */
static int for_each_difference(const Godwit__Ckpt__Memory *a, const Godwit__Ckpt__Memory *b, piece_fn *fn,
			       void *ctx, struct err *e)
{
	size_t k = 0;
	int err = 0;

	for (size_t i = 0; i < a->n_regions && !err; i++) {
		const Godwit__Ckpt__Region *g = a->regions[i];
		uint64_t at = g->start;

		while (k < b->n_regions && b->regions[k]->end <= g->start)
			k++;
		for (size_t j = k; j < b->n_regions && b->regions[j]->start < g->end && !err; j++) {
			if (!same_making(g, b->regions[j]))
				continue;
			if (b->regions[j]->start > at)
				err = fn(ctx, g, at, b->regions[j]->start, e);
			at = MAX(at, b->regions[j]->end);
		}
		if (at < g->end && !err)
			err = fn(ctx, g, at, g->end, e);
	}
	return err;
}

struct piece {
	Godwit__Ckpt__Region *g;
	uint64_t start, end;
};

struct correction {
	struct state_target *d;
	struct mm_run x;
	struct piece *added;
	size_t n_added;
	struct there_list there;
};

static int drop_piece(void *ctx, const Godwit__Ckpt__Region *g, uint64_t start, uint64_t end, struct err *e)
{
	struct correction *c = ctx;
	int err = mm_run_room(&c->x, 1, 0, e);

	(void)g;
	if (!err)
		batch_call(c->x.b, "unmapping what the job has unmapped", SYS_munmap, bval(start),
			   bval(end - start));
	return err;
}

static int note_piece(void *ctx, const Godwit__Ckpt__Region *g, uint64_t start, uint64_t end, struct err *e)
{
	struct correction *c = ctx;

	(void)e;
	if (!(c->n_added & (c->n_added - 1)))
		c->added = xrealloc(c->added, MAX(2 * c->n_added, (size_t)1) * sizeof *c->added);
	c->added[c->n_added++] = (struct piece) { (Godwit__Ckpt__Region *)(uintptr_t)g, start, end };
	return 0;
}

static int map_added(struct correction *c, struct err *e)
{
	_cleanup_free_ Godwit__Ckpt__Region **list = xmalloc((c->n_added + 1) * sizeof(*list));
	int err;

	for (size_t i = 0; i < c->n_added; i++)
		list[i] = c->added[i].g;
	err = hand_over(c->d, list, c->n_added, false, &c->there, e);
	for (size_t i = 0; i < c->n_added && !err; i++)
		err = map_piece(&c->x, c->added[i].g, c->added[i].start, c->added[i].end,
				there_fd(&c->there, c->added[i].g), e);
	return err ? err : close_there(&c->x, &c->there, e);
}

/* Pages will come for regions that looked as if they had none: make those writable. And note where pages may go.
 */
static int open_places(struct correction *c, struct err *e)
{
	const Godwit__Ckpt__Memory *early = c->d->early->processes[0]->memory, *m = c->d->process->memory;
	struct extents *places = &c->d->mm->places;
	size_t k = 0;
	int err = 0;

	places->n = 0;
	for (size_t i = 0; i < m->n_regions && !err; i++) {
		const Godwit__Ckpt__Region *g = m->regions[i];

		if (!mm_is_private(g) || !g->has_pages)
			continue;
		extents_add(places, g->start, g->end);
		while (k < early->n_regions && early->regions[k]->end <= g->start)
			k++;
		for (size_t j = k; j < early->n_regions && early->regions[j]->start < g->end && !err; j++) {
			uint64_t start = MAX(early->regions[j]->start, g->start),
				 end = MIN(early->regions[j]->end, g->end);

			if (mm_early_prot(early->regions[j]) & PROT_WRITE || !same_making(early->regions[j], g))
				continue;
			err = mm_run_room(&c->x, 1, 0, e);
			if (!err)
				batch_call(c->x.b, "making room for pages", SYS_mprotect, bval(start),
					   bval(end - start), bval(PROT_READ | PROT_WRITE));
		}
	}
	return err;
}

static int correct(struct correction *c, struct err *e)
{
	struct state_target *d = c->d;
	const Godwit__Ckpt__Memory *early = d->early->processes[0]->memory, *m = d->process->memory;
	int err = make_objects(d, e);

	if (!err)
		err = for_each_difference(early, m, drop_piece, c, e);
	if (!err)
		err = for_each_difference(m, early, note_piece, c, e);
	/* What is unmapped must be gone before the descriptors are handed over by another batch. */
	if (!err)
		err = mm_run_flush(&c->x, e);
	if (!err && c->n_added)
		err = map_added(c, e);
	if (!err)
		err = open_places(c, e);
	return err ? err : mm_run_flush(&c->x, e);
}

int mm_restore(struct state_target *d, struct batch *b, struct err *e)
{
	struct correction c = { .d = d };
	int err;

	(void)b;
	if (!d->process->memory || d->early->n_processes != 1 || !d->early->processes[0]->memory || !d->mm)
		return err_set(e, -EPROTO, "the source's final message says nothing of memory");
	err = mm_validate(d->job, d->process->memory, d->remote->agent.a, e);
	if (err)
		return err;
	mm_run_init(&c.x, d->remote);
	err = correct(&c, e);
	mm_run_done(&c.x);
	free(c.added);
	free(c.there.v);
	return err;
}
