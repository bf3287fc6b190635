/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/kernel.h"
#include "base/util.h"
#include "memory/vma.h"

/* Kernel ABI since 6.7 (PAGE_IS_GUARD since 6.16), newer than the headers that may be installed. */
struct scan_region {
	uint64_t start, end, categories;
};
struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan_arg)
#define IS_FILE (1u << 2)
#define IS_PRESENT (1u << 3)
#define IS_SWAPPED (1u << 4)
#define IS_PFNZERO (1u << 5)
#define IS_GUARD (1u << 8)

/* Bits of an entry of /proc/PID/pagemap. */
#define ENTRY_PRESENT (1ull << 63)
#define ENTRY_SWAPPED (1ull << 62)
#define ENTRY_FILE (1ull << 61)
#define ENTRY_GUARD (1ull << 58) /* since 6.15 */
#define ENTRY_PFN ((1ull << 55) - 1)

#define VEC_LEN 4096u
#define ENTRIES 65536u

static long scan_once(struct scan *s, struct scan_arg *a, uint64_t start, uint64_t end, enum scan_mode mode)
{
	uint64_t inverted = IS_PFNZERO | (mode == SCAN_COPIED ? IS_FILE : 0);

	*a = (struct scan_arg) { .size = sizeof *a,
				 .start = start,
				 .end = end,
				 .vec = (uintptr_t)s->vec,
				 .vec_len = VEC_LEN,
				 .category_inverted = inverted,
				 .category_mask = inverted,
				 .category_anyof_mask = IS_PRESENT | IS_SWAPPED,
				 .return_mask = s->has_guards ? IS_GUARD : IS_PFNZERO };
	return ioctl(s->pagemap, SCAN_IOCTL, a);
}

/*
 * The zero page's frame: what two pages of our own that were only read have in common. They have nothing in common
 * where the kernel gives readers pages of their own; the frame of one of those would soon be somebody's whose page
 * would then count as zeros. Needs privilege; without it zero pages are sent.
 */
static uint64_t find_zero_pfn(void)
{
	volatile const char *page = mmap(NULL, 2 * PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	_cleanup_fd_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entries[2] = { 0 };
	bool shared;

	if (page == MAP_FAILED)
		return 0;
	(void)page[0];
	(void)page[PAGE_BYTES];
	shared = fd >= 0 &&
		 pread(fd, entries, sizeof entries, (off_t)((uintptr_t)page / PAGE_BYTES * 8)) == sizeof entries &&
		 entries[0] & ENTRY_PRESENT && entries[1] & ENTRY_PRESENT &&
		 (entries[0] & ENTRY_PFN) == (entries[1] & ENTRY_PFN);
	(void)munmap((void *)(uintptr_t)page, 2 * PAGE_BYTES);
	return shared ? entries[0] & ENTRY_PFN : 0;
}

int scan_open(struct scan *s, int proc, struct err *e)
{
	struct scan_arg a;

	*s = (struct scan) { .pagemap = openat(proc, "pagemap", O_RDONLY | O_CLOEXEC) };
	if (s->pagemap < 0)
		return err_errno(e, "opening the page map");
	s->vec = xcalloc(VEC_LEN, sizeof *s->vec);
	if (!kernel_hidden(kernel_feature_name(KERNEL_PAGEMAP_SCAN))) {
		s->has_guards = true;
		s->has_ioctl = scan_once(s, &a, 0, PAGE_BYTES, SCAN_ANY) >= 0;
		if (!s->has_ioctl) {
			s->has_guards = false;
			s->has_ioctl = scan_once(s, &a, 0, PAGE_BYTES, SCAN_ANY) >= 0;
		}
	}
	if (!s->has_ioctl)
		s->zero_pfn = find_zero_pfn();
	return 0;
}

void scan_close(struct scan *s)
{
	if (s->vec)
		fd_close(&s->pagemap);
	free(s->vec);
	*s = (struct scan) { 0 };
}

static int scan_by_ioctl(struct scan *s, uint64_t start, uint64_t end, enum scan_mode mode, struct extents *out,
			 struct extents *guards, struct err *e)
{
	while (start < end) {
		struct scan_arg a;
		long n = scan_once(s, &a, start, end, mode);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "scanning pages %#llx-%#llx", (unsigned long long)start,
					 (unsigned long long)end);
		for (long i = 0; i < n; i++) {
			if (s->has_guards && s->vec[i].categories & IS_GUARD) {
				if (guards)
					extents_add(guards, s->vec[i].start, s->vec[i].end);
			} else {
				extents_add(out, s->vec[i].start, s->vec[i].end);
			}
		}
		if (a.walk_end <= start)
			return err_set(e, -EIO, "scanning pages makes no progress at %#llx",
				       (unsigned long long)start);
		start = a.walk_end;
	}
	return 0;
}

static bool entry_counts(const struct scan *s, uint64_t entry, enum scan_mode mode)
{
	if (!(entry & (ENTRY_PRESENT | ENTRY_SWAPPED)))
		return false;
	if (entry & ENTRY_PRESENT && s->zero_pfn && (entry & ENTRY_PFN) == s->zero_pfn)
		return false;
	return mode != SCAN_COPIED || !(entry & ENTRY_FILE);
}

static int scan_by_reading(struct scan *s, uint64_t start, uint64_t end, enum scan_mode mode, struct extents *out,
			   struct extents *guards, struct err *e)
{
	_cleanup_free_ uint64_t *entries = xmalloc(ENTRIES * sizeof *entries);

	while (start < end) {
		size_t want = MIN((end - start) / PAGE_BYTES, ENTRIES);
		ssize_t n = pread(s->pagemap, entries, want * 8, (off_t)(start / PAGE_BYTES * 8));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "reading the page map");
		n /= 8;
		if (!n)
			return 0; /* beyond the end of user space */
		for (ssize_t i = 0; i < n; i++, start += PAGE_BYTES) {
			if (entries[i] & ENTRY_GUARD) {
				if (guards)
					extents_add(guards, start, start + PAGE_BYTES);
			} else if (entry_counts(s, entries[i], mode)) {
				extents_add(out, start, start + PAGE_BYTES);
			}
		}
	}
	return 0;
}

int scan_range(struct scan *s, uint64_t start, uint64_t end, enum scan_mode mode, struct extents *out,
	       struct extents *guards, struct err *e)
{
	if (s->has_ioctl)
		return scan_by_ioctl(s, start, end, mode, out, guards, e);
	return scan_by_reading(s, start, end, mode, out, guards, e);
}
