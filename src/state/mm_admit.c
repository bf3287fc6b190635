/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/kernel.h"
#include "base/util.h"
#include "memory/source.h"
#include "state/mm.h"

#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#define ADV_GUARD_INSTALL 102

static bool uses_seals(const struct mm_snapshot *mm)
{
	for (size_t i = 0; i < mm->vmas.n; i++)
		if (mm->vmas.v[i].flags & VMA_SEALED && mm->kinds[i] != VMA_KIND_VDSO &&
		    mm->kinds[i] != VMA_KIND_VVAR)
			return true;
	return false;
}

static bool uses_droppable(const struct mm_snapshot *mm)
{
	for (size_t i = 0; i < mm->vmas.n; i++)
		if (mm->vmas.v[i].flags & VMA_DROPPABLE)
			return true;
	return false;
}

static bool uses_guards(const struct mm_snapshot *mm)
{
	return mm->guards.n > 0;
}

static bool has_seals(void)
{
	return syscall(SYS_mseal, NULL, 0, 0) == 0 || errno != ENOSYS;
}

static bool has_droppable(void)
{
	void *page = mmap(NULL, PAGE_BYTES, PROT_READ, MM_DROPPABLE | MAP_ANONYMOUS, -1, 0);

	return page != MAP_FAILED && !munmap(page, PAGE_BYTES);
}

static bool has_guards(void)
{
	char *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool works = page != MAP_FAILED && !madvise(page, PAGE_BYTES, ADV_GUARD_INSTALL);

	if (page != MAP_FAILED)
		(void)munmap(page, PAGE_BYTES);
	return works;
}

/* Kinds of memory that older kernels do not have. */
static const struct {
	const char *name, *what, *since;
	bool (*used)(const struct mm_snapshot *mm);
	bool (*here)(void);
} features[] = {
	{ "mseal", "sealed memory", "6.10", uses_seals, has_seals },
	{ "droppable", "droppable memory", "6.11", uses_droppable, has_droppable },
	{ "guard_regions", "guard regions (MADV_GUARD_INSTALL)", "6.13", uses_guards, has_guards },
};

void mm_require_kernel(const struct mm_snapshot *mm, Godwit__Ckpt__Requirements *q)
{
	for (size_t i = 0; i < ARRAY_LEN(features); i++) {
		if (!features[i].used(mm))
			continue;
		q->kernel = xrealloc(q->kernel, (q->n_kernel + 1) * sizeof(*q->kernel));
		q->kernel[q->n_kernel++] = xstrdup(features[i].name);
	}
}

static void admit_kernel(struct state_target *d, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(features); i++)
		if (!strcmp(features[i].name, name) && (kernel_hidden(name) || !features[i].here()))
			problem_add(d->problems, 0, -1, "kernel", "choose a host with a newer kernel",
				    "the job has %s, which the destination's kernel does not know (Linux %s does)",
				    features[i].what, features[i].since);
}

static uint64_t number_in(const char *path)
{
	_cleanup_free_ char *text = NULL;

	return fd_slurp(AT_FDCWD, path, 256, &text) > 0 ? strtoull(text, NULL, 10) : 0;
}

static uint64_t memory_available(void)
{
	_cleanup_free_ char *text = NULL;
	const char *at =
		fd_slurp(AT_FDCWD, "/proc/meminfo", 1 << 16, &text) > 0 ? strstr(text, "\nMemAvailable:") : NULL;

	return at ? strtoull(at + 14, NULL, 10) * 1024 : UINT64_MAX;
}

int mm_admit(struct state_target *d, const Godwit__Ckpt__Requirements *q, struct err *e)
{
	uint64_t maps = number_in("/proc/sys/vm/max_map_count"), free_bytes = memory_available();

	(void)e;
	if (!kernel_has(KERNEL_MM_MAP))
		problem_add(d->problems, 0, -1, "kernel", "use a kernel with CONFIG_CHECKPOINT_RESTORE",
			    "the destination's kernel cannot set brk and auxv of a process (PR_SET_MM_MAP)");
	for (size_t i = 0; i < q->n_kernel; i++)
		admit_kernel(d, q->kernel[i]);
	/* The agent and the kernel's own need a few, and protections may split some. */
	if (maps && q->mappings + 16ull > maps)
		problem_add(d->problems, 0, -1, "memory", "raise vm.max_map_count there",
			    "the job has %u mappings, the destination allows %llu", q->mappings,
			    (unsigned long long)maps);
	if (q->memory > free_bytes)
		problem_add(d->problems, 0, -1, "memory", "free memory there, or choose another host",
			    "the job needs %llu MiB, the destination has %llu",
			    (unsigned long long)q->memory >> 20, (unsigned long long)free_bytes >> 20);
	return 0;
}
