/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_INJECT_PEEK_VMA_H
#define GW_INJECT_PEEK_VMA_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * The kernel's own flags of a process's mappings. smaps shows them as well, but walks every page for it: 10 ms a
 * GiB; a BPF program that walks the mappings takes 0.2 us each. What the bits mean differs between kernels: they
 * are good for comparing. (Kernel feature "bpf-peek".)
 */
struct peek_vma;

struct vma_raw {
	uint64_t start, flags;
};

/* `pid` in our pid namespace. -ENOSYS or -EPERM: not here. */
int peek_vma_open(pid_t pid, struct peek_vma **ret, struct err *e) must_check;
void peek_vma_free(struct peek_vma *p); /* NULL-safe */

/* All mappings in ascending order, on the heap. */
int peek_vma_read(struct peek_vma *p, struct vma_raw **ret, size_t *ret_n) must_check;

#endif
