/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/util.h"
#include "memory/vma.h"
#include "state/mm.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif
#ifndef SYS_mseal
#define SYS_mseal 462 /* since 6.10 */
#endif
#define ADV_GUARD_INSTALL 102 /* since 6.13 */
#define LOCK_ONFAULT 1	      /* mlock2 */
#define PAGES_WORTH_DROPPING 16

/* --- advice --- */

static bool has_advice(const Godwit__Ckpt__Region *g, uint32_t advice)
{
	for (size_t i = 0; g && i < g->n_advice; i++)
		if (g->advice[i] == advice)
			return true;
	return false;
}

static const struct {
	uint32_t on, off;
	bool optional;
} advice_pairs[] = {
	{ MADV_SEQUENTIAL, MADV_NORMAL, false },
	{ MADV_RANDOM, MADV_NORMAL, false },
	{ MADV_DONTFORK, MADV_DOFORK, false },
	{ MADV_DONTDUMP, MADV_DODUMP, false },
	{ MADV_HUGEPAGE, 0, true },
	{ MADV_NOHUGEPAGE, 0, true },
	{ MADV_MERGEABLE, MADV_UNMERGEABLE, true },
	{ MADV_WIPEONFORK, MADV_KEEPONFORK, false },
};

uint32_t mm_advice_of(const Godwit__Ckpt__Region *g)
{
	uint32_t mask = 0;

	for (size_t i = 0; i < ARRAY_LEN(advice_pairs); i++)
		if (has_advice(g, advice_pairs[i].on))
			mask |= 1u << i;
	return mask;
}

/* Unknown advice in a message has no effect. */
int mm_advise(struct mm_run *x, const Godwit__Ckpt__Region *g, uint32_t all, uint32_t some, struct err *e)
{
	uint32_t want = mm_advice_of(g);
	int err = mm_run_room(x, 2 * ARRAY_LEN(advice_pairs), 0, e);

	if (err)
		return err;
	for (size_t i = 0; i < ARRAY_LEN(advice_pairs); i++)
		if (some & ~want & 1u << i && advice_pairs[i].off)
			batch_call(x->b, "taking back advice on memory", SYS_madvise, bval(g->start),
				   bval(g->end - g->start), bval(advice_pairs[i].off));
	for (size_t i = 0; i < ARRAY_LEN(advice_pairs); i++)
		/* A kernel without KSM or huge pages has nothing to be advised about. */
		if (want & ~all & 1u << i)
			batch_call(x->b, advice_pairs[i].optional ? NULL : "giving advice on memory", SYS_madvise,
				   bval(g->start), bval(g->end - g->start), bval(advice_pairs[i].on));
	return 0;
}

/* --- what was populated and did not come --- */

static int drop_stale_private(struct state_target *d, struct mm_run *x, struct err *e)
{
	const Godwit__Ckpt__Memory *m = d->process->memory;
	struct extents stale = { 0 }, part = { 0 };
	size_t hint = 0;
	int err = 0;

	extents_minus(&d->mm->populated, &d->mm->received, &stale);
	for (size_t i = 0; i < m->n_regions && !err; i++) {
		const Godwit__Ckpt__Region *g = m->regions[i];
		bool file = g->kind == GODWIT__CKPT__REGION__KIND__FILE_PRIVATE;

		part.n = 0;
		if (mm_is_private(g))
			extents_within(&stale, g->start, g->end, &hint, &part);
		for (size_t k = 0; k < part.n && !err; k++) {
			uint64_t len = part.e[k].end - part.e[k].start;

			/* An untouched page of anonymous memory reads as zero, there or not; only bigger ones are
			 * worth a call. A page of a file would hide what the file says now. */
			if (!file && len < PAGES_WORTH_DROPPING * PAGE_BYTES)
				continue;
			err = mm_run_room(x, 1, 0, e);
			if (!err)
				batch_call(x->b, file ? "dropping pages" : NULL, SYS_madvise,
					   bval(part.e[k].start), bval(len), bval(MADV_DONTNEED));
		}
	}
	extents_done(&part);
	extents_done(&stale);
	return err;
}

static void drop_stale_shared(struct state_target *d)
{
	for (size_t i = 0; i < d->mm->n_shared; i++) {
		struct mm_shared *o = &d->mm->shared[i];
		struct extents stale = { 0 };

		extents_minus(&o->populated, &o->received, &stale);
		for (size_t k = 0; k < stale.n; k++)
			if (stale.e[k].end - stale.e[k].start >= PAGES_WORTH_DROPPING * PAGE_BYTES)
				(void)fallocate(o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						(off_t)stale.e[k].start,
						(off_t)(stale.e[k].end - stale.e[k].start));
		extents_done(&stale);
	}
}

/* --- protections, guards, locks, names --- */

/* What the early regions under a final one have made of it. */
struct past {
	bool exact;	 /* one of the same bounds */
	bool same_prot;	 /* all of it is as it shall be */
	uint32_t advice; /* in force for some of it */
};

static struct past look_back(const Godwit__Ckpt__Memory *early, size_t *hint, const Godwit__Ckpt__Region *g)
{
	bool opened = mm_is_private(g) && g->has_pages && !(g->prot & PROT_WRITE);
	struct past p = { .same_prot = !opened && mm_early_prot(g) == g->prot };

	while (*hint < early->n_regions && early->regions[*hint]->end <= g->start)
		++*hint;
	for (size_t i = *hint; i < early->n_regions && early->regions[i]->start < g->end; i++) {
		const Godwit__Ckpt__Region *was = early->regions[i];

		p.exact = was->start == g->start && was->end == g->end && was->kind == g->kind;
		p.same_prot = p.exact && !opened ? true : p.same_prot;
		p.same_prot &= mm_early_prot(was) == g->prot;
		p.advice |= mm_advice_of(was);
	}
	return p;
}

static int protect(struct mm_run *x, const struct past *p, const Godwit__Ckpt__Region *g, struct err *e)
{
	int err;

	if (p->same_prot)
		return 0;
	err = mm_run_room(x, 1, 0, e);
	if (!err)
		batch_call(x->b, "protecting memory", SYS_mprotect, bval(g->start), bval(g->end - g->start),
			   bval(g->prot));
	return err;
}

static int install_guards(struct mm_run *x, const Godwit__Ckpt__Region *g, struct err *e)
{
	uint64_t at = g->start;
	int err = 0;

	for (size_t i = 0; i + 1 < g->n_guards && !err; i += 2) {
		uint64_t len = g->guards[i + 1] * PAGE_BYTES;

		at += g->guards[i] * PAGE_BYTES;
		err = mm_run_room(x, 1, 0, e);
		if (!err)
			batch_call(x->b, "installing a guard region", SYS_madvise, bval(at), bval(len),
				   bval(ADV_GUARD_INSTALL));
		at += len;
	}
	return err;
}

static int lock_and_name(struct mm_run *x, const Godwit__Ckpt__Region *g, struct err *e)
{
	int err = mm_run_room(x, 2, strlen(g->name) + 1, e);

	if (err)
		return err;
	if (g->locked)
		batch_call(x->b, "locking memory", SYS_mlock2, bval(g->start), bval(g->end - g->start),
			   bval(g->lock_on_fault ? LOCK_ONFAULT : 0));
	/* A kernel without names (they are an option) has nowhere to show them. */
	if (g->name[0])
		batch_call(x->b, NULL, SYS_prctl, bval(PR_SET_VMA), bval(PR_SET_VMA_ANON_NAME), bval(g->start),
			   bval(g->end - g->start), bdata(batch_put(x->b, g->name, strlen(g->name) + 1)));
	return 0;
}

static int finish_region(struct mm_run *x, const struct past *p, const Godwit__Ckpt__Region *g, struct err *e)
{
	int err = protect(x, p, g, e);

	if (!err && (p->advice || g->n_advice))
		err = mm_advise(x, g, p->exact ? p->advice : 0, p->advice, e);
	if (!err)
		err = install_guards(x, g, e);
	return err ? err : lock_and_name(x, g, e);
}

/* --- what the kernel keeps of the image --- */

static struct prctl_mm_map image_map(const Godwit__Ckpt__Memory *m, uint64_t auxv_there, int exe)
{
	return (struct prctl_mm_map) {
		.start_code = m->start_code,
		.end_code = m->end_code,
		.start_data = m->start_data,
		.end_data = m->end_data,
		.start_brk = m->start_brk,
		.brk = m->brk,
		.start_stack = m->start_stack,
		.arg_start = m->arg_start,
		.arg_end = m->arg_end,
		.env_start = m->env_start,
		.env_end = m->env_end,
		.auxv = (void *)(uintptr_t)auxv_there,
		.auxv_size = (uint32_t)m->auxv.len,
		.exe_fd = (uint32_t)exe,
	};
}

/* Works without CAP_SYS_RESOURCE, unlike setting one of them at a time. `exe_there`: -1 leaves the link as it is.
 */
int mm_set_map(struct state_target *d, struct mm_run *x, int exe_there, struct err *e)
{
	const Godwit__Ckpt__Memory *m = d->process->memory;
	struct prctl_mm_map map;
	uint32_t auxv;
	int err = mm_run_room(x, 1, m->auxv.len + sizeof map + 16, e);

	if (err)
		return err;
	if (m->auxv.len > 4096 || m->auxv.len % 16)
		return err_set(e, -EPROTO, "the source describes an impossible auxiliary vector");
	auxv = batch_put(x->b, m->auxv.data, m->auxv.len);
	map = image_map(m, remote_batch_addr(d->remote, auxv).a, exe_there);
	batch_call(x->b, "setting brk, auxv and the rest of the image", SYS_prctl, bval(PR_SET_MM),
		   bval(PR_SET_MM_MAP), bdata(batch_put(x->b, &map, sizeof map)), bval(sizeof map));
	return 0;
}

/* Nothing of a sealed mapping can be changed any more: last of all. */
static int seal_all(struct mm_run *x, const Godwit__Ckpt__Memory *m, struct err *e)
{
	int err = 0;

	for (size_t i = 0; i < m->n_regions && !err; i++) {
		const Godwit__Ckpt__Region *g = m->regions[i];

		if (!g->sealed)
			continue;
		err = mm_run_room(x, 1, 0, e);
		if (!err)
			batch_call(x->b, "sealing memory", SYS_mseal, bval(g->start), bval(g->end - g->start),
				   bval(0));
	}
	return err;
}

static int finish_in(struct state_target *d, struct mm_run *x, struct err *e)
{
	const Godwit__Ckpt__Memory *m = d->process->memory, *early = d->early->processes[0]->memory;
	size_t hint = 0;
	int err = vdso_lead(d, x, e);

	if (!err)
		err = drop_stale_private(d, x, e);

	for (size_t i = 0; i < m->n_regions && !err; i++) {
		const Godwit__Ckpt__Region *g = m->regions[i];

		struct past p = look_back(early, &hint, g);

		err = finish_region(x, &p, g, e);
	}
	if (!err)
		err = mm_set_map(d, x, -1, e);
	if (!err)
		err = mm_run_room(x, 6, 0, e);
	if (err)
		return err;
	if (m->lock_future)
		batch_call(x->b, "locking future memory", SYS_mlockall,
			   bval(MCL_FUTURE | (m->lock_future_on_fault ? MCL_ONFAULT : 0)));
	for (uint32_t bit = 1; bit <= MM_BARRIERS; bit <<= 1)
		if (m->barriers & MM_BARRIERS & ~MM_BARRIERS_EARLY & bit)
			batch_call(x->b, "registering for memory barriers", SYS_membarrier, bval(bit));
	if (m->mdwe)
		batch_call(x->b, "denying writable code", SYS_prctl, bval(PR_SET_MDWE), bval(m->mdwe));
	err = seal_all(x, m, e);
	return err ? err : mm_run_flush(x, e);
}

int mm_finish(struct state_target *d, struct batch *b, struct err *e)
{
	struct mm_run x;
	int err;

	(void)b;
	mm_run_init(&x, d->remote);
	err = finish_in(d, &x, e);
	mm_run_done(&x);
	if (!err)
		drop_stale_shared(d);
	return err;
}
