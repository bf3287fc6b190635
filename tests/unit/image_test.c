/* SPDX-License-Identifier: Apache-2.0 */
/* Images: what was written is read, damage is noticed, and what a stranger made up is refused by name. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "image/image.h"

#define PAGE IMAGE_PAGE
#define HEAP 0x10000000ull
#define HEAP_PAGES 600u
#define SHARED 0x20000000ull

/* --- a job of two processes, made up --- */

struct fixture {
	char dir[64];
	char path[128];
	Godwit__Ckpt__Job job;
	Godwit__Ckpt__Process process[2], *processes[2];
	Godwit__Ckpt__Thread thread[2], *threads[2][1];
	Godwit__Ckpt__Memory memory[2];
	Godwit__Ckpt__Region region[2][2], *regions[2][2];
	Godwit__Ckpt__Region object, *objects[1];
	uint8_t regs[sizeof(struct user_regs_struct)], xstate[576];
	struct image_extent extents[3];
};

static void make_process(struct fixture *f, unsigned i)
{
	godwit__ckpt__process__init(&f->process[i]);
	godwit__ckpt__thread__init(&f->thread[i]);
	godwit__ckpt__memory__init(&f->memory[i]);
	f->processes[i] = &f->process[i];
	f->threads[i][0] = &f->thread[i];
	f->process[i].pid = f->thread[i].tid = 10 + (int)i;
	f->process[i].threads = f->threads[i];
	f->process[i].n_threads = 1;
	f->process[i].memory = &f->memory[i];
	f->thread[i].regs = (ProtobufCBinaryData) { sizeof f->regs, f->regs };
	f->thread[i].xstate = (ProtobufCBinaryData) { sizeof f->xstate, f->xstate };
	f->thread[i].comm = (char *)(uintptr_t) "made-up";
	for (unsigned k = 0; k < 2; k++) {
		godwit__ckpt__region__init(&f->region[i][k]);
		f->regions[i][k] = &f->region[i][k];
		f->region[i][k].prot = PROT_READ | PROT_WRITE;
	}
	f->region[i][0].kind = GODWIT__CKPT__REGION__KIND__ANON_PRIVATE;
	f->region[i][0].start = HEAP;
	f->region[i][0].end = HEAP + HEAP_PAGES * PAGE;
	f->region[i][1].kind = GODWIT__CKPT__REGION__KIND__ANON_SHARED;
	f->region[i][1].object = 1;
	f->region[i][1].start = SHARED;
	f->region[i][1].end = SHARED + 4 * PAGE;
	f->memory[i].regions = f->regions[i];
	f->memory[i].n_regions = 2;
}

/* Where fsync() costs nothing. */
static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof *f);

	(void)snprintf(f->dir, sizeof f->dir, "/dev/shm/godwit-image-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof f->path, "%s/image", f->dir);
	godwit__ckpt__job__init(&f->job);
	make_process(f, 0);
	make_process(f, 1);
	godwit__ckpt__region__init(&f->object);
	f->object.object = 1;
	f->object.end = 4 * PAGE;
	f->objects[0] = &f->object;
	f->job.shared = f->objects;
	f->job.n_shared = 1;
	f->job.processes = f->processes;
	f->job.n_processes = 2;
	f->extents[0] = (struct image_extent) { 0, HEAP, HEAP + 300 * PAGE };
	f->extents[1] = (struct image_extent) { 0, HEAP + 310 * PAGE, HEAP + 320 * PAGE };
	f->extents[2] = (struct image_extent) { 1, PAGE, 3 * PAGE };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[160];

	(void)snprintf(command, sizeof command, "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* Every third page is zero; others say where they are. Some change with each generation, and some become zero or
 * cease to be. */
static unsigned generation;

static void fill_page(uint32_t space, uint64_t at, uint8_t *page)
{
	uint64_t word = at * 2654435761u + space;

	memset(page, 0, PAGE);
	if (at / PAGE % 50 == 7)
		word += generation;
	if (at / PAGE % 50 == 8 && generation & 1)
		return;
	if (at / PAGE % 50 == 9 && generation & 1)
		at += PAGE;
	if (at / PAGE % 3)
		for (unsigned i = 0; i < PAGE; i += sizeof word)
			memcpy(page + i, &word, sizeof word);
}

static int source(void *arg, uint32_t space, uint64_t start, void *buf, size_t len, struct err *e)
{
	(void)arg;
	(void)e;
	assert_true(len <= IMAGE_CHUNK_MAX && len % PAGE == 0 && start % PAGE == 0);
	for (size_t at = 0; at < len; at += PAGE)
		fill_page(space, start + at, (uint8_t *)buf + at);
	return 0;
}

struct seen {
	size_t pages;
	uint64_t next;
	uint32_t space;
};

static int sink(void *arg, uint32_t space, uint64_t start, const void *buf, size_t len, struct err *e)
{
	struct seen *s = arg;
	uint8_t page[PAGE];

	(void)e;
	assert_true(space > s->space || start >= s->next);
	s->space = space;
	s->next = start + len;
	for (size_t at = 0; at < len; at += PAGE, s->pages++) {
		fill_page(space, start + at, page);
		assert_memory_equal(page, (const uint8_t *)buf + at, PAGE);
	}
	return 0;
}

static int write_image(struct fixture *f, const char *path, unsigned flags, struct err *e)
{
	struct image_writer *w = NULL;
	int err = image_create(path, flags, "web", "h1", &w, e);

	for (unsigned i = 0; i < 2 && !err; i++) {
		struct image_process p = {
			.process = &f->process[i], .extents = f->extents, .n_extents = 3, .source = source
		};

		p.n_extents = i ? 1 : 3;
		err = image_add(w, &f->job, &p, e);
	}
	if (!err)
		err = image_commit(w, e);
	image_writer_free(w);
	return err;
}

static void must(int err, const struct err *e)
{
	if (err < 0)
		fail_msg("%s", err_text(e));
}

static unsigned entries(const char *dir)
{
	char command[160];
	unsigned n = 0;
	FILE *p;

	(void)snprintf(command, sizeof command, "ls -A %s | wc -l", dir);
	p = popen(command, "r");
	assert_non_null(p);
	assert_int_equal(fscanf(p, "%u", &n), 1);
	(void)pclose(p);
	return n;
}

/* --- there and back --- */

static void check_image(struct fixture *f, const char *path)
{
	static const size_t pages[] = { 312, 300 };
	const Godwit__Ckpt__Job *job;
	struct image *im = NULL;
	struct err e = { 0 };

	must(image_open(path, &im, &e), &e);
	job = image_job(im);
	assert_int_equal(job->n_processes, 2);
	assert_int_equal(job->n_shared, 1);
	for (size_t i = 0; i < 2; i++) {
		size_t len = godwit__ckpt__process__get_packed_size(&f->process[i]);
		uint8_t *want = xmalloc(len), *got = xmalloc(len);
		struct seen seen = { 0 };

		assert_int_equal(godwit__ckpt__process__get_packed_size(job->processes[i]), len);
		(void)godwit__ckpt__process__pack(&f->process[i], want);
		(void)godwit__ckpt__process__pack(job->processes[i], got);
		assert_memory_equal(want, got, len);
		must(image_pages(im, i, sink, &seen, &e), &e);
		assert_int_equal(seen.pages, pages[i]);
		assert_string_equal(image_header(im, i)->name, "web");
		free(want);
		free(got);
	}
	image_close(im);
}

static void round_trip(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	struct stat st;

	must(write_image(f, f->path, 0, &e), &e);
	check_image(f, f->path);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(entries(f->dir), 1);
}

static void compressed(void **state)
{
	struct fixture *f = *state;
	char plain[160], core[180];
	struct image *im = NULL;
	struct err e = { 0 };
	struct stat big, small;

	must(write_image(f, f->path, IMAGE_COMPRESS, &e), &e);
	check_image(f, f->path);
	(void)snprintf(plain, sizeof plain, "%s/plain", f->dir);
	must(image_open(f->path, &im, &e), &e);
	must(image_copy(im, plain, 0, &e), &e);
	image_close(im);
	check_image(f, plain);
	(void)snprintf(core, sizeof core, "%s/10.core", plain);
	assert_int_equal(stat(core, &big), 0);
	(void)snprintf(core, sizeof core, "%s/10.core", f->path);
	assert_int_equal(stat(core, &small), 0);
	assert_true(small.st_size < big.st_size / 4);
	/* In place, and back. */
	must(image_open(plain, &im, &e), &e);
	must(image_copy(im, plain, IMAGE_REPLACE | IMAGE_COMPRESS, &e), &e);
	image_close(im);
	check_image(f, plain);
	assert_int_equal(entries(f->dir), 2);
}

static void sparse(void **state)
{
	struct fixture *f = *state;
	char core[160];
	struct err e = { 0 };
	struct stat st;

	must(write_image(f, f->path, 0, &e), &e);
	(void)snprintf(core, sizeof core, "%s/11.core", f->path);
	assert_int_equal(stat(core, &st), 0);
	assert_true(st.st_size > (off_t)(300 * PAGE));
	assert_true((uint64_t)st.st_blocks * 512 < 230 * PAGE);
}

/* --- all or nothing --- */

static void replaces(void **state)
{
	struct fixture *f = *state;
	char other[160];
	struct err e = { 0 };

	must(write_image(f, f->path, 0, &e), &e);
	assert_int_equal(write_image(f, f->path, 0, &e), -EEXIST);
	must(write_image(f, f->path, IMAGE_REPLACE, &e), &e);
	check_image(f, f->path);
	/* A directory that is no image stays. */
	(void)snprintf(other, sizeof other, "%s/other", f->dir);
	assert_int_equal(mkdir(other, 0755), 0);
	assert_true(write_image(f, other, IMAGE_REPLACE, &e) < 0);
	assert_non_null(strstr(err_text(&e), "not replaced"));
	(void)rmdir(other);
	/* So does a link, even one to an image. */
	assert_int_equal(symlink(f->path, other), 0);
	assert_true(write_image(f, other, IMAGE_REPLACE, &e) < 0);
	assert_int_equal(entries(f->dir), 2);
}

static void disk_full(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, small = { 500 * 1024, RLIM_INFINITY };
	struct err e = { 0 };

	must(write_image(f, f->path, 0, &e), &e);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(write_image(f, f->path, IMAGE_REPLACE, &e), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	check_image(f, f->path);
	assert_int_equal(entries(f->dir), 1);
}

/* --- a writer dies --- */

static void leftovers(void **state)
{
	struct fixture *f = *state;
	char dir[160], file[192];
	struct image_writer *w = NULL;
	struct err e = { 0 };

	(void)snprintf(dir, sizeof dir, "%s/.godwit-image-0123abcd", f->dir);
	(void)snprintf(file, sizeof file, "%s/10.core", dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
	/* One that is still being written, beside which another one is begun and ended. */
	must(image_create(f->path, IMAGE_REPLACE, "web", "h1", &w, &e), &e);
	assert_int_equal(access(dir, F_OK), -1);
	must(write_image(f, f->path, 0, &e), &e);
	assert_int_equal(entries(f->dir), 2);
	for (unsigned i = 0; i < 2; i++) {
		struct image_process p = {
			.process = &f->process[i], .extents = f->extents, .n_extents = i ? 1 : 3, .source = source
		};

		must(image_add(w, &f->job, &p, &e), &e);
	}
	must(image_commit(w, &e), &e);
	image_writer_free(w);
	check_image(f, f->path);
	assert_int_equal(entries(f->dir), 1);
}

/* Another user's is left alone. */
static void leftover_of_another(void **state)
{
	struct fixture *f = *state;
	char dir[160];
	struct err e = { 0 };

	if (geteuid())
		skip();
	(void)snprintf(dir, sizeof dir, "%s/.godwit-image-0123abcd", f->dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(chown(dir, 65534, 65534), 0);
	must(write_image(f, f->path, 0, &e), &e);
	assert_int_equal(access(dir, F_OK), 0);
}

/* Runs a writer until its k-th system call, which it does not do. True if it ended before that. */
static bool write_until(struct fixture *f, unsigned k, int (*write)(struct fixture *f, struct err *e))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct err e = { 0 };

		(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		(void)raise(SIGSTOP);
		_exit(write(f, &e) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	for (unsigned stops = 0; WIFSTOPPED(status); stops++) {
		if (stops == 2 * k + 1) /* between entry and exit: it has not begun */
			(void)kill(pid, SIGKILL);
		else
			(void)ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int replace_both(struct fixture *f, struct err *e)
{
	return write_image(f, f->path, IMAGE_REPLACE, e);
}

/* At every instant there is an image, and what is left is gone with the next. */
static void killed(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	unsigned k = 0, most = 0;

	must(write_image(f, f->path, 0, &e), &e);
	for (bool over = false; !over; k += most < 250 ? 11 : 1) {
		over = write_until(f, k, replace_both);
		most = k;
		check_image(f, f->path);
		assert_true(entries(f->dir) <= 2);
	}
	print_message("# %u system calls\n", most);
	assert_true(most > 100);
	must(write_image(f, f->path, IMAGE_REPLACE, &e), &e);
	assert_int_equal(entries(f->dir), 1);
}

/* --- only what has changed --- */

/* Of the first process only, whose memory is not always the same. */
static int write_one(struct fixture *f, unsigned flags, uint64_t *ret_written, struct err *e)
{
	struct image_process p = {
		.process = &f->process[0], .extents = f->extents, .n_extents = 3, .source = source
	};
	struct image_writer *w = NULL;
	int err = image_create(f->path, flags, "web", "h1", &w, e);

	f->extents[0].start = HEAP + generation % 3 * PAGE;
	f->extents[1].end = HEAP + (320 + generation % 5) * PAGE;
	if (!err)
		err = image_add(w, &f->job, &p, e);
	if (!err)
		err = image_commit(w, e);
	if (!err && ret_written)
		*ret_written = image_written(w);
	image_writer_free(w);
	return err;
}

static int compare(void *arg, uint32_t space, uint64_t start, const void *buf, size_t len, struct err *e)
{
	size_t *pages = arg;
	uint8_t page[PAGE];

	for (size_t at = 0; at < len; at += PAGE, ++*pages) {
		fill_page(space, start + at, page);
		if (memcmp(page, (const uint8_t *)buf + at, PAGE) != 0)
			return err_set(e, -ESTALE, "another generation");
	}
	return 0;
}

/* 0: the image of that generation is there, whole; -ESTALE: of another one. */
static int look_at_one(struct fixture *f, unsigned of)
{
	struct image *im = NULL;
	struct err e = { 0 };
	size_t pages = 0;
	int err;

	must(image_open(f->path, &im, &e), &e);
	must(image_pages(im, 0, NULL, NULL, &e), &e);
	generation = of;
	err = image_pages(im, 0, compare, &pages, &e);
	if (!err)
		assert_int_equal(pages, 312 - of % 3 + of % 5);
	image_close(im);
	return err;
}

static uint64_t blocks(struct fixture *f)
{
	char core[160];
	struct stat st;

	(void)snprintf(core, sizeof core, "%s/10.core", f->path);
	assert_int_equal(stat(core, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static void updates(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	uint64_t written, size;

	generation = 0;
	must(write_one(f, IMAGE_UPDATE, &written, &e), &e);
	assert_true(written > 200 * PAGE);
	size = blocks(f);
	for (unsigned g = 1; g < 20; g++) {
		generation = g;
		must(write_one(f, IMAGE_UPDATE, &written, &e), &e);
		assert_true(written > 0 && written < 40 * PAGE);
		assert_int_equal(look_at_one(f, g), 0);
		assert_int_equal(entries(f->dir), 1);
	}
	assert_true(blocks(f) < size + 30 * PAGE); /* nothing piles up */
	must(write_one(f, IMAGE_UPDATE, &written, &e), &e);
	assert_int_equal(written, 0);
	/* What does not suit is replaced as a whole. */
	must(write_one(f, IMAGE_REPLACE | IMAGE_COMPRESS, NULL, &e), &e);
	must(write_one(f, IMAGE_UPDATE, &written, &e), &e);
	assert_true(written > 200 * PAGE);
	assert_int_equal(look_at_one(f, 19), 0);
}

/* Who has the old image open goes on reading that. */
static void update_while_read(void **state)
{
	struct fixture *f = *state;
	struct image *im = NULL;
	struct err e = { 0 };
	uint64_t written;
	size_t pages = 0;

	generation = 0;
	must(write_one(f, IMAGE_UPDATE, NULL, &e), &e);
	must(image_open(f->path, &im, &e), &e);
	generation = 1;
	must(write_one(f, IMAGE_UPDATE, &written, &e), &e);
	assert_true(written > 200 * PAGE);
	generation = 0;
	must(image_pages(im, 0, compare, &pages, &e), &e);
	image_close(im);
	assert_int_equal(look_at_one(f, 1), 0);
}

/* The old image as it was, to the last byte, and none of the space. */
static void update_fails(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, small = { 900 * 1024, RLIM_INFINITY };
	struct err e = { 0 };
	uint64_t size;

	generation = 0;
	must(write_one(f, IMAGE_UPDATE, NULL, &e), &e);
	size = blocks(f);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	generation = 1;
	assert_int_equal(write_one(f, IMAGE_UPDATE, NULL, &e), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(look_at_one(f, 0), 0);
	assert_int_equal(blocks(f), size);
	assert_int_equal(entries(f->dir), 1);
}

static int write_next(struct fixture *f, struct err *e)
{
	return write_one(f, IMAGE_UPDATE, NULL, e);
}

static void update_killed(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	unsigned have = 0, old = 0;

	generation = 0;
	must(write_one(f, IMAGE_UPDATE, NULL, &e), &e);
	for (unsigned k = 0;; k++) {
		bool over;

		generation = have + 1;
		over = write_until(f, k, write_next);
		assert_int_equal(entries(f->path), 1);
		if (look_at_one(f, have) < 0) {
			have++;
			assert_int_equal(look_at_one(f, have), 0);
		} else {
			assert_false(over);
			old++;
		}
		if (over)
			break;
	}
	print_message("# %u times the old one, %u times the new one\n", old, have);
	assert_true(old > 20 && have > 2);
}

/* --- damage --- */

static off_t core_size(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_size;
}

static bool opens(const char *path)
{
	struct image *im = NULL;
	struct err e = { 0 };
	int err = image_open(path, &im, &e);

	image_close(im);
	return !err;
}

/* Where notes begin. */
static off_t notes_offset(int fd)
{
	Elf64_Phdr note;
	Elf64_Ehdr h;

	assert_int_equal(pread(fd, &h, sizeof h, 0), sizeof h);
	assert_int_equal(pread(fd, &note, sizeof note, (off_t)h.e_phoff), sizeof note);
	return (off_t)note.p_offset;
}

static void truncated(void **state)
{
	struct fixture *f = *state;
	char core[160];
	struct err e = { 0 };
	uint8_t *bytes;
	off_t size, from;
	int fd;

	must(write_image(f, f->path, 0, &e), &e);
	(void)snprintf(core, sizeof core, "%s/10.core", f->path);
	fd = open(core, O_RDWR | O_CLOEXEC);
	size = core_size(fd);
	from = notes_offset(fd);
	bytes = xmalloc((size_t)size);
	assert_int_equal(pread(fd, bytes, (size_t)size, 0), size);
	/* The section header behind the segments is there for more than 65534 of them only. */
	for (off_t cut = size - (off_t)sizeof(Elf64_Shdr) - 1; cut >= from; cut--) {
		assert_int_equal(ftruncate(fd, cut), 0);
		assert_false(opens(f->path));
	}
	for (off_t cut = sizeof(Elf64_Ehdr); cut >= 0; cut--) {
		assert_int_equal(ftruncate(fd, cut), 0);
		assert_false(opens(f->path));
	}
	assert_int_equal(pwrite(fd, bytes, (size_t)size, 0), size);
	assert_true(opens(f->path));
	free(bytes);
	(void)close(fd);
}

static void bits_flipped(void **state)
{
	struct fixture *f = *state;
	char core[160];
	struct err e = { 0 };
	unsigned refused = 0;
	off_t size;
	int fd;

	must(write_image(f, f->path, 0, &e), &e);
	(void)snprintf(core, sizeof core, "%s/11.core", f->path);
	fd = open(core, O_RDWR | O_CLOEXEC);
	size = core_size(fd);
	for (off_t at = 0; at < size;
	     at += at < (off_t)sizeof(Elf64_Ehdr) || at >= notes_offset(fd) ? 1 : PAGE / 2) {
		struct image *im = NULL;
		unsigned before = refused;
		uint8_t was, now;

		assert_int_equal(pread(fd, &was, 1, at), 1);
		now = was ^ 0x41;
		assert_int_equal(pwrite(fd, &now, 1, at), 1);
		/* Whatever it says: no crash, and contents that are not what was written are noticed. */
		if (image_open(f->path, &im, &e) < 0)
			refused++;
		else if (image_pages(im, 1, NULL, NULL, &e) < 0)
			refused++;
		image_close(im);
		assert_int_equal(pwrite(fd, &was, 1, at), 1);
		if (at >= (off_t)PAGE && at < (off_t)(301 * PAGE))
			assert_int_equal(refused, before + 1);
	}
	print_message("# %u of the changed bytes were refused\n", refused);
	(void)close(fd);
	check_image(f, f->path);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(round_trip, setup, teardown),
	cmocka_unit_test_setup_teardown(compressed, setup, teardown),
	cmocka_unit_test_setup_teardown(sparse, setup, teardown),
	cmocka_unit_test_setup_teardown(replaces, setup, teardown),
	cmocka_unit_test_setup_teardown(disk_full, setup, teardown),
	cmocka_unit_test_setup_teardown(leftovers, setup, teardown),
	cmocka_unit_test_setup_teardown(leftover_of_another, setup, teardown),
	cmocka_unit_test_setup_teardown(killed, setup, teardown),
	cmocka_unit_test_setup_teardown(updates, setup, teardown),
	cmocka_unit_test_setup_teardown(update_while_read, setup, teardown),
	cmocka_unit_test_setup_teardown(update_fails, setup, teardown),
	cmocka_unit_test_setup_teardown(update_killed, setup, teardown),
	cmocka_unit_test_setup_teardown(truncated, setup, teardown),
	cmocka_unit_test_setup_teardown(bits_flipped, setup, teardown),
};

int main(void)
{
	return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
