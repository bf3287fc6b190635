/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MEMORY_TARGET_H
#define GW_MEMORY_TARGET_H

#include "memory/extent.h"
#include "memory/memory.h"

/*
 * The destination's view of an address space that is being rebuilt, shared by src/memory and src/state/mm.c. What
 * the stream says is believed only inside `places` and the objects.
 */

struct mm_shared {
	uint32_t id;
	uint64_t size;
	int fd;
	uint8_t *map;			    /* all of it, here, writable */
	struct extents populated, received; /* offsets */
};

struct mm_target {
	struct remote *remote;
	int agent_sock, agent_sock_there; /* over which descriptors reach the process; -1: none */
	int stream_there;		  /* the stream's socket in the process, while pages come; -1: not yet */
	struct extents places;		  /* private memory that may be written, sorted */
	struct extents populated;	  /* sorted; pages that exist there, though nothing was written yet */
	struct extents received;
	struct mm_shared *shared;
	size_t n_shared;
	uint64_t bridge_to; /* state/vdso.c's: the vDSO to which the job's bridges are to lead, 0: leave them */
	size_t last_place;  /* where the last look-up ended */
};

/* Makes a shared object of that size (a memfd if it has a name) and maps it here. */
int mm_target_add_shared(struct mm_target *t, uint32_t id, uint64_t size, const char *name,
			 struct err *e) must_check;
struct mm_shared *mm_target_shared(const struct mm_target *t, uint32_t id);

/* True if all of start..end may be written. */
bool mm_target_allows(struct mm_target *t, uint64_t start, uint64_t end);

#endif
