/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/cell.h"
#include "image/private.h"
#include "image/scan.h"

#define SUFFIX ".core"

struct image {
	char *path;
	int dir;
	bool here; /* without a cell */
	struct cell cell;
	struct image_cores cores; /* as they were found, then by index in the job */
	bool sealed;
	struct image_seal seal;
	Godwit__Ckpt__Job job; /* of the first, with everybody's processes */
};

/* --- opening --- */

/* The number in PID.core; 0: another kind of file. */
static int32_t pid_of(const char *name)
{
	char canonical[IMAGE_NAME_MAX];
	char *end;
	long pid = strtol(name, &end, 10);

	if (pid <= 0 || pid > INT32_MAX || strcmp(end, SUFFIX) != 0)
		return 0;
	(void)snprintf(canonical, sizeof canonical, "%ld" SUFFIX, pid);
	return strcmp(canonical, name) ? 0 : (int32_t)pid;
}

static int open_core(struct image *im, const char *name, struct core *c, struct err *e)
{
	struct stat st;

	c->pid = pid_of(name);
	c->fd = openat(im->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (c->fd < 0)
		return err_errno(e, "cannot open it");
	/* Not while it is being updated: what we are about to read would be given back afterwards. */
	while (flock(c->fd, LOCK_SH) < 0 && errno == EINTR)
		;
	if (fstat(c->fd, &st) < 0)
		return err_errno(e, "cannot look at it");
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EBADMSG, "not a regular file");
	c->size = (uint64_t)st.st_size;
	return 0;
}

static void core_done(struct core *c)
{
	fd_close(&c->fd);
	if (c->message)
		godwit__image__image__free_unpacked(c->message, NULL);
	c->message = NULL;
}

static int add_core(struct image *im, const char *name, struct err *e)
{
	struct core c = { .fd = -EBADF };
	int err = open_core(im, name, &c, e);

	if (!err && im->cores.n == IMAGE_PROCESSES_MAX)
		err = err_set(e, -EBADMSG, "too many processes");
	if (err < 0) {
		core_done(&c);
		return err_wrap(e, "%s/%s", im->path, name);
	}
	im->cores.v = xrealloc(im->cores.v, (im->cores.n + 1) * sizeof *im->cores.v);
	im->cores.v[im->cores.n++] = c;
	return 0;
}

static int scan(struct image *im, struct err *e)
{
	int fd = fcntl(im->dir, F_DUPFD_CLOEXEC, 3);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int err = 0;

	if (!dir) {
		fd_close(&fd);
		return err_errno(e, "cannot read %s", im->path);
	}
	while (!err && (entry = readdir(dir)))
		if (pid_of(entry->d_name))
			err = add_core(im, entry->d_name, e);
	(void)closedir(dir);
	return err;
}

/* --- what the cell says --- */

static int ask_core(struct image *im, uint32_t i, struct err *e)
{
	const struct cell_head ask = { .what = INSIDE_OPEN, .index = { i } };
	const ProtobufCMessageDescriptor *d = &godwit__image__image__descriptor;
	struct core *c = &im->cores.v[i];
	_cleanup_free_ uint8_t *bytes = NULL;
	Godwit__Image__Image *m;
	size_t len;
	int err = cell_ask(&im->cell, &ask, NULL, IMAGE_MESSAGE_MAX, &bytes, &len, e);

	if (!err)
		err = message_scan(d, bytes, len, SCAN_ROOM, true, e);
	if (err < 0)
		return err;
	m = godwit__image__image__unpack(NULL, len, bytes);
	if (!m)
		return err_set(e, -EBADMSG, "it is not a message");
	/* Once more: we rely on its bounds. */
	err = image_check(m, c->size, c->pid, e);
	if (err < 0) {
		godwit__image__image__free_unpacked(m, NULL);
		return err;
	}
	/* What our encoder writes is what it wrote: a seal holds these bytes, too. */
	message_hash(bytes, len, c->hash);
	c->message = m;
	return 0;
}

static int decode_here(struct core *c, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;
	int err = core_decode(c, &c->message, e);

	if (err < 0)
		return err;
	len = godwit__image__image__get_packed_size(c->message);
	bytes = xmalloc(len + 1);
	(void)godwit__image__image__pack(c->message, bytes);
	message_hash(bytes, len, c->hash);
	return 0;
}

/* The cell has copies of the descriptors, and what it is to know of them. */
static int decode_all(struct image *im, struct err *e)
{
	_cleanup_free_ int *fds = xcalloc(im->cores.n + 1, sizeof *fds);
	int err = 0;

	for (size_t i = 0; i < im->cores.n; i++)
		fds[i] = im->cores.v[i].fd;
	if (!im->here && im->cores.n)
		err = cell_open(&im->cell, fds, im->cores.n, inside_serve, &im->cores, e);
	for (uint32_t i = 0; i < im->cores.n && !err; i++) {
		struct core *c = &im->cores.v[i];

		err = im->here ? decode_here(c, e) : ask_core(im, i, e);
		c->inside = i;
		if (err < 0)
			(void)err_wrap(e, "%s/%d" SUFFIX, im->path, c->pid);
	}
	return err;
}

static int by_index(const void *pa, const void *pb)
{
	const struct core *a = pa, *b = pb;

	return a->message->index < b->message->index ? -1 : a->message->index > b->message->index;
}

/* All processes of one job, each once. */
static int put_together(struct image *im, struct err *e)
{
	if (!im->cores.n)
		return err_set(e, -EBADMSG, "%s: not an image: no core files", im->path);
	qsort(im->cores.v, im->cores.n, sizeof *im->cores.v, by_index);
	for (size_t i = 0; i < im->cores.n; i++) {
		const Godwit__Image__Image *m = im->cores.v[i].message;

		if (m->of != im->cores.n || m->index != i || strcmp(m->name, im->cores.v[0].message->name) != 0)
			return err_set(e, -EBADMSG, "%s: the processes of this image do not belong together",
				       im->path);
	}
	im->job = *im->cores.v[0].message->job;
	im->job.n_processes = im->cores.n;
	im->job.processes = xcalloc(im->cores.n, sizeof(*im->job.processes));
	for (size_t i = 0; i < im->cores.n; i++)
		im->job.processes[i] = im->cores.v[i].message->process;
	return 0;
}

static int check_seal(struct image *im, struct err *e)
{
	_cleanup_free_ struct sealed_core *cores = NULL;
	uint32_t n = 0;
	int err = seal_read(im->dir, &im->seal, &cores, &n, e);

	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err_wrap(e, "%s", im->path);
	if (n != im->cores.n)
		return err_set(e, -EBADMSG, "%s: its seal is broken: there were %u processes", im->path, n);
	for (uint32_t i = 0; i < n && !err; i++) {
		err = seal_check(&im->cores.v[i], &cores[i], e);
		if (err < 0)
			(void)err_wrap(e, "%s/%d" SUFFIX, im->path, im->cores.v[i].pid);
	}
	im->sealed = !err;
	return err;
}

static void drop_image(struct image **im)
{
	image_close(*im);
}

static int open_image(const char *path, bool here, struct image **ret, struct err *e)
{
	__attribute__((cleanup(drop_image))) struct image *im = xcalloc(1, sizeof *im);
	int err;

	im->here = here;
	im->path = xstrdup(path);
	im->dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium does not start");
	if (im->dir < 0)
		return err_errno(e, "cannot open image %s", path);
	err = scan(im, e);
	if (!err)
		err = decode_all(im, e);
	if (!err)
		err = put_together(im, e);
	if (!err)
		err = check_seal(im, e);
	if (err < 0)
		return err;
	*ret = steal_ptr(&im);
	return 0;
}

int image_open(const char *path, struct image **ret, struct err *e)
{
	return open_image(path, false, ret, e);
}

int image_open_here(const char *path, struct image **ret, struct err *e)
{
	return open_image(path, true, ret, e);
}

void image_close(struct image *im)
{
	if (!im)
		return;
	for (size_t i = 0; i < im->cores.n; i++)
		core_done(&im->cores.v[i]);
	free(im->job.processes);
	free(im->cores.v);
	cell_close(&im->cell);
	fd_close(&im->dir);
	free(im->path);
	free(im);
}

const Godwit__Ckpt__Job *image_job(const struct image *im)
{
	return &im->job;
}

const struct image_seal *image_seal(const struct image *im)
{
	return im->sealed ? &im->seal : NULL;
}

const Godwit__Image__Image *image_header(const struct image *im, size_t i)
{
	return im->cores.v[i].message;
}

/* --- page contents --- */

/* The k-th piece of a core: by the cell, if it has a structure. */
static int read_chunk(struct image *im, const struct core *c, size_t k, uint8_t *buf, uint8_t *packed,
		      struct err *e)
{
	const struct cell_head ask = { .what = INSIDE_CHUNK, .index = { c->inside, (uint32_t)k } };
	const Godwit__Image__Chunk *chunk = c->message->chunks[k];
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;
	int err;

	if (im->here || !chunk->stored)
		return core_chunk(c, k, buf, packed, e);
	err = cell_ask(&im->cell, &ask, NULL, IMAGE_CHUNK_MAX, &bytes, &len, e);
	if (!err && len != chunk->bytes)
		err = err_set(e, -EBADMSG, "page contents of another length");
	if (!err)
		memcpy(buf, bytes, len);
	return err;
}

/* Pages that are not what their hashes in the file say: for words, no more. */
struct wrong_pages {
	uint64_t n, first;
	uint64_t page; /* number of the next */
};

static void look_for_wrong(struct wrong_pages *w, const struct core *c, const Godwit__Image__Chunk *k,
			   const uint8_t *bytes)
{
	uint8_t hash[IMAGE_HASH_LEN], in_file[IMAGE_HASH_LEN];

	for (uint64_t at = 0; at < k->bytes; at += IMAGE_PAGE, w->page++) {
		uint64_t where = c->message->hashes + w->page * IMAGE_HASH_LEN;

		if (where > c->size || file_read_at(c->fd, in_file, sizeof in_file, where) < 0)
			continue;
		page_hash(bytes + at, hash);
		if (sodium_memcmp(hash, in_file, sizeof hash) == 0)
			continue;
		w->first = w->n ? w->first : k->start + at;
		w->n++;
	}
}

static int say_wrong(struct image *im, const struct core *c, uint8_t *buf, uint8_t *packed, struct err *e)
{
	struct wrong_pages w = { 0 };
	struct err ignored;

	for (size_t k = 0; k < c->message->n_chunks; k++)
		if (!read_chunk(im, c, k, buf, packed, &ignored))
			look_for_wrong(&w, c, c->message->chunks[k], buf);
	if (!w.n)
		return err_set(e, -EBADMSG,
			       "page contents are not what was written, and neither are their hashes");
	return err_set(e, -EBADMSG, "page contents are not what was written: %llu page%s, the first at %#llx",
		       (unsigned long long)w.n, w.n == 1 ? "" : "s", (unsigned long long)w.first);
}

int image_pages(struct image *im, size_t i, image_sink_fn *sink, void *arg, struct err *e)
{
	_cleanup_free_ uint8_t *buf = xmalloc(IMAGE_CHUNK_MAX), *packed = xmalloc(2 * IMAGE_CHUNK_MAX);
	const struct core *c = &im->cores.v[i];
	const Godwit__Image__Image *m = c->message;
	uint8_t hash[IMAGE_HASH_LEN];
	struct contents_hash h;
	int err = 0;

	contents_hash_init(&h);
	for (size_t k = 0; k < m->n_chunks && !err; k++) {
		const Godwit__Image__Chunk *chunk = m->chunks[k];

		err = read_chunk(im, c, k, buf, packed, e);
		if (!err)
			contents_hash_add(&h, chunk->space, chunk->start, buf, chunk->bytes);
		if (!err && sink)
			err = sink(arg, chunk->space, chunk->start, buf, chunk->bytes, e);
	}
	contents_hash_end(&h, hash);
	if (!err && sodium_memcmp(hash, m->hash.data, sizeof hash) != 0)
		err = say_wrong(im, c, buf, packed, e);
	return err < 0 ? err_wrap(e, "%s: process %d", im->path, m->process->pid) : 0;
}

/* --- anew --- */

struct copying {
	struct image *im;
	size_t i;
	size_t chunk; /* where the last question was answered */
	uint8_t *buf, *packed;
};

/* Questions mostly ascend, and never go over the end of an extent, that is, a run of chunks. */
static int copy_source(void *arg, uint32_t space, uint64_t start, void *buf, size_t len, struct err *e)
{
	struct copying *c = arg;
	const struct core *core = &c->im->cores.v[c->i];
	const Godwit__Image__Image *m = core->message;
	uint8_t *to = buf;

	if (c->chunk == m->n_chunks || m->chunks[c->chunk]->space > space || m->chunks[c->chunk]->start > start)
		c->chunk = 0;
	while (len) {
		const Godwit__Image__Chunk *k;
		size_t part;
		int err;

		while (c->chunk < m->n_chunks &&
		       (m->chunks[c->chunk]->space < space ||
			(m->chunks[c->chunk]->space == space &&
			 m->chunks[c->chunk]->start + m->chunks[c->chunk]->bytes <= start)))
			c->chunk++;
		k = c->chunk < m->n_chunks ? m->chunks[c->chunk] : NULL;
		if (!k || k->space != space || k->start > start)
			return err_set(e, -EINVAL, "page contents that nobody has");
		err = read_chunk(c->im, core, c->chunk, c->buf, c->packed, e);
		if (err < 0)
			return err;
		part = MIN(len, k->start + k->bytes - start);
		memcpy(to, c->buf + (start - k->start), part);
		to += part;
		start += part;
		len -= part;
	}
	return 0;
}

static size_t extents_of(const Godwit__Image__Image *m, struct image_extent *x)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_chunks; i++) {
		const Godwit__Image__Chunk *k = m->chunks[i];

		if (n && x[n - 1].space == k->space && x[n - 1].end == k->start)
			x[n - 1].end += k->bytes;
		else
			x[n++] = (struct image_extent) { k->space, k->start, k->start + k->bytes };
	}
	return n;
}

static int copy_process(struct copying *c, struct image_writer *w, struct err *e)
{
	const Godwit__Image__Image *m = c->im->cores.v[c->i].message;
	_cleanup_free_ struct image_extent *extents = xcalloc(m->n_chunks + 1, sizeof *extents);
	struct image_process p = { .process = m->process,
				   .extents = extents,
				   .n_extents = extents_of(m, extents),
				   .source = copy_source,
				   .arg = c,
				   .parent = m->parent,
				   .vdso = m->vdso.len ? m->vdso.data : NULL,
				   .siginfo = m->siginfo.len ? m->siginfo.data : NULL };

	c->chunk = 0;
	return image_add(w, &c->im->job, &p, e);
}

int image_copy(struct image *im, const char *path, unsigned flags, struct err *e)
{
	_cleanup_free_ uint8_t *buf = xmalloc(IMAGE_CHUNK_MAX), *packed = xmalloc(2 * IMAGE_CHUNK_MAX);
	struct copying c = { .im = im, .buf = buf, .packed = packed };
	const Godwit__Image__Image *first = im->cores.v[0].message;
	struct image_writer *w = NULL;
	int err = 0;

	/* What is damaged is not copied as if it were not. */
	for (size_t i = 0; i < im->cores.n && !err; i++)
		err = image_pages(im, i, NULL, NULL, e);
	if (!err)
		err = image_create(path, flags, first->name, first->host, &w, e);
	for (c.i = 0; c.i < im->cores.n && !err; c.i++)
		err = copy_process(&c, w, e);
	if (!err)
		err = image_commit(w, e);
	image_writer_free(w);
	return err;
}
