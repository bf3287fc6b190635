/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/private.h"

#define SUFFIX ".core"

struct core {
	int fd;
	uint64_t size;
	Godwit__Image__Image *message;
};

struct image {
	char *path;
	int dir;
	struct core *cores; /* by index in the job */
	size_t n;
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

static int read_core(struct image *im, const char *name, struct core *c, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct stat st;
	size_t len;
	int err;

	c->fd = openat(im->dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (c->fd < 0)
		return err_errno(e, "cannot open it");
	if (fstat(c->fd, &st) < 0)
		return err_errno(e, "cannot look at it");
	if (!S_ISREG(st.st_mode))
		return err_set(e, -EBADMSG, "not a regular file");
	c->size = (uint64_t)st.st_size;
	err = core_read(c->fd, c->size, &bytes, &len, e);
	if (err < 0)
		return err;
	c->message = godwit__image__image__unpack(NULL, len, bytes);
	if (!c->message)
		return err_set(e, -EBADMSG, "what the " IMAGE_OWNER " note holds is not a message");
	return image_check(c->message, c->size, pid_of(name), e);
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
	int err = read_core(im, name, &c, e);

	if (!err && im->n == IMAGE_PROCESSES_MAX)
		err = err_set(e, -EBADMSG, "too many processes");
	if (err < 0) {
		core_done(&c);
		return err_wrap(e, "%s/%s", im->path, name);
	}
	im->cores = xrealloc(im->cores, (im->n + 1) * sizeof *im->cores);
	im->cores[im->n++] = c;
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

static int by_index(const void *pa, const void *pb)
{
	const struct core *a = pa, *b = pb;

	return a->message->index < b->message->index ? -1 : a->message->index > b->message->index;
}

/* All processes of one job, each once. */
static int put_together(struct image *im, struct err *e)
{
	if (!im->n)
		return err_set(e, -EBADMSG, "%s: not an image: no core files", im->path);
	qsort(im->cores, im->n, sizeof *im->cores, by_index);
	for (size_t i = 0; i < im->n; i++) {
		const Godwit__Image__Image *m = im->cores[i].message;

		if (m->of != im->n || m->index != i || strcmp(m->name, im->cores[0].message->name) != 0)
			return err_set(e, -EBADMSG, "%s: the processes of this image do not belong together",
				       im->path);
	}
	im->job = *im->cores[0].message->job;
	im->job.n_processes = im->n;
	im->job.processes = xcalloc(im->n, sizeof(*im->job.processes));
	for (size_t i = 0; i < im->n; i++)
		im->job.processes[i] = im->cores[i].message->process;
	return 0;
}

static void drop_image(struct image **im)
{
	image_close(*im);
}

int image_open(const char *path, struct image **ret, struct err *e)
{
	__attribute__((cleanup(drop_image))) struct image *im = xcalloc(1, sizeof *im);
	int err;

	im->path = xstrdup(path);
	im->dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium does not start");
	if (im->dir < 0)
		return err_errno(e, "cannot open image %s", path);
	err = scan(im, e);
	if (!err)
		err = put_together(im, e);
	if (err < 0)
		return err;
	*ret = steal_ptr(&im);
	return 0;
}

void image_close(struct image *im)
{
	if (!im)
		return;
	for (size_t i = 0; i < im->n; i++)
		core_done(&im->cores[i]);
	free(im->job.processes);
	free(im->cores);
	fd_close(&im->dir);
	free(im->path);
	free(im);
}

const Godwit__Ckpt__Job *image_job(const struct image *im)
{
	return &im->job;
}

const Godwit__Image__Image *image_header(const struct image *im, size_t i)
{
	return im->cores[i].message;
}

/* --- page contents --- */

static int read_full(int fd, uint8_t *to, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pread(fd, to, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EBADMSG;
		to += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int read_chunk(const struct core *c, const Godwit__Image__Chunk *k, uint8_t *buf, uint8_t *packed,
		      struct err *e)
{
	int err = k->stored ? read_full(c->fd, packed, k->stored, k->offset)
			    : read_full(c->fd, buf, k->bytes, k->offset);
	size_t n;

	if (err < 0)
		return err_code(e, err, "cannot read page contents");
	if (!k->stored)
		return 0;
	n = ZSTD_decompress(buf, k->bytes, packed, k->stored);
	return ZSTD_isError(n) || n != k->bytes ? err_set(e, -EBADMSG, "page contents cannot be decompressed") : 0;
}

int image_pages(struct image *im, size_t i, image_sink_fn *sink, void *arg, struct err *e)
{
	_cleanup_free_ uint8_t *buf = xmalloc(IMAGE_CHUNK_MAX), *packed = xmalloc(2 * IMAGE_CHUNK_MAX);
	const struct core *c = &im->cores[i];
	const Godwit__Image__Image *m = c->message;
	uint8_t hash[IMAGE_HASH_LEN];
	struct contents_hash h;
	int err = 0;

	contents_hash_init(&h);
	for (size_t k = 0; k < m->n_chunks && !err; k++) {
		const Godwit__Image__Chunk *chunk = m->chunks[k];

		err = read_chunk(c, chunk, buf, packed, e);
		if (!err)
			contents_hash_add(&h, chunk->space, chunk->start, buf, chunk->bytes);
		if (!err && sink)
			err = sink(arg, chunk->space, chunk->start, buf, chunk->bytes, e);
	}
	contents_hash_end(&h, hash);
	if (!err && sodium_memcmp(hash, m->hash.data, sizeof hash) != 0)
		err = err_set(e, -EBADMSG, "page contents are not what was written");
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
	const struct core *core = &c->im->cores[c->i];
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
		err = read_chunk(core, k, c->buf, c->packed, e);
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
	const Godwit__Image__Image *m = c->im->cores[c->i].message;
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
	const Godwit__Image__Image *first = im->cores[0].message;
	struct image_writer *w = NULL;
	int err = 0;

	/* What is damaged is not copied as if it were not. */
	for (size_t i = 0; i < im->n && !err; i++)
		err = image_pages(im, i, NULL, NULL, e);
	if (!err)
		err = image_create(path, flags, first->name, first->host, &w, e);
	for (c.i = 0; c.i < im->n && !err; c.i++)
		err = copy_process(&c, w, e);
	if (!err)
		err = image_commit(w, e);
	image_writer_free(w);
	return err;
}
