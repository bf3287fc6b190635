/* SPDX-License-Identifier: Apache-2.0 */
#include "state/mm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "memory/source.h"
#include "state/file.h"

#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66
#endif

/* --- files behind mappings --- */

static int compare_files(const struct mm_file *a, uint64_t dev, uint64_t ino, bool writes)
{
	if (a->ino != ino)
		return a->ino < ino ? -1 : 1;
	if (a->dev != dev)
		return a->dev < dev ? -1 : 1;
	return (int)a->writes - (int)writes;
}

/* The slot where that file is or belongs. */
static size_t find_file(const struct mm_snapshot *mm, uint64_t dev, uint64_t ino, bool writes)
{
	size_t low = 0, high = mm->n_files;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare_files(&mm->files[mid], dev, ino, writes) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void remember_file(struct mm_snapshot *mm, size_t at, struct mm_file f)
{
	mm->files = xrealloc(mm->files, (mm->n_files + 1) * sizeof *mm->files);
	memmove(&mm->files[at + 1], &mm->files[at], (mm->n_files - at) * sizeof *mm->files);
	mm->files[at] = f;
	mm->n_files++;
}

static bool writes_reach_file(const struct vma *v)
{
	return (v->flags & VMA_SHARED) && (v->flags & VMA_MAYWRITE);
}

static void vma_problem(struct state_source *s, const struct vma *v, const char *reason, const char *help)
{
	char object[128];

	(void)snprintf(object, sizeof object, "mapping %llx-%llx %s", (unsigned long long)v->start,
		       (unsigned long long)v->end, v->path);
	problem_add(s->problems, s->vpid, -1, object, help, "%s", reason);
}

/* The id of a mapped file, or -errno. A file that cannot be mapped elsewhere becomes a problem, or an error once
 * the job is stopped. */
static int file_id(struct state_source *s, const struct vma *v, struct err *e)
{
	bool writes = writes_reach_file(v);
	size_t at = find_file(s->mm, v->dev, v->ino, writes);
	_cleanup_fd_ int fd = -EBADF;
	struct stat st;
	int id;

	if (at < s->mm->n_files && !compare_files(&s->mm->files[at], v->dev, v->ino, writes))
		return (int)s->mm->files[at].id;
	fd = mm_snapshot_open(s->mm, v, writes, e);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_errno(e, "looking at the mapped file %s", v->path);
	if (!S_ISREG(st.st_mode)) {
		if (!s->problems || s->mm->frozen)
			return err_set(e, -EOPNOTSUPP, "a device or special file is mapped: %s", v->path);
		vma_problem(s, v, "a device or special file is mapped", "run without it");
		return 0;
	}
	id = file_add_mapped(s, fd, writes, e);
	/* While the process runs it may have mapped another file there by the time we open it. */
	if (id >= 0 && (s->mm->frozen || st.st_ino == v->ino))
		remember_file(s->mm, at, (struct mm_file) { v->dev, v->ino, writes, (uint32_t)id });
	return id;
}

/* --- regions of the message --- */

static const struct {
	uint32_t flag, advice;
} advices[] = {
	{ VMA_SEQUENTIAL, MADV_SEQUENTIAL }, { VMA_RANDOM, MADV_RANDOM },
	{ VMA_DONTFORK, MADV_DONTFORK },     { VMA_DONTDUMP, MADV_DONTDUMP },
	{ VMA_HUGEPAGE, MADV_HUGEPAGE },     { VMA_NOHUGEPAGE, MADV_NOHUGEPAGE },
	{ VMA_MERGEABLE, MADV_MERGEABLE },   { VMA_WIPEONFORK, MADV_WIPEONFORK },
};

static void put_advice(const struct vma *v, Godwit__Ckpt__Region *g)
{
	uint32_t list[ARRAY_LEN(advices)];
	size_t n = 0;

	/* Droppable memory is born with both, and refuses to be told. */
	uint32_t flags = v->flags & VMA_DROPPABLE ? v->flags & ~(VMA_DONTDUMP | VMA_WIPEONFORK) : v->flags;

	for (size_t i = 0; i < ARRAY_LEN(advices); i++)
		if (flags & advices[i].flag)
			list[n++] = advices[i].advice;
	if (!n)
		return;
	g->advice = xmalloc(n * sizeof *list);
	memcpy(g->advice, list, n * sizeof *list);
	g->n_advice = n;
}

/* The runs inside a region as pages to skip, pages that count, pages to skip, ... */
static void put_runs(const struct extents *x, uint64_t start, uint64_t end, size_t *hint, uint64_t **ret,
		     size_t *ret_n)
{
	struct extents in = { 0 };
	uint64_t at = start;

	extents_within(x, start, end, hint, &in);
	if (in.n)
		*ret = xmalloc(2 * in.n * sizeof **ret);
	for (size_t i = 0; i < in.n; i++) {
		(*ret)[2 * i] = (in.e[i].start - at) / PAGE_BYTES;
		(*ret)[2 * i + 1] = (in.e[i].end - in.e[i].start) / PAGE_BYTES;
		at = in.e[i].end;
	}
	*ret_n = 2 * in.n;
	extents_done(&in);
}

static Godwit__Ckpt__Region__Kind kind_of(enum vma_kind kind)
{
	switch (kind) {
	case VMA_KIND_ANON_PRIVATE:
		return GODWIT__CKPT__REGION__KIND__ANON_PRIVATE;
	case VMA_KIND_STACK:
		return GODWIT__CKPT__REGION__KIND__STACK;
	case VMA_KIND_ANON_SHARED:
		return GODWIT__CKPT__REGION__KIND__ANON_SHARED;
	case VMA_KIND_FILE_PRIVATE:
		return GODWIT__CKPT__REGION__KIND__FILE_PRIVATE;
	case VMA_KIND_FILE_SHARED:
		return GODWIT__CKPT__REGION__KIND__FILE_SHARED;
	default:
		return GODWIT__CKPT__REGION__KIND__NONE;
	}
}

static void put_vma(const struct vma *v, Godwit__Ckpt__Region *g)
{
	size_t len;
	const char *name = vma_anon_name(v, &len);

	g->start = v->start;
	g->end = v->end;
	g->prot = v->prot;
	g->flags = (v->flags & VMA_NORESERVE ? MAP_NORESERVE : 0) | (v->flags & VMA_DROPPABLE ? MM_DROPPABLE : 0);
	g->accounted = v->flags & VMA_ACCOUNT;
	g->locked = v->flags & VMA_LOCKED;
	g->lock_on_fault = v->flags & VMA_LOCKONFAULT;
	g->writes = writes_reach_file(v);
	g->sealed = v->flags & VMA_SEALED;
	if (name)
		g->name = strndup(name, len);
	put_advice(v, g);
}

struct hints {
	size_t pages, guards;
};

static int make_region(struct state_source *s, size_t i, struct hints *h, Godwit__Ckpt__Region **ret,
		       struct err *e)
{
	const struct mm_snapshot *mm = s->mm;
	const struct vma *v = &mm->vmas.v[i];
	Godwit__Ckpt__Region *g = xmalloc(sizeof *g);
	struct mm_object *o = mm_snapshot_object(mm, v);
	int id = 0;

	godwit__ckpt__region__init(g);
	*ret = g;
	g->kind = kind_of(mm->kinds[i]);
	put_vma(v, g);
	if (g->kind == GODWIT__CKPT__REGION__KIND__FILE_PRIVATE ||
	    g->kind == GODWIT__CKPT__REGION__KIND__FILE_SHARED) {
		id = file_id(s, v, e);
		g->offset = v->offset;
	} else if (o) {
		id = (int)o->id;
		g->offset = v->offset;
	}
	if (id < 0)
		return id;
	g->object = (uint32_t)id;
	put_runs(&mm->guards, v->start, v->end, &h->guards, &g->guards, &g->n_guards);
	put_runs(&mm->pages, v->start, v->end, &h->pages, &g->resident, &g->n_resident);
	g->has_pages = g->n_resident > 0;
	if (mm->frozen) {
		free(g->resident);
		g->resident = NULL;
		g->n_resident = 0;
	}
	return 0;
}

static int put_regions(struct state_source *s, Godwit__Ckpt__Memory *m, struct err *e)
{
	const struct mm_snapshot *mm = s->mm;
	struct hints h = { 0 };

	m->regions = xcalloc(mm->vmas.n + 1, sizeof(*m->regions));
	for (size_t i = 0; i < mm->vmas.n; i++) {
		int err;

		if (kind_of(mm->kinds[i]) == GODWIT__CKPT__REGION__KIND__NONE)
			continue;
		err = make_region(s, i, &h, &m->regions[m->n_regions++], e);
		/* Unmapped since the list was read: the final message will not have it either. */
		if (err == -ENOENT && !mm->frozen)
			godwit__ckpt__region__free_unpacked(m->regions[--m->n_regions], NULL);
		else if (err)
			return err;
	}
	return 0;
}

static void put_objects(struct state_source *s, Godwit__Ckpt__Job *job)
{
	const struct mm_snapshot *mm = s->mm;

	for (size_t i = 0; i < job->n_shared; i++)
		godwit__ckpt__region__free_unpacked(job->shared[i], NULL);
	free(job->shared);
	job->n_shared = 0;
	job->shared = xcalloc(mm->n_objects + 1, sizeof(*job->shared));
	for (size_t i = 0; i < mm->n_objects; i++) {
		const struct mm_object *o = &mm->objects[i];
		Godwit__Ckpt__Region *g = xmalloc(sizeof *g);

		godwit__ckpt__region__init(g);
		g->kind = GODWIT__CKPT__REGION__KIND__ANON_SHARED;
		g->object = o->id;
		g->end = o->size;
		if (o->name)
			g->name = xstrdup(o->name);
		if (!mm->frozen)
			put_runs(&o->pages, 0, o->size, NULL, &g->resident, &g->n_resident);
		job->shared[job->n_shared++] = g;
	}
}

/* --- what the kernel keeps of the program image --- */

/* /proc/PID/stat from field 3 on, by number; the name in field 2 may hold anything. */
static int read_stat(int proc, uint64_t field[53], struct err *e)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = fd_slurp(proc, "stat", 65536, &text);
	char *at = n > 0 ? strrchr(text, ')') : NULL;

	if (!at || strlen(at) < 4)
		return err_code(e, n < 0 ? (int)n : -EBADMSG, "reading the stat of a process");
	at += 4; /* ") S": the state is a letter */
	for (int i = 4; i <= 52; i++)
		field[i] = strtoull(at, &at, 10);
	return 0;
}

static int put_image(struct state_source *s, Godwit__Ckpt__Memory *m, struct err *e)
{
	_cleanup_free_ char *auxv = NULL;
	uint64_t f[53];
	char exe[PATH_MAX];
	ssize_t n;
	int err = read_stat(s->proc, f, e);

	if (err)
		return err;
	m->start_code = f[26];
	m->end_code = f[27];
	m->start_stack = f[28];
	m->start_data = f[45];
	m->end_data = f[46];
	m->start_brk = m->brk = f[47];
	m->arg_start = f[48];
	m->arg_end = f[49];
	m->env_start = f[50];
	m->env_end = f[51];
	n = fd_slurp(s->proc, "auxv", 65536, &auxv);
	if (n < 0)
		return err_code(e, (int)n, "reading the auxiliary vector");
	m->auxv.len = (size_t)n;
	m->auxv.data = (uint8_t *)steal_ptr(&auxv);
	n = readlinkat(s->proc, "exe", exe, sizeof exe - 1);
	if (n < 0)
		return err_errno(e, "reading the name of the executable");
	exe[n] = '\0';
	m->exe = xstrdup(exe);
	return 0;
}

static int put_exe(struct state_source *s, Godwit__Ckpt__Memory *m, struct err *e)
{
	_cleanup_fd_ int fd = openat(s->proc, "exe", O_RDONLY | O_CLOEXEC);
	int id;

	if (fd < 0)
		return err_errno(e, "opening the executable");
	id = file_add_mapped(s, fd, false, e);
	if (id < 0)
		return id;
	m->exe_object = (uint32_t)id;
	return 0;
}

static int fill(struct state_source *s, struct err *e)
{
	Godwit__Ckpt__Memory *m = xmalloc(sizeof *m);
	int err;

	godwit__ckpt__memory__init(m);
	if (s->process->memory)
		godwit__ckpt__memory__free_unpacked(s->process->memory, NULL);
	s->process->memory = m;
	err = put_image(s, m, e);
	if (!err)
		err = put_exe(s, m, e);
	if (!err)
		err = put_regions(s, m, e);
	if (!err)
		err = vdso_describe(s, m, e);
	if (!err)
		put_objects(s, s->job);
	return err;
}

/* --- the module --- */

static void check_mapping(struct state_source *s, size_t i)
{
	const struct vma *v = &s->mm->vmas.v[i];
	struct vma_refusal why = { "", "" };

	if (vma_classify(v, &why) == VMA_KIND_NONE)
		vma_problem(s, v, why.reason, why.help);
}

static int mm_check(struct state_source *s, struct err *e)
{
	Godwit__Ckpt__Memory m;
	int err = 0;

	if (!s->mm)
		err = memory_source_new(s->pid, s->proc, &s->mm, e);
	if (!err)
		err = memory_source_describe(s->mm, e);
	if (err)
		return err;
	godwit__ckpt__memory__init(&m);
	for (size_t i = 0; i < s->mm->vmas.n; i++) {
		check_mapping(s, i);
		if (s->mm->kinds[i] != VMA_KIND_FILE_PRIVATE && s->mm->kinds[i] != VMA_KIND_FILE_SHARED)
			continue;
		err = file_id(s, &s->mm->vmas.v[i], e);
		/* It has just been unmapped: somebody else's turn, at the description. */
		if (err < 0 && err != -ENOENT)
			return err;
	}
	if (s->requirements) {
		s->requirements->memory = extents_bytes(&s->mm->pages);
		for (size_t i = 0; i < s->mm->n_objects; i++)
			s->requirements->memory += extents_bytes(&s->mm->objects[i].pages);
		s->requirements->mappings = (uint32_t)s->mm->vmas.n;
		mm_require_kernel(s->mm, s->requirements);
	}
	return put_exe(s, &m, e);
}

static int mm_describe(struct state_source *s, struct err *e)
{
	int err = memory_source_describe(s->mm, e);

	return err ? err : fill(s, e);
}

static int mm_ask(struct state_source *s, struct batch *b, struct err *e)
{
	(void)e;
	s->mm->ask_brk = batch_call(b, NULL, SYS_brk, bval(0));
	s->mm->ask_barriers = batch_call(b, NULL, SYS_membarrier, bval(MM_BARRIER_GET));
	s->mm->ask_mdwe = batch_call(b, NULL, SYS_prctl, bval(PR_GET_MDWE));
	return 0;
}

static int mm_take(struct state_source *s, struct batch *b, struct err *e)
{
	int err = memory_source_freeze(s->mm, s->remote, e);
	Godwit__Ckpt__Memory *m;

	if (!err)
		err = fill(s, e);
	if (err)
		return err;
	m = s->process->memory;
	m->brk = (uint64_t)batch_ret(b, s->mm->ask_brk);
	m->mdwe = (uint64_t)MAX(batch_ret(b, s->mm->ask_mdwe), 0);
	m->barriers = (uint64_t)MAX(batch_ret(b, s->mm->ask_barriers), 0);
	m->lock_future = s->mm->lock_future;
	m->lock_future_on_fault = s->mm->lock_future_on_fault;
	return 0;
}

const struct state_module state_mm = {
	.name = "memory",
	.phase = STATE_MEMORY,
	.check = mm_check,
	.describe = mm_describe,
	.ask = mm_ask,
	.take = mm_take,
	.admit = mm_admit,
	.prepare = mm_prepare,
	.restore = mm_restore,
	.finish = mm_finish,
};
