/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "memory/vma.h"

int memory_target_new(struct remote *r, struct mm_target **ret, struct err *e)
{
	struct mm_target *t = xcalloc(1, sizeof *t);

	(void)e;
	t->remote = r;
	t->agent_sock = t->agent_sock_there = t->stream_there = -1;
	*ret = t;
	return 0;
}

void memory_target_free(struct mm_target *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_shared; i++) {
		struct mm_shared *o = &t->shared[i];

		if (o->map)
			(void)munmap(o->map, o->size);
		fd_close(&o->fd);
		extents_done(&o->populated);
		extents_done(&o->received);
	}
	free(t->shared);
	extents_done(&t->places);
	extents_done(&t->populated);
	extents_done(&t->received);
	free(t);
}

struct mm_shared *mm_target_shared(const struct mm_target *t, uint32_t id)
{
	for (size_t i = 0; i < t->n_shared; i++)
		if (t->shared[i].id == id)
			return &t->shared[i];
	return NULL;
}

/* Only the mapping of a nameless object is a way to make one; map_files then gives a descriptor of it. */
static int open_nameless(struct mm_shared *o)
{
	char path[64];
	void *map = mmap(NULL, o->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED)
		return -errno;
	o->map = map;
	(void)snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", (unsigned long)map,
		       (unsigned long)map + o->size);
	o->fd = open(path, O_RDWR | O_CLOEXEC);
	return o->fd < 0 ? -errno : 0;
}

static int open_memfd(struct mm_shared *o, const char *name)
{
	void *map;

	o->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (o->fd < 0 || ftruncate(o->fd, (off_t)o->size) < 0)
		return -errno;
	map = mmap(NULL, o->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, o->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	o->map = map;
	return 0;
}

int mm_target_add_shared(struct mm_target *t, uint32_t id, uint64_t size, const char *name, struct err *e)
{
	struct mm_shared *o;
	int err;

	if (!id || mm_target_shared(t, id) || size % PAGE_BYTES || !size || size > VMA_USER_END)
		return err_set(e, -EPROTO, "the source describes an impossible shared object");
	t->shared = xrealloc(t->shared, (t->n_shared + 1) * sizeof *t->shared);
	o = &t->shared[t->n_shared++];
	*o = (struct mm_shared) { .id = id, .size = size, .fd = -EBADF };
	err = name && name[0] ? open_memfd(o, name) : open_nameless(o);
	return err ? err_code(e, err, "making shared memory of %llu bytes", (unsigned long long)size) : 0;
}

bool mm_target_allows(struct mm_target *t, uint64_t start, uint64_t end)
{
	const struct extents *x = &t->places;
	size_t low = 0, high = x->n, hit = t->last_place;

	if (hit >= x->n || start < x->e[hit].start || start >= x->e[hit].end) {
		while (low < high) {
			size_t mid = low + (high - low) / 2;

			if (x->e[mid].end <= start)
				low = mid + 1;
			else
				high = mid;
		}
		hit = low;
	}
	if (hit >= x->n || start < x->e[hit].start || end > x->e[hit].end)
		return false;
	t->last_place = hit;
	return true;
}
