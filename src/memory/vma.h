/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MEMORY_VMA_H
#define GW_MEMORY_VMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* What /proc/PID/maps and smaps say, line by line. Linear in the number of mappings. */

#define PAGE_BYTES 4096ull
#define VMA_USER_END 0x7ffffffff000ull /* x86-64, four levels: where user space ends */

/* smaps' VmFlags, those that mean something to us. */
enum vma_flag {
	VMA_MAYWRITE = 1 << 0,	   /* mw */
	VMA_GROWSDOWN = 1 << 1,	   /* gd */
	VMA_PFNMAP = 1 << 2,	   /* pf io mm: not ordinary memory */
	VMA_LOCKED = 1 << 3,	   /* lo */
	VMA_LOCKONFAULT = 1 << 4,  /* lf */
	VMA_SEQUENTIAL = 1 << 5,   /* sr */
	VMA_RANDOM = 1 << 6,	   /* rr */
	VMA_DONTFORK = 1 << 7,	   /* dc */
	VMA_ACCOUNT = 1 << 8,	   /* ac */
	VMA_NORESERVE = 1 << 9,	   /* nr */
	VMA_HUGETLB = 1 << 10,	   /* ht */
	VMA_DONTDUMP = 1 << 11,	   /* dd */
	VMA_HUGEPAGE = 1 << 12,	   /* hg */
	VMA_NOHUGEPAGE = 1 << 13,  /* nh */
	VMA_MERGEABLE = 1 << 14,   /* mg */
	VMA_WIPEONFORK = 1 << 15,  /* wf */
	VMA_USERFAULT = 1 << 16,   /* um uw ui */
	VMA_SHADOWSTACK = 1 << 17, /* ss */
	VMA_SEALED = 1 << 18,	   /* sl */
	VMA_DROPPABLE = 1 << 19,   /* dp */
	VMA_SYNC = 1 << 20,	   /* sf: synchronous faults, DAX */
	VMA_SHARED = 1 << 21,	   /* sh: writes reach the object */
};

struct vma {
	uint64_t start, end, offset;
	uint32_t prot;	   /* PROT_* */
	bool shared;	   /* 's': MAP_SHARED, perhaps of a file opened for reading only */
	bool has_flags;	   /* smaps was read: flags and pkey hold */
	uint32_t flags;	   /* enum vma_flag */
	uint32_t pkey;	   /* protection key, 0 the default */
	uint64_t dev, ino; /* 0, 0: anonymous */
	uint64_t raw;	   /* the kernel's own flags, only good for comparing; 0: not known */
	uint64_t resident; /* bytes that smaps calls resident or swapped; only with has_flags */
	const char *path;  /* as the kernel shows it, "\n" unescaped; "": none. Lives in the list's text */
};

struct vma_list {
	struct vma *v;
	size_t n, room;
	char *text;
};

void vma_list_done(struct vma_list *l); /* of a zeroed or filled list; leaves it zeroed */

/*
 * Parses the text of maps or smaps, which becomes the list's (heap, NUL-terminated). Mappings ascend and do not
 * overlap, else -EAGAIN: the process changed them while they were read. A line that makes no sense is -EPROTO.
 */
int vma_list_parse(struct vma_list *l, char *text, struct err *e) must_check;

/* The same from a descriptor of /proc/PID/maps or smaps, read from its start: it may be kept and read again. */
int vma_list_read(struct vma_list *l, int fd, struct err *e) must_check;

/* The mapping that holds `addr`, NULL: none. */
const struct vma *vma_list_find(const struct vma_list *l, uint64_t addr);
/* The same mapping line by line, names and flags apart. */
bool vma_same_place(const struct vma *a, const struct vma *b);

/* --- what a mapping is, and whether it can move --- */

enum vma_kind {
	VMA_KIND_NONE, /* cannot move: see the reason */
	VMA_KIND_ANON_PRIVATE,
	VMA_KIND_STACK, /* anonymous, grows down */
	VMA_KIND_ANON_SHARED,
	VMA_KIND_FILE_PRIVATE,
	VMA_KIND_FILE_SHARED,
	VMA_KIND_VDSO,
	VMA_KIND_VVAR,
	VMA_KIND_KERNEL, /* [vsyscall]: everywhere the same */
};

struct vma_refusal {
	const char *reason, *help;
};

/* What the text alone tells. With VMA_KIND_NONE, `why` (may be NULL) is filled. A file mapping may turn out to be
 * of a device when it is opened. */
enum vma_kind vma_classify(const struct vma *v, struct vma_refusal *why);
/* The PR_SET_VMA_ANON_NAME of an anonymous mapping, or NULL; `*ret_len` without the closing bracket. */
const char *vma_anon_name(const struct vma *v, size_t *ret_len);

#endif
