/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>

#include "base/util.h"
#include "memory/vma.h"
#include "state/mm.h"

void mm_run_init(struct mm_run *x, struct remote *r)
{
	*x = (struct mm_run) { .remote = r, .b = xmalloc(sizeof(struct batch)) };
	batch_init(x->b);
}

void mm_run_done(struct mm_run *x)
{
	free(x->b);
	x->b = NULL;
}

int mm_run_flush(struct mm_run *x, struct err *e)
{
	int err;

	if (!x->b->n_calls)
		return 0;
	err = batch_run(x->remote, &x->remote->threads[0], x->b, e);
	/* The words do not say where: nearly every call here has an address first. */
	for (unsigned i = 0; err && i < x->b->n_calls; i++) {
		const struct batch_call *c = &x->b->call[i];

		if (c->expect && c->ret < 0 && c->ret != -ECANCELED) {
			(void)err_wrap(e, "address %llx, %llx bytes", (unsigned long long)c->arg[0],
				       (unsigned long long)c->arg[1]);
			break;
		}
	}
	batch_init(x->b);
	return err;
}

int mm_run_room(struct mm_run *x, unsigned calls, size_t bytes, struct err *e)
{
	return batch_fits(x->b, calls, bytes) ? 0 : mm_run_flush(x, e);
}

size_t mm_busy(const Godwit__Ckpt__Memory *m, uint64_t (**ret)[2])
{
	uint64_t(*busy)[2] = xcalloc(m->n_regions + 2, sizeof *busy);
	size_t n = 0;

	for (size_t i = 0; i < m->n_regions; i++, n++) {
		busy[n][0] = m->regions[i]->start;
		busy[n][1] = m->regions[i]->end;
	}
	/* The stack grows down, the heap up: not close to either. */
	for (size_t i = 0; i < m->n_regions; i++)
		if (m->regions[i]->kind == GODWIT__CKPT__REGION__KIND__STACK && busy[i][0] > (64 << 20))
			busy[i][0] -= 64 << 20;
	if (m->vdso_len + m->vvar_len) {
		busy[n][0] = m->vvar_len && m->vvar_start < m->vdso_start ? m->vvar_start : m->vdso_start;
		busy[n][1] = MAX(m->vdso_start + m->vdso_len, m->vvar_start + m->vvar_len);
		n++;
	}
	busy[n][0] = m->start_brk;
	busy[n][1] = m->brk + (64 << 20);
	n++;
	*ret = busy;
	return n;
}

/* --- what a message may say --- */

static const char *bad_region(const Godwit__Ckpt__Region *g, uint64_t floor)
{
	if (g->start >= g->end || (g->start | g->end | g->offset) % PAGE_BYTES || g->end > VMA_USER_END)
		return "impossible bounds";
	if (g->start < floor)
		return "it overlaps its neighbour";
	if (g->kind <= GODWIT__CKPT__REGION__KIND__NONE || g->kind > GODWIT__CKPT__REGION__KIND__STACK)
		return "an unknown kind";
	if (g->prot & ~(uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))
		return "impossible protections";
	if (g->flags & ~(uint32_t)(MAP_NORESERVE | MM_DROPPABLE))
		return "unknown flags";
	return NULL;
}

static const char *bad_runs(const uint64_t *run, size_t n, uint64_t start, uint64_t end)
{
	uint64_t left = (end - start) / PAGE_BYTES;

	if (n % 2)
		return "a torn list of pages";
	for (size_t i = 0; i < n; i++) {
		if (run[i] > left)
			return "pages outside itself";
		left -= run[i];
	}
	return NULL;
}

static const Godwit__Ckpt__Region *object_of(const Godwit__Ckpt__Job *job, uint32_t id)
{
	for (size_t i = 0; i < job->n_shared; i++)
		if (job->shared[i]->object == id)
			return job->shared[i];
	return NULL;
}

static const char *bad_reference(const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Region *g)
{
	const Godwit__Ckpt__Region *o;

	if (g->kind != GODWIT__CKPT__REGION__KIND__ANON_SHARED)
		return NULL;
	o = object_of(job, g->object);
	/* A mapping may reach beyond the end of a memfd; not the other way round. */
	return o && g->offset <= VMA_USER_END ? NULL : "an unknown shared object";
}

static const char *bad_objects(const Godwit__Ckpt__Job *job)
{
	for (size_t i = 0; i < job->n_shared; i++) {
		const Godwit__Ckpt__Region *o = job->shared[i];
		const char *bad;

		if (!o->object || o->start || !o->end || o->end % PAGE_BYTES || o->end > VMA_USER_END)
			return "an impossible shared object";
		bad = bad_runs(o->resident, o->n_resident, 0, o->end);
		if (bad)
			return bad;
	}
	return NULL;
}

int mm_validate(const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Memory *m, uint64_t agent, struct err *e)
{
	uint64_t floor = PAGE_BYTES, agent_end = agent + (agent ? remote_agent_size() : 0);
	const char *bad = bad_objects(job);

	if (bad || m->n_regions > MM_REGIONS_MAX)
		return err_set(e, -EPROTO, "the source describes %s", bad ? bad : "too many mappings");
	for (size_t i = 0; i < m->n_regions; i++) {
		const Godwit__Ckpt__Region *g = m->regions[i];

		bad = bad_region(g, floor);
		if (!bad)
			bad = bad_runs(g->resident, g->n_resident, g->start, g->end);
		if (!bad)
			bad = bad_runs(g->guards, g->n_guards, g->start, g->end);
		if (!bad)
			bad = bad_reference(job, g);
		if (!bad && g->start < agent_end && g->end > agent)
			return err_set(e, -EAGAIN,
				       "the job has mapped memory at %llx, where the agent is: try again",
				       (unsigned long long)g->start);
		if (bad)
			return err_set(e, -EPROTO, "the source describes mapping %llx-%llx: %s",
				       (unsigned long long)g->start, (unsigned long long)g->end, bad);
		floor = g->end;
	}
	return 0;
}
