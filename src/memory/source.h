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
	bool used;
	uint32_t id; /* from 1 */
	uint64_t dev, ino, size;
	char *name;	      /* of a memfd; NULL: anonymous */
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

struct peek_vma;
struct vma_raw;

struct mm_snapshot {
	pid_t pid;
	int proc;
	int maps, smaps, mem;
	struct scan scan;
	struct peek_vma *peek; /* NULL: this kernel does not let us */
	struct vma_list vmas;  /* with flags; the agent's own mapping is cut out */
	enum vma_kind *kinds;  /* by position in vmas */
	struct extents pages;  /* private pages that hold something, all mappings */
	struct extents guards;
	struct mm_object *objects;
	size_t n_objects;
	uint32_t last_id;
	struct mm_file *files; /* state/mm.c's, sorted: opening what is mapped is slow, once is enough */
	size_t n_files;
	int ask_brk, ask_mdwe, ask_barriers;	/* state/mm.c's calls in the leader's batch */
	uint64_t locked_kb;			/* VmLck at the last look */
	struct remote *remote;			/* the stopped process, from the freeze on */
	uint64_t agent;				/* address of the agent's mapping at the freeze, 0: none */
	bool lock_future, lock_future_on_fault; /* mlockall(MCL_FUTURE); known after the freeze */
	bool frozen;
	bool certain; /* the flags are those of the freeze; else memory_source_verify has to look */
};

/* The object behind a mapping of kind VMA_KIND_ANON_SHARED, NULL for any other. */
struct mm_object *mm_snapshot_object(const struct mm_snapshot *s, const struct vma *v);

/* Opens what is mapped there (/proc/PID/map_files). Write access is asked for if `writes`. */
int mm_snapshot_open(const struct mm_snapshot *s, const struct vma *v, bool writes, struct err *e) must_check;

/* --- source_flags.c --- */

/* The kernel's own flags of all mappings; empty if they cannot be had. */
struct mm_raw {
	struct vma_raw *v;
	size_t n;
};
void mm_flags_read(const struct mm_snapshot *s, struct mm_raw *ret);
void mm_raw_done(struct mm_raw *x);
/* Gives the mappings of a list those that were the same before and after it was read. */
void mm_flags_note(struct vma_list *l, const struct mm_raw *before, const struct mm_raw *after);
/* Finds out the flags of `now`, read from maps, by those of the description. False: smaps has to be asked. */
bool mm_flags_carry(const struct mm_snapshot *s, struct vma_list *now, bool *ret_certain);

#endif
