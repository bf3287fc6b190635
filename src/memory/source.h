/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MEMORY_SOURCE_H
#define GW_MEMORY_SOURCE_H

#include "memory/extent.h"
#include "memory/memory.h"
#include "memory/scan.h"
#include "memory/vma.h"

/*
 * The source's view of an address space, shared by src/memory and src/state/mm.c. It is looked at twice: while the
 * process runs (all of it, slowly) and when it is stopped (the list of mappings and the page map only).
 */

/* A shared anonymous object: MAP_SHARED | MAP_ANONYMOUS memory, or a memfd that is only mapped. */
struct mm_object {
	uint32_t id; /* from 1 */
	uint64_t dev, ino, size;
	char *name; /* of a memfd; NULL: anonymous */
	int seals;
	int fd;		      /* the object itself, by /proc/PID/map_files */
	const uint8_t *map;   /* the whole of it, here */
	struct extents pages; /* offsets that hold something */
};

/* Which file of the checkpoint message a mapped file is. */
struct mm_file {
	uint64_t dev, ino;
	bool writes;
	uint32_t id;
};

struct mm_snapshot {
	pid_t pid;
	int proc;
	int maps, smaps, mem;
	struct scan scan;
	struct vma_list vmas; /* with flags; the agent's own mapping is cut out */
	enum vma_kind *kinds; /* by position in vmas */
	struct extents pages; /* private pages that hold something, all mappings */
	struct extents guards;
	struct mm_object *objects;
	size_t n_objects;
	struct mm_file *files; /* state/mm.c's, sorted: opening what is mapped is slow, once is enough */
	size_t n_files;
	int ask_brk, ask_mdwe, ask_barriers;	/* state/mm.c's calls in the leader's batch */
	uint64_t locked_kb;			/* VmLck at the last look */
	struct remote *remote;			/* the stopped process, from the freeze on */
	uint64_t agent;				/* address of the agent's mapping at the freeze, 0: none */
	bool lock_future, lock_future_on_fault; /* mlockall(MCL_FUTURE); known after the freeze */
	bool frozen;
	bool looked_twice; /* the flags were read again at the freeze */
};

/* The object behind a mapping of kind VMA_KIND_ANON_SHARED, NULL for any other. */
struct mm_object *mm_snapshot_object(const struct mm_snapshot *s, const struct vma *v);

/* Opens what is mapped there (/proc/PID/map_files). Write access is asked for if `writes`. */
int mm_snapshot_open(const struct mm_snapshot *s, const struct vma *v, bool writes, struct err *e) must_check;

#endif
