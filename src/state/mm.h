/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_MM_H
#define GW_STATE_MM_H

#include "memory/target.h"
#include "state/state.h"

/*
 * The shape of an address space: mappings, protections, advice, locks, brk and the rest of what the kernel keeps
 * of an image (auxv, argument bounds, the executable). What is in the pages is src/memory's.
 *
 * prepare empties the blank process but for the agent and builds the description; restore corrects what the final
 * message says otherwise; then the pages come; finish puts protections, locks and names in force.
 */
extern const struct state_module state_mm;

/* Where the job has something: pairs start, end (heap, the caller's), for remote_agent_hole(). Returns how many.
 */
size_t mm_busy(const Godwit__Ckpt__Memory *m, uint64_t (**ret)[2]);

/* --- private to src/state/mm*.c and vdso.c --- */

#define MM_REGIONS_MAX (1u << 20)
#define MM_BARRIER_GET (1u << 9)			    /* membarrier commands; GET_REGISTRATIONS since 6.3 */
#define MM_BARRIERS (1u << 2 | 1u << 4 | 1u << 6 | 1u << 8) /* those that register */
#define MM_BARRIERS_EARLY (1u << 4 | 1u << 6)
#define MM_DROPPABLE 0x08u /* MAP_DROPPABLE, since 6.11 */

/* A batch in the leader that runs itself when it is full. */
struct mm_run {
	struct remote *remote;
	struct batch *b;
};
void mm_run_init(struct mm_run *x, struct remote *r);
void mm_run_done(struct mm_run *x); /* frees; what is queued is dropped */
int mm_run_room(struct mm_run *x, unsigned calls, size_t bytes, struct err *e) must_check;
int mm_run_flush(struct mm_run *x, struct err *e) must_check;

/* Everything that a message says about memory, checked: bounds, order, kinds, references. `agent`: nothing may be
 * there. */
int mm_validate(const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Memory *m, uint64_t agent,
		struct err *e) must_check;

/* mm_admit.c: what the destination must be able to do for this memory. */
void mm_require_kernel(const struct mm_snapshot *mm, Godwit__Ckpt__Requirements *q);
int mm_admit(struct state_target *d, const Godwit__Ckpt__Requirements *q, struct err *e) must_check;

/* mm_build.c */
int mm_prepare(struct state_target *d, struct err *e) must_check;
int mm_restore(struct state_target *d, struct batch *b, struct err *e) must_check;
/* mm_finish.c */
int mm_finish(struct state_target *d, struct batch *b, struct err *e) must_check;
int mm_set_map(struct state_target *d, struct mm_run *x, int exe_there, struct err *e) must_check;

/* Advice as a mask private to mm_finish.c. mm_advise gives a region the advice that it shall have: `all` holds for
 * the whole of it already, `some` for parts of it. */
uint32_t mm_advice_of(const Godwit__Ckpt__Region *g);
int mm_advise(struct mm_run *x, const Godwit__Ckpt__Region *g, uint32_t all, uint32_t some,
	      struct err *e) must_check;

/* What a region is mapped with until the pages have come. */
uint32_t mm_early_prot(const Godwit__Ckpt__Region *g);
bool mm_is_private(const Godwit__Ckpt__Region *g);

/* vdso.c: the job's vDSO at its old address: this kernel's own if it is the same, else a bridge. The address space
 * is empty. */
int vdso_describe(struct state_source *s, Godwit__Ckpt__Memory *m, struct err *e) must_check;
/* Redirects the functions of an old image to their namesakes in a new one that lies at `new_start`. For tests,
 * too. */
int vdso_bridge(uint8_t *old_image, size_t old_len, const uint8_t *new_image, size_t new_len, uint64_t new_start,
		struct err *e) must_check;

struct vdso_place {
	uint64_t text, text_len, data, data_len;
};
struct vdso_plan {
	bool wanted;	      /* the job has one */
	bool same;	      /* as this kernel's: no bridge */
	uint64_t at, len;     /* where this kernel's goes, its data pages first */
	const uint8_t *image; /* this program's own */
	struct vdso_place own;
};
/* The steps, in order: decide; before the blank is emptied, move its vDSO if the kernel cannot map a new one;
 * after it, map one otherwise; see that it is where it should be, and bridge it if it is not the same. */
int vdso_plan(struct state_target *d, struct vdso_plan *plan, struct err *e) must_check;
int vdso_move(struct state_target *d, struct mm_run *x, const struct vdso_plan *plan, struct err *e) must_check;
int vdso_map(struct mm_run *x, const struct vdso_plan *plan, struct err *e) must_check;
int vdso_finish(struct state_target *d, struct mm_run *x, const struct vdso_plan *plan, struct err *e) must_check;
/* When the pages have come: leads the bridge that the job brought with it to this kernel's vDSO, if need be. */
int vdso_lead(struct state_target *d, struct mm_run *x, struct err *e) must_check;

#endif
