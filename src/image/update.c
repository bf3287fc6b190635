/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing only what has changed.
 *
 * The core file that is there is changed in place, but nothing in it is overwritten that the image needs which it
 * holds now: changed pages, the new hashes, notes and program headers go into free places of the file, or behind
 * its end. When they are on the disk the ELF header is written over the old one, 64 bytes of one sector: that is
 * the commit. At every instant, whoever dies, the file is one whole image, old or new, and one that gdb opens.
 * Then what only the old image needed is given back to the file system as holes, which are the next update's free
 * places: a page that keeps changing goes to and fro between two of them.
 *
 * What has changed is told by the hashes that lie in the file, so nothing has to stay behind in the job between
 * two checkpoints; its memory is read and hashed, though, and it stands still for that. The hashes are believed if
 * they are what the message says.
 *
 * Where the file system lets files share their blocks, the same is done to a copy of another image's file, which
 * stays what it is: update_clone.
 *
 * The file is locked meanwhile, and readers lock it, too. What is not quite an image of one process, of our own
 * user, under one name, and not compressed, is left to be replaced as a whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/private.h"

/* An image in more pieces than so many times those of a new one is better written as a whole. */
#define PIECES_FACTOR 16u

/* --- pages of the file --- */

struct bits {
	uint64_t *v;
	uint64_t n; /* that there is room for */
};

static bool bits_has(const struct bits *b, uint64_t i)
{
	return i < b->n && b->v[i / 64] >> i % 64 & 1;
}

static void bits_set(struct bits *b, uint64_t i)
{
	if (i >= b->n) {
		uint64_t n = ALIGN_UP(MAX(i + 1, 2 * b->n), (uint64_t)64);

		b->v = xrealloc(b->v, n / 8);
		memset(b->v + b->n / 64, 0, (n - b->n) / 8);
		b->n = n;
	}
	b->v[i / 64] |= UINT64_C(1) << i % 64;
}

static void bits_set_bytes(struct bits *b, uint64_t at, uint64_t len)
{
	for (uint64_t i = at / IMAGE_PAGE; len && i <= (at + len - 1) / IMAGE_PAGE; i++)
		bits_set(b, i);
}

struct update {
	int fd;
	uint64_t size;		 /* of the file as it was */
	Godwit__Image__Image *m; /* what it says */
	uint64_t *first;	 /* number of the first page of each chunk, among all pages */
	uint8_t *hashes;	 /* of all pages */
	struct bits old;	 /* what the image there needs */
	struct bits used;	 /* and what the new one has taken */
	uint64_t cursor;	 /* no free page below */
	size_t last;		 /* chunk of the last answer */
	bool begun, committed;
};

/* --- what is there --- */

static int read_hashes(struct update *u)
{
	const Godwit__Image__Image *m = u->m;
	uint8_t root[IMAGE_HASH_LEN];
	struct contents_hash h;
	uint64_t n = 0;
	int err;

	u->first = xcalloc(m->n_chunks + 1, sizeof *u->first);
	for (size_t i = 0; i < m->n_chunks; i++) {
		u->first[i] = n;
		n += m->chunks[i]->bytes / IMAGE_PAGE;
	}
	u->hashes = xmalloc(n * IMAGE_HASH_LEN + 1);
	err = file_read_at(u->fd, u->hashes, n * IMAGE_HASH_LEN, m->hashes);
	if (err < 0)
		return err;
	contents_hash_init(&h);
	for (size_t i = 0; i < m->n_chunks; i++)
		for (uint64_t at = 0; at < m->chunks[i]->bytes; at += IMAGE_PAGE)
			contents_hash_add_page(&h, m->chunks[i]->space, m->chunks[i]->start + at,
					       u->hashes + (u->first[i] + at / IMAGE_PAGE) * IMAGE_HASH_LEN);
	contents_hash_end(&h, root);
	bits_set_bytes(&u->old, m->hashes, n * IMAGE_HASH_LEN);
	return sodium_memcmp(root, m->hash.data, sizeof root) ? -EBADMSG : 0;
}

/* Contents, and the holes between them that a segment goes over. */
static int mark_old(struct update *u, struct err *e)
{
	_cleanup_free_ Elf64_Phdr *segments = NULL;
	uint64_t headers_at, headers_len;
	size_t n;
	int err = core_segments(u->fd, u->size, &segments, &n, &headers_at, &headers_len, e);

	if (err < 0)
		return err;
	bits_set(&u->old, 0);
	bits_set_bytes(&u->old, headers_at, headers_len);
	for (size_t i = 0; i < n; i++) {
		if (segments[i].p_offset > u->size || segments[i].p_filesz > u->size - segments[i].p_offset)
			return err_set(e, -EBADMSG, "a segment outside of the file");
		bits_set_bytes(&u->old, segments[i].p_offset, segments[i].p_filesz);
	}
	for (size_t i = 0; i < u->m->n_chunks; i++)
		bits_set_bytes(&u->old, u->m->chunks[i]->offset, u->m->chunks[i]->bytes);
	return 0;
}

static bool is_suited(const struct update *u)
{
	uint64_t bytes = 0;

	if (u->m->of != 1)
		return false;
	for (size_t i = 0; i < u->m->n_chunks; i++) {
		if (u->m->chunks[i]->stored || u->m->chunks[i]->offset % IMAGE_PAGE)
			return false;
		bytes += u->m->chunks[i]->bytes;
	}
	return u->m->n_chunks / PIECES_FACTOR < 1024 + bytes / IMAGE_CHUNK_MAX;
}

static int read_core(struct update *u, int32_t pid, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;
	int err = core_read(u->fd, u->size, &bytes, &len, e);

	if (err < 0)
		return err;
	u->m = godwit__image__image__unpack(NULL, len, bytes);
	if (!u->m)
		return err_set(e, -EBADMSG, "what the note holds is not a message");
	err = image_check(u->m, u->size, pid, e);
	if (!err && !is_suited(u))
		err = -ENOTSUP;
	if (!err)
		err = read_hashes(u);
	return err ? err : mark_old(u, e);
}

static void drop_update(struct update **u)
{
	update_free(*u);
}

/* A core file of our own user, opened for reading and writing; it is closed if it does not suit. */
static struct update *adopt(int fd, int32_t pid)
{
	__attribute__((cleanup(drop_update))) struct update *u = xcalloc(1, sizeof *u);
	struct err ignored = { 0 };
	struct stat st;

	u->fd = fd;
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_nlink != 1 || st.st_uid != geteuid())
		return NULL;
	u->size = (uint64_t)st.st_size;
	u->cursor = 1;
	if (read_core(u, pid, &ignored) < 0)
		return NULL;
	u->used.v = xcalloc(u->old.n / 64, sizeof *u->used.v);
	memcpy(u->used.v, u->old.v, u->old.n / 8);
	u->used.n = u->old.n;
	u->begun = true;
	return steal_ptr(&u);
}

struct update *update_open(const struct place *p, int32_t pid)
{
	_cleanup_fd_ int dir = openat(p->parent, p->last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char name[IMAGE_NAME_MAX];

	/* What is sealed is not changed: it would be neither the one nor the other. */
	if (dir < 0 || faccessat(dir, IMAGE_SEAL_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return NULL;
	(void)snprintf(name, sizeof name, "%d.core", pid);
	return adopt(openat(dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), pid);
}

/* Nobody may give back what is being shared. */
static int open_shared(const char *image, const char *name)
{
	_cleanup_fd_ int dir = open(image, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_fd_ int fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_uid != geteuid())
		return -1;
	return steal_fd(&fd);
}

struct update *update_clone(const struct place *p, const char *image, int32_t pid)
{
	char name[IMAGE_NAME_MAX];
	_cleanup_fd_ int from = -EBADF, to = -EBADF;
	struct update *u = NULL;

	(void)snprintf(name, sizeof name, "%d.core", pid);
	from = open_shared(image, name);
	if (from < 0)
		return NULL;
	to = openat(p->dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return NULL;
	if (ioctl(to, FICLONE, from) == 0)
		u = adopt(steal_fd(&to), pid);
	if (!u)
		(void)unlinkat(p->dir, name, 0);
	return u;
}

int update_fd(const struct update *u)
{
	return u->fd;
}

/* --- places --- */

/* Questions mostly ascend. */
static bool find_chunk(struct update *u, uint32_t space, uint64_t start)
{
	const Godwit__Image__Image *m = u->m;
	size_t low = 0, high = m->n_chunks;

	for (size_t i = u->last; i < MIN(u->last + 2, m->n_chunks); i++)
		if (m->chunks[i]->space == space && m->chunks[i]->start <= start &&
		    start < m->chunks[i]->start + m->chunks[i]->bytes) {
			u->last = i;
			return true;
		}
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const Godwit__Image__Chunk *k = m->chunks[mid];

		if (k->space < space || (k->space == space && k->start + k->bytes <= start))
			low = mid + 1;
		else
			high = mid;
	}
	u->last = low;
	return low < m->n_chunks && m->chunks[low]->space == space && m->chunks[low]->start <= start;
}

bool update_has(struct update *u, uint32_t space, uint64_t start, const uint8_t hash[IMAGE_HASH_LEN],
		uint64_t *ret_offset)
{
	const Godwit__Image__Chunk *k;
	uint64_t in;

	if (!find_chunk(u, space, start))
		return false;
	k = u->m->chunks[u->last];
	in = start - k->start;
	*ret_offset = k->offset + in;
	return !memcmp(u->hashes + (u->first[u->last] + in / IMAGE_PAGE) * IMAGE_HASH_LEN, hash, IMAGE_HASH_LEN);
}

uint64_t update_take(struct update *u, uint64_t wanted)
{
	uint64_t i = wanted / IMAGE_PAGE;

	if (!wanted || bits_has(&u->used, i)) {
		while (bits_has(&u->used, u->cursor))
			u->cursor++;
		i = u->cursor++;
	}
	bits_set(&u->used, i);
	return i * IMAGE_PAGE;
}

uint64_t update_room(struct update *u, uint64_t len)
{
	uint64_t pages = (len + IMAGE_PAGE - 1) / IMAGE_PAGE, from = u->cursor, n = 0;

	while (n < pages) {
		if (bits_has(&u->used, from + n)) {
			from += n + 1;
			n = 0;
		} else {
			n++;
		}
	}
	bits_set_bytes(&u->used, from * IMAGE_PAGE, pages * IMAGE_PAGE);
	return from * IMAGE_PAGE;
}

/* --- the end --- */

/* Gives back what is not in `needed`, up to `end`. Where the file system has no holes it stays for the next one.
 */
static void punch(int fd, const struct bits *needed, uint64_t end)
{
	for (uint64_t i = 0; i < end;) {
		uint64_t from = i;

		if (bits_has(needed, i)) {
			i++;
			continue;
		}
		while (i < end && !bits_has(needed, i))
			i++;
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(from * IMAGE_PAGE),
			      (off_t)((i - from) * IMAGE_PAGE)) < 0)
			return;
	}
}

void update_commit(struct update *u)
{
	u->committed = true;
}

void update_committed(struct update *u, const Godwit__Image__Image *m, const Elf64_Phdr *segments, size_t n,
		      uint64_t tail, uint64_t tail_len)
{
	struct bits needed = { 0 };
	uint64_t pages = 0, end;

	bits_set(&needed, 0);
	for (size_t i = 0; i < m->n_chunks; i++) {
		bits_set_bytes(&needed, m->chunks[i]->offset, m->chunks[i]->bytes);
		pages += m->chunks[i]->bytes / IMAGE_PAGE;
	}
	for (size_t i = 0; i < n; i++)
		bits_set_bytes(&needed, segments[i].p_offset, segments[i].p_filesz);
	bits_set_bytes(&needed, m->hashes, pages * IMAGE_HASH_LEN);
	bits_set_bytes(&needed, tail, tail_len);
	for (end = needed.n; end && !bits_has(&needed, end - 1);)
		end--;
	(void)!ftruncate(u->fd, (off_t)(end * IMAGE_PAGE));
	punch(u->fd, &needed, end);
	free(needed.v);
}

void update_free(struct update *u)
{
	if (!u)
		return;
	if (u->begun && !u->committed) { /* the old image, and nothing else */
		(void)!ftruncate(u->fd, (off_t)u->size);
		punch(u->fd, &u->old, u->size / IMAGE_PAGE);
	}
	if (u->m)
		godwit__image__image__free_unpacked(u->m, NULL);
	fd_close(&u->fd);
	free(u->first);
	free(u->hashes);
	free(u->old.v);
	free(u->used.v);
	free(u);
}
