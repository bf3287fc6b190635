/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gdb opens an image: a child of several threads is captured by ptrace and /proc as it stands, written as an
 * image, and gdb must name the functions in which each thread is, and read its memory.
 */
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/image.h"
#include "memory/vma.h"

#define THREADS 4
#define XSTATE_ROOM 16384
#define REGION_MAX (64ull << 20) /* more than that is a sanitizer's shadow */

/* --- the program that is captured --- */

int image_gdb_answer = 1; /* 42 in the child: what gdb must read is in no file */
static int ready[2];

static volatile int awake; /* for ever 0 */

__attribute__((noinline, optimize("O0"))) static void rest_here(int which)
{
	volatile int here = which * 1000;
	char byte = 'r';

	(void)!write(ready[1], &byte, 1);
	while (!awake) {
		(void)pause();
		here++;
	}
}

__attribute__((noinline, optimize("O0"))) static void walk_down(int which, int depth)
{
	if (depth)
		walk_down(which, depth - 1);
	else
		rest_here(which);
	__asm__ volatile(""); /* no tail call: the frames are to be there */
}

static void *run_thread(void *arg)
{
	walk_down((int)(intptr_t)arg, (int)(intptr_t)arg);
	return NULL;
}

static void be_captured(void)
{
	pthread_t t;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	image_gdb_answer = 42;
	for (intptr_t i = 1; i < THREADS; i++)
		(void)pthread_create(&t, NULL, run_thread, (void *)i);
	walk_down(THREADS, THREADS);
}

/* --- capturing it --- */

struct capture {
	pid_t pid;
	pid_t tids[THREADS];
	char proc[32];
	int mem;
	struct vma_list vmas;
	Godwit__Ckpt__Job job;
	Godwit__Ckpt__Process process;
	Godwit__Ckpt__Memory memory;
	Godwit__Ckpt__Thread thread[THREADS], *threads[THREADS];
	Godwit__Ckpt__Region *regions;
	Godwit__Ckpt__Region **region_list;
	Godwit__Ckpt__OpenFile *files, **file_list;
	struct image_extent *extents;
	size_t n_extents;
	uint8_t *vdso;
};

static pid_t start_child(void)
{
	pid_t pid;
	char bytes[THREADS];

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		be_captured();
		_exit(1);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(read(ready[0], &bytes[i], 1), 1);
	return pid;
}

static void stop_thread(struct capture *c, unsigned i)
{
	static uint8_t xstate[THREADS][XSTATE_ROOM];
	static struct user_regs_struct regs[THREADS];
	struct iovec iov = { xstate[i], XSTATE_ROOM };
	Godwit__Ckpt__Thread *t = &c->thread[i];
	int status;

	assert_int_equal(ptrace(PTRACE_SEIZE, c->tids[i], 0, 0), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, c->tids[i], 0, 0), 0);
	assert_int_equal(waitpid(c->tids[i], &status, __WALL), c->tids[i]);
	assert_int_equal(ptrace(PTRACE_GETREGS, c->tids[i], 0, &regs[i]), 0);
	assert_int_equal(ptrace(PTRACE_GETREGSET, c->tids[i], NT_X86_XSTATE, &iov), 0);
	godwit__ckpt__thread__init(t);
	t->tid = c->tids[i];
	t->regs = (ProtobufCBinaryData) { sizeof regs[i], (uint8_t *)&regs[i] };
	/* As a checkpoint has it: what is initial at the end is left out. */
	t->xstate = (ProtobufCBinaryData) { MIN(iov.iov_len, (size_t)576), xstate[i] };
	t->comm = (char *)(uintptr_t) "captured";
	c->threads[i] = t;
}

static void stop_all(struct capture *c)
{
	char command[64];
	FILE *p;

	(void)snprintf(command, sizeof command, "ls -v /proc/%d/task", c->pid);
	p = popen(command, "r");
	assert_non_null(p);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(fscanf(p, "%d", &c->tids[i]), 1);
	(void)pclose(p);
	assert_int_equal(c->tids[0], c->pid);
	for (unsigned i = 0; i < THREADS; i++)
		stop_thread(c, i);
}

static void add_vma(struct capture *c, const struct vma *v, size_t i)
{
	Godwit__Ckpt__Region *g = &c->regions[c->memory.n_regions];
	Godwit__Ckpt__OpenFile *f = &c->files[i];
	bool file = v->ino != 0;

	if (!strcmp(v->path, "[vdso]")) {
		c->memory.vdso_start = v->start;
		c->memory.vdso_len = v->end - v->start;
		c->vdso = xmalloc(c->memory.vdso_len);
		assert_int_equal(pread(c->mem, c->vdso, c->memory.vdso_len, (off_t)v->start), c->memory.vdso_len);
		return;
	}
	if (v->start >= 1ull << 47 || !strncmp(v->path, "[vvar", 5))
		return;
	godwit__ckpt__region__init(g);
	godwit__ckpt__open_file__init(f);
	f->id = (uint32_t)i + 1;
	f->kind = file ? GODWIT__CKPT__OPEN_FILE__KIND__REGULAR : GODWIT__CKPT__OPEN_FILE__KIND__EVENTFD;
	f->path = (char *)(uintptr_t)v->path;
	c->file_list[c->job.n_files++] = f;
	g->kind = file ? GODWIT__CKPT__REGION__KIND__FILE_PRIVATE : GODWIT__CKPT__REGION__KIND__ANON_PRIVATE;
	g->object = file ? f->id : 0;
	g->start = v->start;
	g->end = v->end;
	g->prot = v->prot;
	g->offset = file ? v->offset : 0;
	c->region_list[c->memory.n_regions++] = g;
	/* Read-only ones, too: what the dynamic linker wrote before it locked them. */
	if ((v->prot & PROT_READ) && v->end - v->start <= REGION_MAX)
		c->extents[c->n_extents++] = (struct image_extent) { 0, v->start, v->end };
}

/* Fields 48 and 49 of stat. */
static void read_arguments(struct capture *c)
{
	_cleanup_free_ char *path = xasprintf("%s/stat", c->proc);
	_cleanup_free_ char *text = NULL;
	char *at;

	assert_true(fd_slurp(AT_FDCWD, path, 65536, &text) > 0);
	at = strrchr(text, ')');
	for (unsigned field = 2; field < 48; field++)
		at = strchr(at, ' ') + 1;
	c->memory.arg_start = strtoull(at, &at, 10);
	c->memory.arg_end = strtoull(at, &at, 10);
}

static void look_at_memory(struct capture *c)
{
	char path[64];
	struct err e = { 0 };
	_cleanup_fd_ int maps = -EBADF;
	char *auxv = NULL;
	ssize_t n;

	(void)snprintf(path, sizeof path, "%s/maps", c->proc);
	maps = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(vma_list_read(&c->vmas, maps, &e), 0);
	(void)snprintf(path, sizeof path, "%s/mem", c->proc);
	c->mem = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(c->mem >= 0);
	c->regions = xcalloc(c->vmas.n, sizeof *c->regions);
	c->region_list = xcalloc(c->vmas.n, sizeof *c->region_list);
	c->files = xcalloc(c->vmas.n, sizeof *c->files);
	c->file_list = xcalloc(c->vmas.n, sizeof *c->file_list);
	c->extents = xcalloc(c->vmas.n, sizeof *c->extents);
	godwit__ckpt__memory__init(&c->memory);
	godwit__ckpt__job__init(&c->job);
	for (size_t i = 0; i < c->vmas.n; i++)
		add_vma(c, &c->vmas.v[i], i);
	(void)snprintf(path, sizeof path, "%s/auxv", c->proc);
	n = fd_slurp(AT_FDCWD, path, 65536, &auxv);
	assert_true(n > 0);
	c->memory.auxv = (ProtobufCBinaryData) { (size_t)n, (uint8_t *)auxv };
	read_arguments(c);
	c->memory.exe = (char *)(uintptr_t) "captured";
	c->memory.regions = c->region_list;
	c->job.files = c->file_list;
}

static int read_memory(void *arg, uint32_t space, uint64_t start, void *buf, size_t len, struct err *e)
{
	const struct capture *c = arg;

	(void)space;
	return pread(c->mem, buf, len, (off_t)start) == (ssize_t)len ? 0 : err_errno(e, "reading memory");
}

static void write_image(struct capture *c, const char *path, unsigned flags)
{
	struct image_process p = { .process = &c->process,
				   .extents = c->extents,
				   .n_extents = c->n_extents,
				   .source = read_memory,
				   .arg = c,
				   .vdso = c->vdso };
	struct image_writer *w = NULL;
	struct err e = { 0 };
	int err;

	godwit__ckpt__process__init(&c->process);
	c->process.pid = c->pid;
	c->process.threads = c->threads;
	c->process.n_threads = THREADS;
	c->process.memory = &c->memory;
	err = image_create(path, flags, "captured", "h1", &w, &e);
	if (!err)
		err = image_add(w, &c->job, &p, &e);
	if (!err)
		err = image_commit(w, &e);
	image_writer_free(w);
	if (err < 0)
		fail_msg("%s", err_text(&e));
}

/* --- what gdb says --- */

static char *ask_gdb(const char *core)
{
	static const char questions[] = "-ex 'set width 0' -ex 'thread apply all bt' -ex 'print image_gdb_answer' "
					"-ex 'thread 1' -ex 'info sharedlibrary' -ex 'x/4xb $sp'";
	_cleanup_free_ char *command =
		xasprintf("DEBUGINFOD_URLS= timeout 60 gdb -nx -q --batch %s /proc/%d/exe %s 2>&1", questions,
			  getpid(), core);
	char *text = xcalloc(1, 1 << 20);
	FILE *p = popen(command, "r");

	assert_non_null(p);
	assert_true(fread(text, 1, (1 << 20) - 1, p) > 0);
	(void)pclose(p);
	return text;
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	while ((text = strstr(text, what))) {
		n++;
		text++;
	}
	return n;
}

static void expect(const char *text, const char *what, unsigned times)
{
	if (count(text, what) != times) {
		print_message("%s\n", text);
		fail_msg("gdb says \"%s\" %u times, not %u", what, count(text, what), times);
	}
}

/* Before 14, gdb takes it that every CPU lays out its extended state as Intel's do, AVX-512's masks at 1088 and
 * PKRU at 2688, and finds that of others, and the kernel's own cores of them, too small. */
static bool gdb_knows_layout(void)
{
	static const struct {
		unsigned component, offset;
	} intels[] = { { 5, 1088 }, { 9, 2688 } };

	for (size_t i = 0; i < ARRAY_LEN(intels); i++) {
		unsigned size, offset = 0, c, d;

		if (__get_cpuid_count(0xd, intels[i].component, &size, &offset, &c, &d) && size &&
		    offset != intels[i].offset)
			return false;
	}
	return true;
}

static void check_gdb(const char *dir, const char *image, pid_t pid)
{
	_cleanup_free_ char *core = xasprintf("%s/%s/%d.core", dir, image, pid);
	_cleanup_free_ char *text = ask_gdb(core);

	expect(text, "image_gdb_test --for gdb'", 1);
	expect(text, "rest_here (which=", THREADS);
	expect(text, "rest_here (which=4)", 1);
	/* 1 + 2 + 3 + 4 levels, and the last of each. */
	expect(text, " walk_down (which=", 1 + 2 + 3 + 4 + THREADS);
	expect(text, " run_thread (arg=", THREADS - 1);
	expect(text, "$1 = 42", 1);
	expect(text, "Cannot access memory", 0);
	expect(text, "warning:", gdb_knows_layout() ? 0 : count(text, "warning: Section `.reg-xstate/"));
	if (!strstr(text, "libc.so"))
		fail_msg("gdb does not see the libraries");
}

static void gdb_opens_it(void **state)
{
	char dir[] = "/tmp/godwit-gdb-XXXXXX";
	struct capture c = { 0 };
	struct image *im = NULL;
	struct err e = { 0 };
	_cleanup_free_ char *plain = NULL, *packed = NULL, *again = NULL, *remove = NULL;

	(void)state;
	if (system("gdb --version >/dev/null 2>&1") != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	plain = xasprintf("%s/plain", dir);
	packed = xasprintf("%s/packed", dir);
	again = xasprintf("%s/again", dir);
	remove = xasprintf("rm -rf %s", dir);
	c.pid = start_child();
	(void)snprintf(c.proc, sizeof c.proc, "/proc/%d", c.pid);
	stop_all(&c);
	look_at_memory(&c);
	write_image(&c, plain, 0);
	write_image(&c, packed, IMAGE_COMPRESS);
	(void)kill(c.pid, SIGKILL);
	/* A traced thread is its tracer's to reap, and the leader goes last. */
	while (waitpid(-1, NULL, __WALL) > 0)
		;
	check_gdb(dir, "plain", c.pid);
	if (image_open(packed, &im, &e) < 0 || image_copy(im, again, 0, &e) < 0)
		fail_msg("%s", err_text(&e));
	image_close(im);
	check_gdb(dir, "again", c.pid);
	assert_int_equal(system(remove), 0);
	vma_list_done(&c.vmas);
	(void)close(c.mem);
	free(c.regions);
	free(c.region_list);
	free(c.files);
	free(c.file_list);
	free(c.extents);
	free(c.memory.auxv.data);
	free(c.vdso);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(gdb_opens_it) };

	/* A command line to be recognised by. */
	if (argc == 1) {
		(void)execl("/proc/self/exe", argv[0], "--for", "gdb", NULL);
		return 1;
	}

	return cmocka_run_group_tests_name("image and gdb", tests, NULL, NULL);
}
