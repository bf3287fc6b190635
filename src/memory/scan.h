/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MEMORY_SCAN_H
#define GW_MEMORY_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "memory/extent.h"

/*
 * Which pages of another process hold something: by PAGEMAP_SCAN (since Linux 6.7), else by reading the page map.
 * Mere zero pages do not count.
 */

enum scan_mode {
	SCAN_ANY,    /* present or swapped out */
	SCAN_COPIED, /* as SCAN_ANY, but not a page of the mapped file: what a private mapping of a file has of its
			own */
};

struct scan {
	int pagemap;
	bool has_ioctl;	   /* PAGEMAP_SCAN works */
	bool has_guards;   /* ... and tells guard regions (since 6.16) */
	uint64_t zero_pfn; /* page frame of the zero page; 0: unknown */
	struct scan_region *vec;
};

/* `proc`: /proc/PID. GODWIT_HIDE=pagemap-scan makes it do without the ioctl. */
int scan_open(struct scan *s, int proc, struct err *e) must_check;
void scan_close(struct scan *s); /* of a zeroed or opened one */

/* Appends to `out`; guard regions (MADV_GUARD_INSTALL) to `guards`, which may be NULL. */
int scan_range(struct scan *s, uint64_t start, uint64_t end, enum scan_mode mode, struct extents *out,
	       struct extents *guards, struct err *e) must_check;

#endif
