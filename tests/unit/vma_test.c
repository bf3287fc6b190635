/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "memory/extent.h"
#include "memory/scan.h"
#include "memory/vma.h"

static const char sample[] =
	"00400000-00401000 r-xp 00001000 fe:01 1234567                            /usr/bin/a b\\012c (deleted)\n"
	"Size:                  4 kB\n"
	"Rss:                   4 kB\n"
	"Swap:                  8 kB\n"
	"ProtectionKey:         3\n"
	"VmFlags: rd ex mr mw me hg dc lo lf \n"
	"7ffd3a100000-7ffd3a121000 rw-p 00000000 00:00 0                          [stack]\n"
	"VmFlags: rd wr mr mw me gd ac\n"
	"7fff00000000-7fff00001000 rw-s 00000000 00:01 77                         /dev/zero (deleted)\n"
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

static void test_parse(void **state)
{
	struct vma_list l = { 0 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(vma_list_parse(&l, xstrdup(sample), &e), 0);
	assert_int_equal(l.n, 4);
	assert_true(l.v[0].start == 0x400000 && l.v[0].end == 0x401000 && l.v[0].offset == 0x1000);
	assert_int_equal(l.v[0].prot, PROT_READ | PROT_EXEC);
	assert_string_equal(l.v[0].path, "/usr/bin/a b\nc (deleted)");
	assert_int_equal(l.v[0].ino, 1234567);
	assert_int_equal(l.v[0].pkey, 3);
	assert_int_equal(l.v[0].resident, 12288);
	assert_int_equal(l.v[0].flags, VMA_MAYWRITE | VMA_HUGEPAGE | VMA_DONTFORK | VMA_LOCKED | VMA_LOCKONFAULT);
	assert_int_equal(vma_classify(&l.v[0], NULL), VMA_KIND_NONE); /* the protection key */
	assert_true(l.v[1].flags & VMA_GROWSDOWN);
	assert_int_equal(vma_classify(&l.v[1], NULL), VMA_KIND_STACK);
	assert_true(l.v[2].shared);
	assert_false(l.v[2].has_flags);
	assert_int_equal(vma_classify(&l.v[3], NULL), VMA_KIND_KERNEL);
	assert_ptr_equal(vma_list_find(&l, 0x400fff), &l.v[0]);
	assert_null(vma_list_find(&l, 0x401000));
	assert_null(vma_list_find(&l, 0x3fffff));
	assert_ptr_equal(vma_list_find(&l, 0x7fff00000000), &l.v[2]);
	vma_list_done(&l);
}

static int parse(const char *text)
{
	struct vma_list l = { 0 };
	struct err e = { 0 };
	int err = vma_list_parse(&l, xstrdup(text), &e);

	vma_list_done(&l);
	return err;
}

static void test_nonsense(void **state)
{
	(void)state;
	assert_int_equal(parse(""), 0);
	assert_int_equal(parse("1000-2000 rw-p 00000000 00:00 0"), 0);
	assert_int_equal(parse("2000-1000 rw-p 00000000 00:00 0\n"), -EPROTO);
	assert_int_equal(parse("1000-1800 rw-p 00000000 00:00 0\n"), -EPROTO);
	assert_int_equal(parse("1000-2000 rw-q 00000000 00:00 0\n"), -EPROTO);
	assert_int_equal(parse("1000-2000 rw-p 00000000 00:00\n"), -EPROTO);
	assert_int_equal(parse("11111111111111111000-2000 rw-p 00000000 00:00 0\n"), -EPROTO);
	assert_int_equal(parse("1000-3000 rw-p 00000000 00:00 0\n2000-4000 rw-p 00000000 00:00 0\n"), -EAGAIN);
	/* cut at every byte: an error or a shorter list, never a crash */
	for (size_t i = 0; i < sizeof sample; i++) {
		char *cut = strndup(sample, i);

		(void)parse(cut);
		free(cut);
	}
}

static void test_names(void **state)
{
	struct vma v = { .path = "[anon:glibc: malloc]" };
	size_t len = 0;

	(void)state;
	assert_string_equal(vma_anon_name(&v, &len), "glibc: malloc]");
	assert_int_equal(len, 13);
	assert_int_equal(vma_classify(&v, NULL), VMA_KIND_ANON_PRIVATE);
	v.path = "[heap]";
	assert_null(vma_anon_name(&v, &len));
}

static void test_refusals(void **state)
{
	static const char *const paths[] = { "anon_inode:[io_uring]", "/[aio] (deleted)", "/secretmem (deleted)",
					     "/SYSV00000000 (deleted)", "/anon_hugepage (deleted)" };
	static const uint32_t flags[] = { VMA_HUGETLB, VMA_USERFAULT, VMA_SHADOWSTACK, VMA_PFNMAP };
	struct vma_refusal why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct vma v = { .path = paths[i], .ino = 5, .dev = 1, .shared = true };

		why.reason = NULL;
		assert_int_equal(vma_classify(&v, &why), VMA_KIND_NONE);
		assert_non_null(why.reason);
	}
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		struct vma v = { .path = "", .flags = flags[i], .has_flags = true };

		assert_int_equal(vma_classify(&v, &why), VMA_KIND_NONE);
	}
}

/* Tens of thousands of mappings, and a growth of time that is not quadratic. */
static void test_many(void **state)
{
	size_t n = 60000, room = n * 64, used = 0;
	char *text = malloc(room);
	struct vma_list l = { 0 };
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < n; i++)
		used += (size_t)snprintf(text + used, room - used, "%zx-%zx rw-p 00000000 00:00 0 \n",
					 (2 * i + 16) * 4096, (2 * i + 17) * 4096);
	assert_int_equal(vma_list_parse(&l, text, &e), 0);
	assert_int_equal(l.n, n);
	for (size_t i = 0; i < n; i += 7)
		assert_ptr_equal(vma_list_find(&l, (2 * i + 16) * 4096 + 5), &l.v[i]);
	vma_list_done(&l);
}

static void test_own_maps(void **state)
{
	_cleanup_fd_ int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	struct vma_list l = { 0 };
	struct err e = { 0 };
	const struct vma *v;
	char *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int local;

	(void)state;
	for (int round = 0; round < 2; round++) {
		assert_int_equal(vma_list_read(&l, fd, &e), 0);
		v = vma_list_find(&l, (uintptr_t)&local);
		assert_non_null(v);
		assert_string_equal(v->path, "[stack]");
		assert_true(v->has_flags && v->flags & VMA_GROWSDOWN);
		v = vma_list_find(&l, (uintptr_t)shared);
		assert_non_null(v);
		assert_int_equal(vma_classify(v, NULL), VMA_KIND_ANON_SHARED);
		v = vma_list_find(&l, (uintptr_t)&test_own_maps);
		assert_int_equal(vma_classify(v, NULL), VMA_KIND_FILE_PRIVATE);
	}
	vma_list_done(&l);
	(void)munmap(shared, 8192);
}

static void add(struct extents *x, uint64_t start, uint64_t end)
{
	extents_add(x, start * PAGE_BYTES, end * PAGE_BYTES);
}

static void expect(struct extents *x, size_t n, const uint64_t *pages)
{
	assert_int_equal(x->n, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(x->e[i].start / PAGE_BYTES, pages[2 * i]);
		assert_int_equal(x->e[i].end / PAGE_BYTES, pages[2 * i + 1]);
	}
	extents_done(x);
}

static void test_extents(void **state)
{
	struct extents a = { 0 }, b = { 0 }, out = { 0 };
	size_t hint = 0;

	(void)state;
	add(&a, 50, 60);
	add(&a, 10, 20);
	add(&a, 20, 25);
	add(&a, 24, 30);
	extents_sort(&a);
	assert_int_equal(a.n, 2);
	assert_int_equal(extents_bytes(&a), 30 * PAGE_BYTES);
	add(&b, 5, 11);
	add(&b, 15, 16);
	add(&b, 29, 51);
	add(&b, 59, 70);
	extents_minus(&a, &b, &out);
	expect(&out, 3, (const uint64_t[]) { 11, 15, 16, 29, 51, 59 });
	extents_minus(&b, &a, &out);
	expect(&out, 3, (const uint64_t[]) { 5, 10, 30, 50, 60, 70 });
	extents_within(&a, 12 * PAGE_BYTES, 55 * PAGE_BYTES, &hint, &out);
	extents_within(&a, 55 * PAGE_BYTES, 99 * PAGE_BYTES, &hint, &out);
	expect(&out, 2, (const uint64_t[]) { 12, 30, 50, 60 });
	extents_done(&a);
	extents_done(&b);
}

/* Most kernels show one page of zeros wherever nothing was written; some (a 6.18 in a virtual machine) give the
 * reader a page of its own, which bit 56 of its pagemap entry tells. */
static bool is_own_page(int proc, uint64_t page)
{
	_cleanup_fd_ int pagemap = openat(proc, "pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	assert_int_equal(pread(pagemap, &entry, sizeof(entry), (off_t)(page * sizeof(entry))), sizeof(entry));
	return entry >> 56 & 1;
}

static void scan_own_pages(void)
{
	_cleanup_fd_ int proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC), exe = -EBADF;
	char *m = mmap(NULL, 64 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	uint64_t page = (uintptr_t)m / PAGE_BYTES;
	struct extents out = { 0 };
	struct scan s = { 0 };
	struct err e = { 0 };
	volatile char sink;
	char *f;

	(void)madvise(m, 64 * PAGE_BYTES, MADV_NOHUGEPAGE);
	assert_int_equal(scan_open(&s, proc, &e), 0);
	m[3 * PAGE_BYTES] = m[4 * PAGE_BYTES] = m[40 * PAGE_BYTES] = 1;
	sink = m[20 * PAGE_BYTES]; /* the zero page */
	(void)sink;
	assert_int_equal(scan_range(&s, (uintptr_t)m, (uintptr_t)m + 64 * PAGE_BYTES, SCAN_ANY, &out, NULL, &e),
			 0);
	if (is_own_page(proc, page + 20))
		expect(&out, 3,
		       (const uint64_t[]) { page + 3, page + 5, page + 20, page + 21, page + 40, page + 41 });
	else
		expect(&out, 2, (const uint64_t[]) { page + 3, page + 5, page + 40, page + 41 });
	exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	f = mmap(NULL, 4 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, exe, 0);
	assert_ptr_not_equal(f, MAP_FAILED);
	sink = f[0];
	sink = f[2 * PAGE_BYTES];
	f[PAGE_BYTES] = 1;
	page = (uintptr_t)f / PAGE_BYTES;
	assert_int_equal(scan_range(&s, (uintptr_t)f, (uintptr_t)f + 4 * PAGE_BYTES, SCAN_COPIED, &out, NULL, &e),
			 0);
	expect(&out, 1, (const uint64_t[]) { page + 1, page + 2 });
	(void)munmap(m, 64 * PAGE_BYTES);
	(void)munmap(f, 4 * PAGE_BYTES);
	scan_close(&s);
}

static void test_scan(void **state)
{
	(void)state;
	scan_own_pages();
}

static void test_scan_without_ioctl(void **state)
{
	(void)state;
	if (geteuid()) {
		print_message("SKIP page frames are hidden from unprivileged users\n");
		skip();
	}
	(void)setenv("GODWIT_HIDE", "other,pagemap-scan", 1);
	scan_own_pages();
	(void)unsetenv("GODWIT_HIDE");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_own_maps),
		cmocka_unit_test(test_extents),
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_scan_without_ioctl),
	};

	return cmocka_run_group_tests_name("vma", tests, NULL, NULL);
}
