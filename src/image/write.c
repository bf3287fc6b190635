/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing an image. Everything goes into a directory of its own beside the final place, is synced, and takes that
 * place by one rename. Of a file, page contents come first, then notes and program headers, whose number is known
 * by then; the ELF header is written last, so that a file that was left behind is not a core.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/private.h"

/* Contents that are apart by less keep their distance in the file: a hole costs nothing, a segment does. */
#define GAP_MAX (1u << 20)
#define ZSTD_LEVEL 1

struct image_writer {
	char *path;
	const char *last; /* of path: its last component */
	int parent, dir;
	char temporary[64]; /* name in parent, "" once it is gone */
	unsigned flags;
	char *name, *host;
	uint32_t n; /* processes so far */
	int *files; /* their descriptors: the number of processes is written into each at the end */
	Godwit__Image__Image **messages;
	struct notes *notes; /* of each, without ours */
	uint64_t *ends;	     /* where contents end */
	struct segments *segments;
	uint8_t *buf, *packed;
	ZSTD_CCtx *zstd;
	bool committed;
};

/* --- the directory --- */

static int open_parent(struct image_writer *w, struct err *e)
{
	char *slash;
	_cleanup_free_ char *parent = NULL;
	size_t len = strlen(w->path);

	while (len > 1 && w->path[len - 1] == '/')
		w->path[--len] = '\0';
	slash = strrchr(w->path, '/');
	parent = slash ? strndup(w->path, MAX((size_t)(slash - w->path), (size_t)1)) : xstrdup(".");
	w->last = slash ? slash + 1 : w->path;
	if (!*w->last || !strcmp(w->last, ".") || !strcmp(w->last, ".."))
		return err_set(e, -EINVAL, "%s: not a name for an image", w->path);
	w->parent = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return w->parent < 0 ? err_errno(e, "cannot open %s", parent) : 0;
}

/* Only an image is replaced. */
static int check_place(struct image_writer *w, struct err *e)
{
	struct image *old = NULL;
	struct stat st;
	int err;

	if (fstatat(w->parent, w->last, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(e, "cannot look at %s", w->path);
	if (!(w->flags & IMAGE_REPLACE))
		return err_set(e, -EEXIST, "%s exists", w->path);
	err = image_open(w->path, &old, e);
	image_close(old);
	return err < 0 ? err_wrap(e, "not replaced") : 0;
}

static int make_temporary(struct image_writer *w, struct err *e)
{
	for (unsigned tries = 0; tries < 16; tries++) {
		(void)snprintf(w->temporary, sizeof w->temporary, ".godwit-image-%08x", randombytes_random());
		if (mkdirat(w->parent, w->temporary, 0700) == 0) {
			w->dir = openat(w->parent, w->temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			return w->dir < 0 ? err_errno(e, "cannot open %s", w->temporary) : 0;
		}
		if (errno != EEXIST)
			break;
	}
	w->temporary[0] = '\0';
	return err_errno(e, "cannot make a directory beside %s", w->path);
}

static void drop_writer(struct image_writer **w)
{
	image_writer_free(*w);
}

int image_create(const char *path, unsigned flags, const char *name, const char *host, struct image_writer **ret,
		 struct err *e)
{
	__attribute__((cleanup(drop_writer))) struct image_writer *w = xcalloc(1, sizeof *w);
	int err;

	w->parent = w->dir = -EBADF;
	w->flags = flags;
	w->path = xstrdup(path);
	w->name = xstrdup(name ? name : "");
	w->host = xstrdup(host ? host : "");
	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium does not start");
	err = open_parent(w, e);
	if (!err)
		err = check_place(w, e);
	if (!err)
		err = make_temporary(w, e);
	if (err < 0)
		return err;
	w->buf = xmalloc(IMAGE_CHUNK_MAX);
	if (flags & IMAGE_COMPRESS) {
		w->packed = xmalloc(ZSTD_compressBound(IMAGE_CHUNK_MAX));
		w->zstd = ZSTD_createCCtx();
	}
	*ret = steal_ptr(&w);
	return 0;
}

/* --- contents --- */

static int write_at(int fd, const void *buf, size_t len, uint64_t at)
{
	const uint8_t *from = buf;

	while (len) {
		ssize_t n = pwrite(fd, from, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		from += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* Runs of pages that are not zero. */
static int write_sparse(int fd, const uint8_t *buf, size_t len, uint64_t at)
{
	size_t from = 0;
	int err = 0;

	while (from < len && !err) {
		size_t to = from;

		if (page_is_zero(buf + from)) {
			from += IMAGE_PAGE;
			continue;
		}
		while (to < len && !page_is_zero(buf + to))
			to += IMAGE_PAGE;
		err = write_at(fd, buf + from, to - from, at + from);
		from = to;
	}
	return err;
}

static Godwit__Image__Chunk *new_chunk(Godwit__Image__Image *m, size_t *room, uint32_t space, uint64_t start,
				       size_t len)
{
	Godwit__Image__Chunk *c = xmalloc(sizeof *c);

	godwit__image__chunk__init(c);
	c->space = space;
	c->start = start;
	c->bytes = len;
	if (m->n_chunks == *room) {
		*room = MAX(2 * *room, (size_t)64);
		m->chunks = xrealloc(m->chunks, *room * sizeof *m->chunks);
	}
	m->chunks[m->n_chunks++] = c;
	return c;
}

/* What is in w->buf; moves *at behind it. */
static int write_chunk(struct image_writer *w, int fd, Godwit__Image__Chunk *c, uint64_t *at)
{
	size_t packed;
	int err;

	if (!(w->flags & IMAGE_COMPRESS)) {
		c->offset = *at;
		*at += c->bytes;
		return write_sparse(fd, w->buf, c->bytes, c->offset);
	}
	packed = ZSTD_compressCCtx(w->zstd, w->packed, ZSTD_compressBound(c->bytes), w->buf, c->bytes, ZSTD_LEVEL);
	if (ZSTD_isError(packed))
		return -EIO;
	c->offset = *at;
	c->stored = packed;
	err = write_at(fd, w->packed, packed, *at);
	*at += packed;
	return err;
}

static int check_extent(const struct image_extent *x, const struct image_extent *before, struct err *e)
{
	if (x->start >= x->end || (x->start | x->end) % IMAGE_PAGE ||
	    (before && (before->space > x->space || (before->space == x->space && before->end > x->start))))
		return err_set(e, -EINVAL, "page contents %#llx-%#llx are not in order",
			       (unsigned long long)x->start, (unsigned long long)x->end);
	return 0;
}

static int write_contents(struct image_writer *w, int fd, const struct image_process *p, Godwit__Image__Image *m,
			  uint64_t *at, struct err *e)
{
	struct contents_hash hash;
	size_t room = 0;

	contents_hash_init(&hash);
	for (size_t i = 0; i < p->n_extents; i++) {
		const struct image_extent *x = &p->extents[i], *before = i ? x - 1 : NULL;
		int err = check_extent(x, before, e);

		if (!err && before && before->space == x->space && x->start - before->end < GAP_MAX &&
		    !(w->flags & IMAGE_COMPRESS))
			*at += x->start - before->end;
		for (uint64_t from = x->start; from < x->end && !err; from += IMAGE_CHUNK_MAX) {
			size_t len = MIN(x->end - from, (uint64_t)IMAGE_CHUNK_MAX);

			if (m->n_chunks == IMAGE_CHUNKS_MAX)
				return err_set(e, -E2BIG, "too many pieces of memory");
			err = p->source(p->arg, x->space, from, w->buf, len, e);
			if (err < 0)
				break;
			contents_hash_add(&hash, x->space, from, w->buf, len);
			err = write_chunk(w, fd, new_chunk(m, &room, x->space, from, len), at);
			if (err < 0)
				(void)err_code(e, err, "cannot write page contents");
		}
		if (err < 0)
			return err;
	}
	m->hash.len = IMAGE_HASH_LEN;
	m->hash.data = xmalloc(IMAGE_HASH_LEN);
	contents_hash_end(&hash, m->hash.data);
	return 0;
}

/* --- a process --- */

/* A copy that lives as long as the writer: the caller's may change before the commit. */
static int copy_messages(Godwit__Image__Image *m, const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Process *p,
			 bool first)
{
	size_t len = godwit__ckpt__process__get_packed_size(p);
	_cleanup_free_ uint8_t *bytes = xmalloc(len);
	_cleanup_free_ uint8_t *job_bytes = NULL;
	Godwit__Ckpt__Job rest = *job;

	(void)godwit__ckpt__process__pack(p, bytes);
	m->process = godwit__ckpt__process__unpack(NULL, len, bytes);
	if (!first)
		return m->process ? 0 : -ENOMEM;
	rest.n_processes = 0;
	rest.processes = NULL;
	len = godwit__ckpt__job__get_packed_size(&rest);
	job_bytes = xmalloc(len);
	(void)godwit__ckpt__job__pack(&rest, job_bytes);
	m->job = godwit__ckpt__job__unpack(NULL, len, job_bytes);
	return m->process && m->job ? 0 : -ENOMEM;
}

static int64_t realtime_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int open_core(struct image_writer *w, int32_t pid, struct err *e)
{
	char name[IMAGE_NAME_MAX];
	int fd;

	(void)snprintf(name, sizeof name, "%d.core", pid);
	fd = openat(w->dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? err_errno(e, "cannot make %s/%s", w->path, name) : fd;
}

static void grow(struct image_writer *w)
{
	size_t n = w->n + 1;

	w->files = xrealloc(w->files, n * sizeof *w->files);
	w->messages = xrealloc(w->messages, n * sizeof *w->messages);
	w->notes = xrealloc(w->notes, n * sizeof *w->notes);
	w->ends = xrealloc(w->ends, n * sizeof *w->ends);
	w->segments = xrealloc(w->segments, n * sizeof *w->segments);
	w->messages[w->n] = xmalloc(sizeof **w->messages);
	godwit__image__image__init(w->messages[w->n]);
	w->notes[w->n] = (struct notes) { 0 };
	w->segments[w->n] = (struct segments) { 0 };
	w->ends[w->n] = 0;
	w->files[w->n] = -EBADF;
	w->n++;
}

static int check_process(const struct image_writer *w, const struct image_process *p, struct err *e)
{
	const Godwit__Ckpt__Process *m = p->process;

	if (w->n == IMAGE_PROCESSES_MAX)
		return err_set(e, -E2BIG, "more than %u processes", IMAGE_PROCESSES_MAX);
	if (!m->n_threads || !m->memory || m->pid <= 0 || m->threads[0]->tid != m->pid)
		return err_set(e, -EINVAL, "process %d: the checkpoint message is not whole", m->pid);
	return 0;
}

static bool has_contents(const struct image_process *p, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < p->n_extents && !p->extents[i].space; i++)
		if (p->extents[i].start <= start && p->extents[i].end >= end)
			return true;
	return false;
}

/* The command line out of the process's own memory, or the executable's name. */
static void find_args(struct image_writer *w, const struct image_process *p, char args[IMAGE_ARGS_LEN])
{
	const Godwit__Ckpt__Memory *m = p->process->memory;
	uint64_t start = ALIGN_DOWN(m->arg_start, (uint64_t)IMAGE_PAGE), end = start + IMAGE_PAGE;
	uint64_t last = MIN(m->arg_end, end);
	size_t len = m->arg_start < last ? MIN(last - m->arg_start, (uint64_t)IMAGE_ARGS_LEN - 1) : 0;
	struct err ignored;

	(void)snprintf(args, IMAGE_ARGS_LEN, "%s", m->exe);
	if (!len || !has_contents(p, start, end) || p->source(p->arg, 0, start, w->buf, IMAGE_PAGE, &ignored) < 0)
		return;
	memcpy(args, w->buf + (m->arg_start - start), len);
	args[len] = '\0';
	for (size_t i = 0; i + 1 < len; i++)
		args[i] = args[i] ? args[i] : ' ';
}

static ProtobufCBinaryData copy_bytes(const void *from, size_t len)
{
	ProtobufCBinaryData d = { 0 };

	if (!from || !len)
		return d;
	d.len = len;
	d.data = xmalloc(len);
	memcpy(d.data, from, len);
	return d;
}

static int write_vdso(struct image_writer *w, uint32_t i, uint64_t *at, uint64_t *ret_where, struct err *e)
{
	const ProtobufCBinaryData *vdso = &w->messages[i]->vdso;
	int err;

	*ret_where = 0;
	if (!vdso->len)
		return 0;
	*ret_where = ALIGN_UP(*at, (uint64_t)IMAGE_PAGE);
	err = write_at(w->files[i], vdso->data, vdso->len, *ret_where);
	*at = *ret_where + vdso->len;
	return err < 0 ? err_code(e, err, "cannot write the vDSO") : 0;
}

static int fill_message(struct image_writer *w, const Godwit__Ckpt__Job *job, const struct image_process *p,
			struct err *e)
{
	uint32_t i = w->n - 1;
	Godwit__Image__Image *m = w->messages[i];
	int err;

	m->version = IMAGE_VERSION;
	m->index = i;
	m->name = xstrdup(w->name);
	m->host = xstrdup(w->host);
	m->taken_us = realtime_us();
	m->parent = p->parent;
	m->siginfo = copy_bytes(p->siginfo, IMAGE_SIGINFO_LEN);
	m->vdso = copy_bytes(p->vdso, p->process->memory->vdso_len);
	err = copy_messages(m, job, p->process, i == 0);
	return err < 0 ? err_code(e, err, "cannot copy the checkpoint message") : 0;
}

int image_add(struct image_writer *w, const Godwit__Ckpt__Job *job, const struct image_process *p, struct err *e)
{
	uint64_t at = IMAGE_PAGE, vdso = 0;
	char args[IMAGE_ARGS_LEN];
	uint32_t i = w->n;
	int err = check_process(w, p, e);

	if (err < 0)
		return err;
	grow(w);
	err = fill_message(w, job, p, e);
	if (err < 0)
		return err;
	w->files[i] = open_core(w, p->process->pid, e);
	if (w->files[i] < 0)
		return w->files[i];
	err = write_contents(w, w->files[i], p, w->messages[i], &at, e);
	if (!err)
		err = write_vdso(w, i, &at, &vdso, e);
	if (err < 0)
		return err;
	find_args(w, p, args);
	err = notes_add_process(&w->notes[i], job, p, args, e);
	if (err < 0)
		return err;
	segments_add_process(&w->segments[i], p->process, w->messages[i]->chunks, w->messages[i]->n_chunks, vdso);
	w->ends[i] = at;
	return 0;
}

/* --- the end --- */

static Elf64_Ehdr elf_header(uint64_t phoff, uint64_t shoff, size_t n)
{
	Elf64_Ehdr h = { .e_type = ET_CORE,
			 .e_machine = EM_X86_64,
			 .e_version = EV_CURRENT,
			 .e_phoff = phoff,
			 .e_ehsize = sizeof h,
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = n < PN_XNUM ? (uint16_t)n : PN_XNUM };

	memcpy(h.e_ident, ELFMAG, SELFMAG);
	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	h.e_ident[EI_VERSION] = EV_CURRENT;
	if (n >= PN_XNUM) { /* the number is in the one section header that there is */
		h.e_shoff = shoff;
		h.e_shentsize = sizeof(Elf64_Shdr);
		h.e_shnum = 1;
	}
	return h;
}

static int add_own_note(struct notes *n, Godwit__Image__Image *m, struct err *e)
{
	size_t len = godwit__image__image__get_packed_size(m);
	_cleanup_free_ uint8_t *bytes = NULL;

	if (len > IMAGE_MESSAGE_MAX)
		return err_set(e, -E2BIG, "the checkpoint message has %zu bytes", len);
	bytes = xmalloc(len);
	(void)godwit__image__image__pack(m, bytes);
	notes_add(n, IMAGE_OWNER, IMAGE_NOTE, bytes, len);
	return 0;
}

/* Notes and headers behind the contents. */
static int finish_core(struct image_writer *w, uint32_t i, struct err *e)
{
	struct segments *s = &w->segments[i];
	uint64_t notes_at = ALIGN_UP(w->ends[i], (uint64_t)IMAGE_PAGE);
	Elf64_Phdr note = { .p_type = PT_NOTE, .p_offset = notes_at, .p_align = 4 };
	Elf64_Shdr section = { .sh_info = (uint32_t)s->n + 1 };
	uint64_t phoff = 0, shoff = 0;
	Elf64_Ehdr head;
	int err = add_own_note(&w->notes[i], w->messages[i], e);

	if (err < 0)
		return err;
	note.p_filesz = w->notes[i].len;
	phoff = ALIGN_UP(notes_at + w->notes[i].len, (uint64_t)8);
	shoff = phoff + (s->n + 1) * sizeof note;
	/* BFD looks for an ELF header where a segment begins, contents or not: at 0 it would find this file's. */
	for (size_t k = 0; k < s->n; k++)
		if (!s->v[k].p_filesz)
			s->v[k].p_offset = notes_at;
	head = elf_header(phoff, shoff, s->n + 1);
	err = write_at(w->files[i], w->notes[i].bytes, w->notes[i].len, notes_at);
	if (!err)
		err = write_at(w->files[i], &note, sizeof note, phoff);
	if (!err)
		err = write_at(w->files[i], s->v, s->n * sizeof *s->v, phoff + sizeof note);
	if (!err)
		err = write_at(w->files[i], &section, sizeof section, shoff);
	if (!err)
		err = write_at(w->files[i], &head, sizeof head, 0);
	if (!err && fsync(w->files[i]) < 0)
		err = -errno;
	return err < 0 ? err_code(e, err, "cannot write process %d", w->messages[i]->process->pid) : 0;
}

static void remove_tree(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		fd_close(&fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			(void)unlinkat(fd, entry->d_name, 0);
	(void)closedir(dir);
	(void)unlinkat(parent, name, AT_REMOVEDIR);
}

/* The old image, if there is one, ends up under the temporary name. */
static int take_place(struct image_writer *w, struct err *e)
{
	unsigned how = w->flags & IMAGE_REPLACE ? RENAME_EXCHANGE : RENAME_NOREPLACE;
	long err = syscall(SYS_renameat2, w->parent, w->temporary, w->parent, w->last, how);

	if (err < 0 && how == RENAME_EXCHANGE && errno == ENOENT)
		err = syscall(SYS_renameat2, w->parent, w->temporary, w->parent, w->last, RENAME_NOREPLACE);
	else if (err == 0 && how == RENAME_EXCHANGE)
		remove_tree(w->parent, w->temporary);
	if (err < 0)
		return err_errno(e, "cannot put the image at %s", w->path);
	w->temporary[0] = '\0';
	w->committed = true;
	return fsync(w->parent) < 0 ? err_errno(e, "cannot sync the directory of %s", w->path) : 0;
}

int image_commit(struct image_writer *w, struct err *e)
{
	int err = 0;

	if (!w->n || w->committed)
		return err_set(e, -EINVAL, "an image without processes");
	for (uint32_t i = 0; i < w->n && !err; i++) {
		w->messages[i]->of = w->n;
		err = finish_core(w, i, e);
	}
	if (!err && fsync(w->dir) < 0)
		err = err_errno(e, "cannot sync %s", w->path);
	return err ? err : take_place(w, e);
}

void image_writer_free(struct image_writer *w)
{
	if (!w)
		return;
	for (uint32_t i = 0; i < w->n; i++) {
		fd_close(&w->files[i]);
		godwit__image__image__free_unpacked(w->messages[i], NULL);
		notes_done(&w->notes[i]);
		segments_done(&w->segments[i]);
	}
	if (w->temporary[0])
		remove_tree(w->parent, w->temporary);
	fd_close(&w->dir);
	fd_close(&w->parent);
	(void)ZSTD_freeCCtx(w->zstd);
	free(w->files);
	free(w->messages);
	free(w->notes);
	free(w->ends);
	free(w->segments);
	free(w->buf);
	free(w->packed);
	free(w->path);
	free(w->name);
	free(w->host);
	free(w);
}
