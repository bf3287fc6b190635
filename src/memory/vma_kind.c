/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "memory/vma.h"

static bool starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

/* What a special mapping's name stands for. The first that fits wins. */
static const struct {
	const char *prefix;
	struct vma_refusal why;
} special_paths[] = {
	{ "anon_inode:[io_uring]",
	  { "io_uring is not supported", "let the program use epoll instead of io_uring" } },
	{ "anon_inode:[perf_event]", { "performance counters are mapped", "end the profiling" } },
	{ "anon_inode:", { "a kernel object that cannot move is mapped", "let the program close it" } },
	{ "/[aio]",
	  { "asynchronous I/O contexts (io_setup) are not supported", "let the program use threads for I/O" } },
	{ "/secretmem", { "secret memory (memfd_secret) cannot be read, so it cannot move", "run without it" } },
	{ "/SYSV", { "System V shared memory is not supported yet", "use mmap or POSIX shared memory" } },
	{ "/anon_hugepage", { "hugetlb pages are not supported", "use transparent huge pages" } },
	{ "socket:", { "a socket's ring buffer is mapped", "let the program close it" } },
	{ "/dmabuf:", { "a device's buffer is mapped", "run without the device" } },
	{ "[uprobes]", { "it is being probed (uprobes)", "remove the probes" } },
};

static const struct {
	uint32_t flag;
	struct vma_refusal why;
} special_flags[] = {
	{ VMA_HUGETLB, { "hugetlb pages are not supported", "use transparent huge pages" } },
	{ VMA_USERFAULT,
	  { "page faults are served by the program itself (userfaultfd)", "unregister the range" } },
	{ VMA_SHADOWSTACK,
	  { "shadow stacks are not supported", "run with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off" } },
	{ VMA_PFNMAP, { "a device's memory is mapped", "run without the device" } },
	{ VMA_SYNC, { "persistent memory is mapped with MAP_SYNC", "map it without MAP_SYNC" } },
};

static enum vma_kind refuse(struct vma_refusal *why, struct vma_refusal reason)
{
	if (why)
		*why = reason;
	return VMA_KIND_NONE;
}

/* The kernel's own shmem mount, where shared anonymous memory, memfds and System V segments live. */
static uint64_t shmem_dev(void)
{
	static uint64_t dev; /* a constant of this boot */
	struct stat st;
	int fd;

	if (dev)
		return dev;
	fd = memfd_create("godwit-probe", MFD_CLOEXEC);
	if (fd >= 0 && !fstat(fd, &st))
		dev = st.st_dev;
	fd_close(&fd);
	return dev;
}

static enum vma_kind classify_anonymous(const struct vma *v, struct vma_refusal *why)
{
	if (!strcmp(v->path, "[vdso]"))
		return VMA_KIND_VDSO;
	if (starts(v->path, "[vvar"))
		return VMA_KIND_VVAR;
	if (!strcmp(v->path, "[vsyscall]"))
		return VMA_KIND_KERNEL;
	if (v->flags & VMA_GROWSDOWN || !strcmp(v->path, "[stack]"))
		return VMA_KIND_STACK;
	if (!v->path[0] || !strcmp(v->path, "[heap]") || starts(v->path, "[anon:") || starts(v->path, "[stack"))
		return VMA_KIND_ANON_PRIVATE;
	return refuse(why, (struct vma_refusal) { "it is of a kind that godwit does not know", "" });
}

static enum vma_kind classify_shmem(const struct vma *v, struct vma_refusal *why)
{
	bool memfd = starts(v->path, "/memfd:");

	if (!memfd && !starts(v->path, "/dev/zero") && !starts(v->path, "[anon_shmem:"))
		return refuse(why, (struct vma_refusal) { "a kernel object that cannot move is mapped",
							  "let the program close it" });
	if (!v->shared)
		return refuse(why, (struct vma_refusal) { "a private mapping of a memfd is not supported yet",
							  "map it shared" });
	return VMA_KIND_ANON_SHARED;
}

enum vma_kind vma_classify(const struct vma *v, struct vma_refusal *why)
{
	enum vma_kind kind = VMA_KIND_NONE;

	if (!v->ino && !v->dev) {
		kind = classify_anonymous(v, why);
		if (kind != VMA_KIND_ANON_PRIVATE && kind != VMA_KIND_STACK)
			return kind;
	}
	for (size_t i = 0; i < ARRAY_LEN(special_paths); i++)
		if (starts(v->path, special_paths[i].prefix))
			return refuse(why, special_paths[i].why);
	for (size_t i = 0; i < ARRAY_LEN(special_flags); i++)
		if (v->flags & special_flags[i].flag)
			return refuse(why, special_flags[i].why);
	if (v->pkey)
		return refuse(why, (struct vma_refusal) { "memory protection keys are not supported yet",
							  "run without pkey_mprotect or execute-only memory" });
	if (!v->ino && !v->dev)
		return kind;
	if (v->dev == shmem_dev())
		return classify_shmem(v, why);
	/* A private mapping of /dev/zero is anonymous memory in every way but its name. */
	if (!v->shared && !strcmp(v->path, "/dev/zero"))
		return VMA_KIND_ANON_PRIVATE;
	return v->shared ? VMA_KIND_FILE_SHARED : VMA_KIND_FILE_PRIVATE;
}

const char *vma_anon_name(const struct vma *v, size_t *ret_len)
{
	static const char *const prefixes[] = { "[anon:", "[anon_shmem:" };

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		size_t skip = strlen(prefixes[i]), len = strlen(v->path);

		if (!starts(v->path, prefixes[i]) || v->path[len - 1] != ']')
			continue;
		*ret_len = len - skip - 1;
		return v->path + skip;
	}
	return NULL;
}
