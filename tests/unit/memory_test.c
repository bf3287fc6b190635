/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "memory/chunk.h"
#include "memory/wire.h"
#include "state/mm.h"

static const uint8_t key[STREAM_KEY_LEN] = { 7 };
#define BASE 0x200000000000ull
#define PAGES 300u
#define SECONDS(n) (now_us() + (n)*1000000ull)

static uint8_t *area_make(void)
{
	uint8_t *a = mmap((void *)BASE, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);

	assert_ptr_equal(a, (void *)BASE);
	return a;
}

static void span(struct extents *x, uint64_t first, uint64_t pages)
{
	extents_add(x, BASE + first * PAGE_BYTES, BASE + (first + pages) * PAGE_BYTES);
}

static uint8_t fill_of(uint64_t page, size_t i)
{
	return (uint8_t)(page * 37 + i * 11 + 1);
}

/* --- one process sends, its child receives into its own memory at the same addresses --- */

static const uint64_t sent[][2] = { { 0, 1 }, { 2, 1 }, { 4, 100 }, { 110, 64 }, { 200, 3 } };
#define ZERO_PAGE 50u /* inside a run, all zero */

static void send_side(int fd, bool sealed)
{
	struct mm_snapshot source = { .pid = getpid() };
	struct memory_stats stats = { 0 };
	struct extents x = { 0 };
	struct chunk_writer w = { .source = &source, .stats = &stats, .readable = true, .skip_zero = true };
	struct err e = { 0 };

	assert_int_equal(stream_open(fd, true, key, sealed, SECONDS(5), -1, &w.stream, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(sent); i++) {
		span(&x, sent[i][0], sent[i][1]);
		for (uint64_t p = sent[i][0]; p < sent[i][0] + sent[i][1]; p++)
			for (size_t k = 0; k < PAGE_BYTES && p != ZERO_PAGE; k++)
				((uint8_t *)BASE)[p * PAGE_BYTES + k] = fill_of(p, k);
	}
	assert_int_equal(chunk_send(&w, &x, &e), 0);
	assert_int_equal(chunk_send_end(&w, &e), 0);
	assert_int_equal(stats.zero, 1);
	assert_int_equal(stats.pages, 168);
	extents_done(&x);
	stream_free(w.stream);
}

static int receive_side(int fd, bool sealed)
{
	struct remote self = { .pid = getpid() };
	struct mm_target *t;
	struct memory_stats stats = { 0 };
	struct stream *s;
	struct err e = { 0 };

	if (memory_target_new(&self, &t, &e) || stream_open(fd, false, key, sealed, SECONDS(5), -1, &s, &e))
		return 1;
	span(&t->places, 0, PAGES);
	if (memory_receive(t, &memory_eager, s, &stats, &e))
		return 2;
	for (size_t i = 0; i < ARRAY_LEN(sent); i++)
		for (uint64_t p = sent[i][0]; p < sent[i][0] + sent[i][1]; p++)
			for (size_t k = 0; k < PAGE_BYTES; k++)
				if (((uint8_t *)BASE)[p * PAGE_BYTES + k] != (p == ZERO_PAGE ? 0 : fill_of(p, k)))
					return 3;
	if (extents_bytes(&t->received) != 168 * PAGE_BYTES || t->received.n != 6)
		return 4;
	memory_target_free(t);
	stream_free(s);
	return 0;
}

static void check_pages_travel(bool sealed)
{
	uint8_t *a = area_make();
	int fd[2], status;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	pid = fork();
	if (!pid)
		_exit(receive_side(fd[1], sealed));
	(void)close(fd[1]);
	send_side(fd[0], sealed);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	(void)munmap(a, PAGES * PAGE_BYTES);
}

static void test_pages_plain(void **state)
{
	(void)state;
	check_pages_travel(false);
}

static void test_pages_sealed(void **state)
{
	(void)state;
	check_pages_travel(true);
}

/* --- what a hostile source may say --- */

struct lie {
	const char *what;
	uint32_t runs, pages, space, coding;
	uint64_t start, len;
	int expect;
};

#define P PAGE_BYTES
static const struct lie lies[] = {
	{ "the end", 0, 0, 0, 0, 0, 0, 0 },
	{ "the truth", 1, 1, 0, 0, BASE, P, 0 },
	{ "the last page", 1, 1, 0, 0, BASE + 9 * P, P, 0 },
	{ "a page below", 1, 1, 0, 0, BASE - P, P, -EPROTO },
	{ "a page above", 1, 1, 0, 0, BASE + 10 * P, P, -EPROTO },
	{ "across the end", 1, 2, 0, 0, BASE + 9 * P, 2 * P, -EPROTO },
	{ "a hole", 1, 1, 0, 0, BASE + 20 * P, P, -EPROTO },
	{ "no page", 1, 1, 0, 0, BASE + 1, P, -EPROTO },
	{ "half a page", 1, 1, 0, 0, BASE, P / 2, -EPROTO },
	{ "nothing", 1, 0, 0, 0, BASE, 0, -EPROTO },
	{ "around the end of the world", 1, 1, 0, 0, UINT64_MAX - P + 1, 2 * P, -EPROTO },
	{ "a wrong sum", 1, 2, 0, 0, BASE, P, -EPROTO },
	{ "many runs", CHUNK_RUNS_MAX + 1, 1, 0, 0, BASE, P, -EPROTO },
	{ "many pages", 1, CHUNK_PAGES_MAX + 1, 0, 0, BASE, P, -EPROTO },
	{ "a strange coding", 1, 1, 0, 1, BASE, P, -EPROTO },
	{ "an unknown object", 1, 1, 9, 0, 0, P, -EPROTO },
	{ "an object", 1, 1, 3, 0, P, P, 0 },
	{ "beyond an object", 1, 1, 3, 0, 4 * P, P, -EPROTO },
	{ "the kernel", 1, 1, 0, 0, 0xffffffff81000000ull, P, -EPROTO },
};

static int tell(int fd, const struct lie *l)
{
	uint8_t head[CHUNK_HEAD_LEN] = { 0 }, page[2 * P];
	struct extent run = { l->start, l->start + l->len };
	struct stream *s;
	struct err e;
	uint8_t coded[CHUNK_RUN_LEN];
	int err;

	if (stream_open(fd, true, key, true, SECONDS(5), -1, &s, &e))
		return 1;
	memset(page, 'x', sizeof page);
	chunk_put_head(head, l->runs, l->pages, l->space);
	wire_put_u32(head + 12, l->coding);
	chunk_put_run(coded, &run);
	err = stream_write(s, head, sizeof head, &e);
	if (!err && l->runs)
		err = stream_write(s, coded, sizeof coded, &e);
	if (!err && l->runs)
		err = stream_write(s, page, MIN(l->len, sizeof page), &e);
	memset(head, 0, sizeof head);
	if (!err && l->runs)
		err = stream_write(s, head, sizeof head, &e);
	err = err ? err : stream_flush(s, &e);
	stream_free(s);
	return err ? 2 : 0;
}

static void check_lie(const struct lie *l)
{
	struct remote self = { .pid = getpid() };
	struct memory_stats stats = { 0 };
	struct mm_target *t;
	struct stream *s;
	struct err e = { 0 };
	int fd[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	pid = fork();
	if (!pid)
		_exit(tell(fd[0], l));
	(void)close(fd[0]);
	assert_int_equal(memory_target_new(&self, &t, &e), 0);
	assert_int_equal(mm_target_add_shared(t, 3, 4 * P, "", &e), 0);
	span(&t->places, 0, 10);
	span(&t->places, 30, 10);
	assert_int_equal(stream_open(fd[1], false, key, true, SECONDS(5), -1, &s, &e), 0);
	if (memory_receive(t, &memory_eager, s, &stats, &e) != l->expect)
		fail_msg("%s: %s", l->what, err_text(&e));
	memory_target_free(t);
	stream_free(s);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_lies(void **state)
{
	uint8_t *a = area_make();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lies); i++)
		check_lie(&lies[i]);
	assert_int_equal(a[0], 'x');
	assert_int_equal(a[20 * P], 0);
	(void)munmap(a, PAGES * PAGE_BYTES);
}

/* --- what a hostile description may say --- */

static Godwit__Ckpt__Region good_region(uint64_t start, uint64_t end)
{
	Godwit__Ckpt__Region g;

	godwit__ckpt__region__init(&g);
	g.kind = GODWIT__CKPT__REGION__KIND__ANON_PRIVATE;
	g.start = start;
	g.end = end;
	g.prot = PROT_READ;
	return g;
}

static int validate(Godwit__Ckpt__Region *a, Godwit__Ckpt__Region *b)
{
	Godwit__Ckpt__Region object = good_region(0, 4 * P), *objects[] = { &object }, *list[] = { a, b };
	Godwit__Ckpt__Memory m;
	Godwit__Ckpt__Job job;
	struct err e = { 0 };

	godwit__ckpt__memory__init(&m);
	godwit__ckpt__job__init(&job);
	object.object = 5;
	job.shared = objects;
	job.n_shared = 1;
	m.regions = list;
	m.n_regions = b ? 2 : 1;
	return mm_validate(&job, &m, BASE, &e);
}

static void test_validate(void **state)
{
	Godwit__Ckpt__Region a = good_region(0x10000, 0x20000), b = good_region(0x20000, 0x21000), bad;
	uint64_t runs[] = { 3, 13 }, long_runs[] = { 3, 14 }, huge_runs[] = { UINT64_MAX, 5 };

	(void)state;
	assert_int_equal(validate(&a, &b), 0);
	assert_int_equal(validate(&b, &a), -EPROTO);
	bad = good_region(0x1f000, 0x21000);
	assert_int_equal(validate(&a, &bad), -EPROTO);
	bad = good_region(0x20000, 0x20000);
	assert_int_equal(validate(&bad, NULL), -EPROTO);
	bad = good_region(0, 0x1000);
	assert_int_equal(validate(&bad, NULL), -EPROTO);
	bad = good_region(0x10000, 0x20800);
	assert_int_equal(validate(&bad, NULL), -EPROTO);
	bad = good_region(VMA_USER_END - P, VMA_USER_END + P);
	assert_int_equal(validate(&bad, NULL), -EPROTO);
	bad = good_region(BASE, BASE + P);
	assert_int_equal(validate(&bad, NULL), -EAGAIN);
	bad = a;
	bad.prot = 8;
	assert_int_equal(validate(&bad, NULL), -EPROTO);
	bad = a;
	bad.flags = MAP_HUGETLB;
	assert_int_equal(validate(&bad, NULL), -EPROTO);
	bad = a;
	bad.kind = 77;
	assert_int_equal(validate(&bad, NULL), -EPROTO);
	bad = a;
	bad.kind = GODWIT__CKPT__REGION__KIND__ANON_SHARED;
	bad.object = 5;
	assert_int_equal(validate(&bad, NULL), 0);
	bad.object = 6;
	assert_int_equal(validate(&bad, NULL), -EPROTO);
	bad = a;
	bad.resident = runs;
	bad.n_resident = 2;
	assert_int_equal(validate(&bad, NULL), 0);
	bad.n_resident = 1;
	assert_int_equal(validate(&bad, NULL), -EPROTO);
	bad.n_resident = 2;
	bad.resident = long_runs;
	assert_int_equal(validate(&bad, NULL), -EPROTO);
	bad.resident = huge_runs;
	assert_int_equal(validate(&bad, NULL), -EPROTO);
}

/* --- a snapshot of a process that stands still --- */

static void test_snapshot(void **state)
{
	_cleanup_fd_ int proc = -EBADF;
	uint8_t *a, *shared;
	struct mm_snapshot *s = NULL;
	struct err e = { 0 };
	struct extents in = { 0 };
	const struct vma *v;
	char path[32];
	pid_t pid;
	int ready[2];

	(void)state;
	assert_int_equal(pipe(ready), 0);
	a = area_make();
	shared = mmap(NULL, 8 * P, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = fork();
	if (!pid) {
		(void)madvise(a, PAGES * P, MADV_NOHUGEPAGE);
		a[5 * P] = a[6 * P] = 1;
		shared[3 * P] = 1;
		(void)!write(ready[1], "r", 1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], path, 1), 1);
	(void)snprintf(path, sizeof path, "/proc/%d", pid);
	proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(memory_source_new(pid, proc, &s, &e), 0);
	if (memory_source_describe(s, &e) == -EPERM) {
		print_message("SKIP what is mapped may not be opened: %s\n", err_text(&e));
		(void)kill(pid, SIGKILL);
		memory_source_free(s);
		skip();
	}
	v = vma_list_find(&s->vmas, BASE);
	assert_non_null(v);
	assert_true(v->flags & VMA_NOHUGEPAGE);
	extents_within(&s->pages, BASE, BASE + PAGES * P, NULL, &in);
	assert_int_equal(in.n, 1);
	assert_int_equal(in.e[0].start, BASE + 5 * P);
	assert_int_equal(in.e[0].end, BASE + 7 * P);
	v = vma_list_find(&s->vmas, (uintptr_t)shared);
	assert_int_equal(mm_snapshot_object(s, v)->size, 8 * P);
	assert_int_equal(extents_bytes(&mm_snapshot_object(s, v)->pages), P);
	assert_int_equal(mm_snapshot_object(s, v)->map[3 * P], 1);
	extents_done(&in);
	memory_source_free(s);
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	(void)munmap(a, PAGES * P);
	(void)munmap(shared, 8 * P);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages_plain), cmocka_unit_test(test_pages_sealed),
		cmocka_unit_test(test_lies),	    cmocka_unit_test(test_validate),
		cmocka_unit_test(test_snapshot),
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
