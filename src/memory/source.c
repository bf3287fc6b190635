/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * smaps is the only text that shows a mapping's flags (advice, locks, what it may become), and it walks every page
 * to print counts nobody here asked for: milliseconds for a large process. So it is read while the job runs; at
 * the freeze maps is read, and the flags are those of the description where the kernel's own, which a BPF program
 * shows us, are still the same (source_flags.c).
 *
 * Without BPF they are taken from the description if maps is, line for line, what it was. A flag that changed
 * without a trace in maps (madvise over a whole mapping) is then found by memory_source_verify, which reads smaps
 * once more while the destination is busy; the migration is undone and may be tried again. Locked memory shows in
 * VmLck, so there the second look is made in the freeze.
 *
 * Private memory is found by the page map, for all mappings of one kind in a row in one call. Shared anonymous
 * memory is an object of its own, which may hold pages that this process never touched: it is opened by map_files,
 * and its data is found by SEEK_DATA. Each object is sent once, however often it is mapped.
 */
#include "memory/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "inject/peek_vma.h"

#define READ_TRIES 8
#define FLAGS_CARRIED                                                                                             \
	(VMA_LOCKED | VMA_LOCKONFAULT | VMA_SEQUENTIAL | VMA_RANDOM | VMA_DONTFORK | VMA_ACCOUNT |                \
	 VMA_NORESERVE | VMA_DONTDUMP | VMA_HUGEPAGE | VMA_NOHUGEPAGE | VMA_MERGEABLE | VMA_WIPEONFORK |          \
	 VMA_SEALED)

static void object_done(struct mm_object *o)
{
	fd_close(&o->fd);
	if (o->map)
		(void)munmap((void *)(uintptr_t)o->map, o->size);
	free(o->name);
	extents_done(&o->pages);
}

void memory_source_free(struct mm_snapshot *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_objects; i++)
		object_done(&s->objects[i]);
	free(s->objects);
	free(s->files);
	free(s->kinds);
	vma_list_done(&s->vmas);
	extents_done(&s->pages);
	extents_done(&s->guards);
	scan_close(&s->scan);
	peek_vma_free(s->peek);
	fd_close(&s->maps);
	fd_close(&s->smaps);
	fd_close(&s->mem);
	free(s);
}

static void drop_snapshot(struct mm_snapshot **s)
{
	memory_source_free(*s);
}

int memory_source_new(pid_t pid, int proc, struct mm_snapshot **ret, struct err *e)
{
	__attribute__((cleanup(drop_snapshot))) struct mm_snapshot *s = xcalloc(1, sizeof *s);
	struct err why = { 0 };
	int err;

	s->pid = pid;
	s->proc = proc;
	s->maps = openat(proc, "maps", O_RDONLY | O_CLOEXEC);
	s->smaps = openat(proc, "smaps", O_RDONLY | O_CLOEXEC);
	s->mem = openat(proc, "mem", O_RDONLY | O_CLOEXEC);
	if (s->maps < 0 || s->smaps < 0 || s->mem < 0)
		return err_errno(e, "looking at the memory of process %d", pid);
	err = scan_open(&s->scan, proc, e);
	if (err)
		return err;
	if (peek_vma_open(pid, &s->peek, &why) < 0)
		log_debug("flags of mappings are read from smaps: %s", err_text(&why));
	*ret = steal_ptr(&s);
	return 0;
}

/* --- shared objects --- */

static struct mm_object *object_find(const struct mm_snapshot *s, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < s->n_objects; i++)
		if (s->objects[i].ino == ino && s->objects[i].dev == dev)
			return &s->objects[i];
	return NULL;
}

struct mm_object *mm_snapshot_object(const struct mm_snapshot *s, const struct vma *v)
{
	return v->shared && v->ino ? object_find(s, v->dev, v->ino) : NULL;
}

int mm_snapshot_open(const struct mm_snapshot *s, const struct vma *v, bool writes, struct err *e)
{
	char name[64];
	int fd;

	(void)snprintf(name, sizeof name, "map_files/%llx-%llx", (unsigned long long)v->start,
		       (unsigned long long)v->end);
	fd = openat(s->proc, name, (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, "opening what is mapped at %llx (%s)", (unsigned long long)v->start, v->path);
	return fd;
}

/* A memfd's name, or NULL for memory without one. */
static char *object_name(const struct vma *v)
{
	const char *from = v->path + strlen("/memfd:");
	size_t len;

	if (strncmp(v->path, "/memfd:", strlen("/memfd:")))
		return NULL;
	len = strlen(from);
	if (len > 10 && !strcmp(from + len - 10, " (deleted)"))
		len -= 10;
	return strndup(from, len);
}

static int object_add(struct mm_snapshot *s, const struct vma *v, struct err *e)
{
	_cleanup_fd_ int fd = mm_snapshot_open(s, v, false, e);
	struct mm_object *o;
	struct stat st;
	void *map = NULL;
	uint64_t size;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_errno(e, "shared memory at %llx", (unsigned long long)v->start);
	/* 1 we read the list  2 the process maps something else there  3 we open that */
	if (st.st_ino != v->ino || st.st_dev != v->dev)
		return err_set(e, -ENOENT, "shared memory at %llx is gone", (unsigned long long)v->start);
	size = ALIGN_UP((uint64_t)st.st_size, PAGE_BYTES);
	if (size)
		map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return err_errno(e, "mapping shared memory of %llu bytes", (unsigned long long)size);
	s->objects = xrealloc(s->objects, (s->n_objects + 1) * sizeof *s->objects);
	o = &s->objects[s->n_objects++];
	*o = (struct mm_object) { .id = ++s->last_id,
				  .dev = v->dev,
				  .ino = v->ino,
				  .size = size,
				  .name = object_name(v),
				  .fd = steal_fd(&fd),
				  .map = map };
	return 0;
}

/* Which parts of it hold something; fallocated but unwritten parts do not count. */
static int object_scan(struct mm_object *o, struct err *e)
{
	off_t at = 0;

	o->pages.n = 0;
	while ((uint64_t)at < o->size) {
		off_t from = lseek(o->fd, at, SEEK_DATA), to;

		if (from < 0 && errno == ENXIO)
			return 0;
		to = from < 0 ? -1 : lseek(o->fd, from, SEEK_HOLE);
		if (to < 0)
			return err_errno(e, "looking for the data of shared memory");
		at = (off_t)ALIGN_UP((uint64_t)to, PAGE_BYTES);
		extents_add(&o->pages, ALIGN_DOWN((uint64_t)from, PAGE_BYTES), MIN((uint64_t)at, o->size));
	}
	return 0;
}

/* Those that nobody maps any more: we must not keep their memory alive. */
static void forget_unused(struct mm_snapshot *s)
{
	size_t to = 0;

	for (size_t i = 0; i < s->n_objects; i++)
		s->objects[i].used = false;
	for (size_t i = 0; i < s->vmas.n; i++) {
		struct mm_object *o =
			s->kinds[i] == VMA_KIND_ANON_SHARED ? mm_snapshot_object(s, &s->vmas.v[i]) : NULL;

		if (o)
			o->used = true;
	}
	for (size_t i = 0; i < s->n_objects; i++) {
		if (s->objects[i].used)
			s->objects[to++] = s->objects[i];
		else
			object_done(&s->objects[i]);
	}
	s->n_objects = to;
}

static int find_objects(struct mm_snapshot *s, struct err *e)
{
	for (size_t i = 0; i < s->vmas.n; i++) {
		int err;

		if (s->kinds[i] != VMA_KIND_ANON_SHARED || mm_snapshot_object(s, &s->vmas.v[i]))
			continue;
		err = object_add(s, &s->vmas.v[i], e);
		/* It was unmapped since the list was read: not part of a description then. */
		if (err == -ENOENT && !s->frozen)
			s->kinds[i] = VMA_KIND_NONE;
		else if (err < 0)
			return err;
	}
	forget_unused(s);
	for (size_t i = 0; i < s->n_objects; i++) {
		int err = object_scan(&s->objects[i], e);

		if (err < 0)
			return err;
	}
	return 0;
}

/* --- private pages --- */

/* -1: nothing of it is private. */
static int scan_mode_of(enum vma_kind kind)
{
	if (kind == VMA_KIND_ANON_PRIVATE || kind == VMA_KIND_STACK)
		return SCAN_ANY;
	return kind == VMA_KIND_FILE_PRIVATE ? SCAN_COPIED : -1;
}

static int find_pages(struct mm_snapshot *s, struct err *e)
{
	struct extents *guards = &s->guards;

	s->pages.n = guards->n = 0;
	for (size_t i = 0; i < s->vmas.n;) {
		int mode = scan_mode_of(s->kinds[i]), err;
		size_t last = i;

		/* The ioctl skips holes at no cost; reading the page map does not. */
		while (s->scan.has_ioctl && last + 1 < s->vmas.n && scan_mode_of(s->kinds[last + 1]) == mode)
			last++;
		if (mode >= 0) {
			err = scan_range(&s->scan, s->vmas.v[i].start, s->vmas.v[last].end, (enum scan_mode)mode,
					 &s->pages, guards, e);
			if (err)
				return err;
		}
		i = last + 1;
	}
	extents_sort(&s->pages);
	extents_sort(guards);
	return 0;
}

static void classify_all(struct mm_snapshot *s)
{
	s->kinds = xrealloc(s->kinds, (s->vmas.n + 1) * sizeof *s->kinds);
	for (size_t i = 0; i < s->vmas.n; i++)
		s->kinds[i] = vma_classify(&s->vmas.v[i], NULL);
}

static int read_locked(struct mm_snapshot *s, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = fd_slurp(s->proc, "status", 65536, &text);
	const char *at;

	if (n < 0)
		return err_code(e, (int)n, "reading the status of process %d", s->pid);
	at = strstr(text, "\nVmLck:");
	s->locked_kb = at ? strtoull(at + 7, NULL, 10) : 0;
	return 0;
}

/* While the process runs, the list may change under our eyes: take it again. */
static int read_list(struct vma_list *l, int fd, struct err *e)
{
	int err = -EAGAIN;

	for (int i = 0; i < READ_TRIES && err == -EAGAIN; i++)
		err = vma_list_read(l, fd, e);
	return err;
}

int memory_source_describe(struct mm_snapshot *s, struct err *e)
{
	struct mm_raw before, after;
	int err = read_locked(s, e);

	if (err)
		return err;
	mm_flags_read(s, &before);
	err = read_list(&s->vmas, s->smaps, e);
	mm_flags_read(s, &after);
	mm_flags_note(&s->vmas, &before, &after);
	mm_raw_done(&before);
	mm_raw_done(&after);
	if (err)
		return err;
	classify_all(s);
	err = find_objects(s, e);
	return err ? err : find_pages(s, e);
}

/* --- the freeze --- */

/* The agent is not the job's: what the kernel may have joined with it stays. */
static void cut_out(struct vma_list *l, uint64_t start, uint64_t end)
{
	size_t to = 0;

	for (size_t i = 0; i < l->n; i++) {
		struct vma v = l->v[i];

		if (v.end <= start || v.start >= end) {
			l->v[to++] = v;
			continue;
		}
		/* Its two mappings are neighbours: a joined one sticks out at one end only. */
		if (v.start < start)
			v.end = start;
		else if (v.end > end)
			v.start = end;
		else
			continue;
		l->v[to++] = v;
	}
	l->n = to;
}

/* MCL_FUTURE shows in what was mapped last. */
static void note_lock_future(struct mm_snapshot *s, const struct vma_list *l, uint64_t agent)
{
	const struct vma *v = vma_list_find(l, agent);

	s->lock_future = v && v->has_flags && v->flags & VMA_LOCKED;
	s->lock_future_on_fault = s->lock_future && v->flags & VMA_LOCKONFAULT;
}

static int look_again(struct mm_snapshot *s, uint64_t agent, struct vma_list *now, struct err *e)
{
	int err = vma_list_read(now, s->smaps, e);

	if (err)
		return err;
	if (agent) {
		note_lock_future(s, now, agent);
		cut_out(now, agent, agent + remote_agent_size());
	}
	return 0;
}

static int refuse_newcomers(const struct mm_snapshot *s, struct err *e)
{
	for (size_t i = 0; i < s->vmas.n; i++) {
		struct vma_refusal why;

		if (s->kinds[i] == VMA_KIND_NONE && vma_classify(&s->vmas.v[i], &why) == VMA_KIND_NONE)
			return err_set(e, -EOPNOTSUPP, "mapping %llx-%llx %s appeared while the job was moved: %s",
				       (unsigned long long)s->vmas.v[i].start,
				       (unsigned long long)s->vmas.v[i].end, s->vmas.v[i].path, why.reason);
	}
	return 0;
}

int memory_source_freeze(struct mm_snapshot *s, struct remote *r, struct err *e)
{
	struct vma_list now = { 0 };
	struct mm_raw raw;
	uint64_t agent = r->agent.a;
	int err = read_locked(s, e);

	if (!err)
		err = vma_list_read(&now, s->maps, e);
	if (err)
		return err;
	mm_flags_read(s, &raw);
	mm_flags_note(&now, &raw, &raw);
	mm_raw_done(&raw);
	if (agent)
		cut_out(&now, agent, agent + remote_agent_size());
	if (s->locked_kb || !mm_flags_carry(s, &now, &s->certain)) {
		err = look_again(s, agent, &now, e);
		s->certain = true;
	}
	vma_list_done(&s->vmas);
	s->vmas = now;
	s->frozen = true;
	s->agent = agent;
	s->remote = r;
	if (err)
		return err;
	classify_all(s);
	err = refuse_newcomers(s, e);
	if (!err)
		err = find_objects(s, e);
	return err ? err : find_pages(s, e);
}

int memory_source_verify(struct mm_snapshot *s, struct err *e)
{
	struct vma_list now = { 0 };
	int err = 0;

	if (s->certain)
		return 0;
	err = look_again(s, s->agent, &now, e);
	if (!err && now.n != s->vmas.n)
		err = -EAGAIN;
	for (size_t i = 0; !err && i < now.n; i++)
		if (((now.v[i].flags ^ s->vmas.v[i].flags) & FLAGS_CARRIED) || now.v[i].pkey != s->vmas.v[i].pkey)
			err = -EAGAIN;
	vma_list_done(&now);
	if (err == -EAGAIN)
		return err_set(e, err, "the job changed the advice on its memory while it was moved: try again");
	return err;
}
