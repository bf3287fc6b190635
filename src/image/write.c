/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing an image. Everything goes into a directory of its own (place.c). Of a file, page contents come first
 * (contents.c), then their hashes, notes and program headers, whose number is known by then; the ELF header is
 * written last, so that a file that was left behind is not a core.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/private.h"

struct core_out;

struct image_writer {
	struct place place;
	unsigned flags;
	char *name, *host, *shared;
	uint32_t n; /* processes so far */
	struct core_out **cores;
	uint8_t *buf;
	bool committed;
	image_seal_fn *seal;
	void *seal_arg;
};

/* One process. The number of processes is written into each file at the end. */
struct core_out {
	int fd;
	int32_t pid;
	bool whole;
	Godwit__Image__Image *message;
	struct contents contents;
	struct notes notes; /* without ours */
	struct segments segments;
	struct sealed_core sealed;
};

static void drop_writer(struct image_writer **w)
{
	image_writer_free(*w);
}

int image_create(const char *path, unsigned flags, const char *name, const char *host, struct image_writer **ret,
		 struct err *e)
{
	__attribute__((cleanup(drop_writer))) struct image_writer *w = xcalloc(1, sizeof *w);
	int err;

	w->place = (struct place) { .parent = -EBADF, .dir = -EBADF };
	w->flags = flags;
	w->name = xstrdup(name ? name : "");
	w->host = xstrdup(host ? host : "");
	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium does not start");
	err = place_open(&w->place, path, flags & (IMAGE_REPLACE | IMAGE_UPDATE), e);
	if (err < 0)
		return err;
	w->buf = xmalloc(IMAGE_CHUNK_MAX);
	*ret = steal_ptr(&w);
	return 0;
}

/* --- contents from a source --- */

static int check_extent(const struct image_extent *x, const struct image_extent *before, struct err *e)
{
	if (x->start >= x->end || (x->start | x->end) % IMAGE_PAGE ||
	    (before && (before->space > x->space || (before->space == x->space && before->end > x->start))))
		return err_set(e, -EINVAL, "page contents %#llx-%#llx are not in order",
			       (unsigned long long)x->start, (unsigned long long)x->end);
	return 0;
}

static int put_extents(struct image_writer *w, const struct image_process *p, struct err *e)
{
	for (size_t i = 0; i < p->n_extents; i++) {
		const struct image_extent *x = &p->extents[i];
		int err = check_extent(x, i ? x - 1 : NULL, e);

		for (uint64_t from = x->start; from < x->end && !err; from += IMAGE_CHUNK_MAX) {
			size_t len = MIN(x->end - from, (uint64_t)IMAGE_CHUNK_MAX);

			err = p->source(p->arg, x->space, from, w->buf, len, e);
			if (!err)
				err = image_put(w, x->space, from, w->buf, len, e);
		}
		if (err < 0)
			return err;
	}
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

static int open_core(struct image_writer *w, int32_t pid, struct err *e)
{
	char name[IMAGE_NAME_MAX];
	int fd;

	(void)snprintf(name, sizeof name, "%d.core", pid);
	fd = openat(w->place.dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? err_errno(e, "cannot make %s/%s", w->place.path, name) : fd;
}

static int check_process(const struct core_out *c, const struct image_process *p, struct err *e)
{
	const Godwit__Ckpt__Process *m = p->process;

	if (!m->n_threads || !m->memory || m->pid != c->pid || m->threads[0]->tid != m->pid)
		return err_set(e, -EINVAL, "process %d: the checkpoint message is not whole", m->pid);
	return 0;
}

/* The command line out of the process's own memory, or the executable's name. */
static void find_args(struct image_writer *w, const struct core_out *c, const struct image_process *p,
		      char args[IMAGE_ARGS_LEN])
{
	const Godwit__Ckpt__Memory *m = p->process->memory;
	uint64_t start = ALIGN_DOWN(m->arg_start, (uint64_t)IMAGE_PAGE);
	uint64_t last = MIN(m->arg_end, start + IMAGE_PAGE);
	size_t len = m->arg_start < last ? MIN(last - m->arg_start, (uint64_t)IMAGE_ARGS_LEN - 1) : 0;
	struct err ignored;

	(void)snprintf(args, IMAGE_ARGS_LEN, "%s", m->exe);
	if (!len || (contents_get(&c->contents, c->message, start, w->buf) < 0 &&
		     (!p->source || p->source(p->arg, 0, start, w->buf, IMAGE_PAGE, &ignored) < 0)))
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

static int write_vdso(struct core_out *c, uint64_t *ret_where, struct err *e)
{
	const ProtobufCBinaryData *vdso = &c->message->vdso;
	int err;

	*ret_where = 0;
	if (!vdso->len)
		return 0;
	*ret_where = contents_room(&c->contents, vdso->len);
	err = contents_write(&c->contents, vdso->data, vdso->len, *ret_where);
	return err < 0 ? err_code(e, err, "cannot write the vDSO") : 0;
}

static int fill_message(struct image_writer *w, struct core_out *c, const Godwit__Ckpt__Job *job,
			const struct image_process *p, struct err *e)
{
	Godwit__Image__Image *m = c->message;
	int err;

	m->version = IMAGE_VERSION;
	m->index = w->n - 1;
	m->name = xstrdup(w->name);
	m->host = xstrdup(w->host);
	m->taken_us = realtime_us();
	m->parent = p->parent;
	m->siginfo = copy_bytes(p->siginfo, IMAGE_SIGINFO_LEN);
	m->vdso = copy_bytes(p->vdso, p->process->memory->vdso_len);
	err = copy_messages(m, job, p->process, m->index == 0);
	return err < 0 ? err_code(e, err, "cannot copy the checkpoint message") : 0;
}

static struct core_out *grow(struct image_writer *w, int32_t pid)
{
	struct core_out *c = xcalloc(1, sizeof *c);

	c->fd = -EBADF;
	c->pid = pid;
	c->message = xmalloc(sizeof *c->message);
	godwit__image__image__init(c->message);
	w->cores = xrealloc(w->cores, (w->n + 1) * sizeof(*w->cores));
	w->cores[w->n++] = c;
	return c;
}

void image_share(struct image_writer *w, const char *other)
{
	free(w->shared);
	w->shared = xstrdup(other);
}

/* NULL: it will be a new file. */
static struct update *find_update(const struct image_writer *w, int32_t pid)
{
	if (w->flags & (IMAGE_COMPRESS | IMAGE_SEAL) || w->n != 1)
		return NULL;
	if (w->shared)
		return update_clone(&w->place, w->shared, pid);
	return w->flags & IMAGE_UPDATE ? update_open(&w->place, pid) : NULL;
}

/* The image that is there is changed, and no other one takes its place. */
static bool is_in_place(const struct image_writer *w)
{
	return w->cores[0]->contents.update && !w->shared;
}

int image_begin(struct image_writer *w, int32_t pid, struct err *e)
{
	struct update *update = NULL;
	struct core_out *c;

	if (w->n == IMAGE_PROCESSES_MAX)
		return err_set(e, -E2BIG, "more than %u processes", IMAGE_PROCESSES_MAX);
	if (pid <= 0 || (w->n && !w->cores[w->n - 1]->whole))
		return err_set(e, -EINVAL, "not the time to begin process %d", pid);
	if (w->n && w->cores[0]->contents.update)
		return err_set(e, -ENOTSUP, "an image of several processes is not updated");
	c = grow(w, pid);
	update = find_update(w, pid);
	if (!update)
		c->fd = open_core(w, pid, e);
	contents_init(&c->contents, update ? update_fd(update) : c->fd, w->flags & IMAGE_COMPRESS);
	c->contents.update = update;
	if (w->flags & IMAGE_SEAL) {
		c->contents.frame = xmalloc(sizeof *c->contents.frame);
		frame_hash_init(c->contents.frame);
	}
	return !update && c->fd < 0 ? c->fd : 0;
}

int image_put(struct image_writer *w, uint32_t space, uint64_t start, const void *bytes, size_t len, struct err *e)
{
	return contents_put(&w->cores[w->n - 1]->contents, space, start, bytes, len, e);
}

int image_end(struct image_writer *w, const Godwit__Ckpt__Job *job, const struct image_process *p, struct err *e)
{
	struct core_out *c = w->cores[w->n - 1];
	char args[IMAGE_ARGS_LEN];
	uint64_t vdso = 0;
	int err = check_process(c, p, e);

	if (!err)
		err = fill_message(w, c, job, p, e);
	if (!err)
		err = contents_list(&c->contents, c->message, e);
	if (!err)
		err = write_vdso(c, &vdso, e);
	if (err < 0)
		return err;
	find_args(w, c, p, args);
	err = notes_add_process(&c->notes, job, p, args, e);
	if (err < 0)
		return err;
	segments_add_process(&c->segments, p->process, c->message->chunks, c->message->n_chunks, vdso,
			     !c->contents.update);
	c->whole = true;
	return 0;
}

int image_add(struct image_writer *w, const Godwit__Ckpt__Job *job, const struct image_process *p, struct err *e)
{
	int err = image_begin(w, p->process->pid, e);

	if (!err)
		err = put_extents(w, p, e);
	return err ? err : image_end(w, job, p, e);
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

static int add_own_note(struct core_out *c, struct err *e)
{
	Godwit__Image__Image *m = c->message;
	size_t len = godwit__image__image__get_packed_size(m);
	_cleanup_free_ uint8_t *bytes = NULL;

	if (len > IMAGE_MESSAGE_MAX)
		return err_set(e, -E2BIG, "the checkpoint message has %zu bytes", len);
	bytes = xmalloc(len);
	(void)godwit__image__image__pack(m, bytes);
	message_hash(bytes, len, c->sealed.message);
	notes_add(&c->notes, IMAGE_OWNER, IMAGE_NOTE, bytes, len);
	return 0;
}

struct tail {
	uint64_t notes, headers, section, end; /* where they are in the file */
};

static struct tail make_tail(struct core_out *c)
{
	uint64_t notes_len = ALIGN_UP((uint64_t)c->notes.len, (uint64_t)8);
	uint64_t headers_len = (c->segments.n + 1) * sizeof(Elf64_Phdr);
	struct tail t;

	t.notes = contents_room(&c->contents, notes_len + headers_len + sizeof(Elf64_Shdr));
	t.headers = t.notes + notes_len;
	t.section = t.headers + headers_len;
	t.end = t.section + sizeof(Elf64_Shdr);
	return t;
}

static int write_tail(struct core_out *c, const struct tail *t)
{
	const struct segments *s = &c->segments;
	Elf64_Phdr note = { .p_type = PT_NOTE, .p_offset = t->notes, .p_filesz = c->notes.len, .p_align = 4 };
	Elf64_Shdr section = { .sh_info = (uint32_t)s->n + 1 };
	struct contents *to = &c->contents;
	int err = contents_write(to, c->notes.bytes, c->notes.len, t->notes);

	if (!err)
		err = contents_write(to, &note, sizeof note, t->headers);
	if (!err)
		err = contents_write(to, s->v, s->n * sizeof *s->v, t->headers + sizeof note);
	return err ? err : contents_write(to, &section, sizeof section, t->section);
}

/* Of an image that is updated the header is the commit: all else must be on the disk before it. */
static int write_header(struct core_out *c, const struct tail *t)
{
	Elf64_Ehdr head = elf_header(t->headers, t->section, c->segments.n + 1);
	int fd = c->contents.fd, err;

	if (c->contents.update) {
		if (fsync(fd) < 0)
			return -errno;
		update_commit(c->contents.update);
	}
	err = contents_write(&c->contents, &head, sizeof head, 0);
	if (!err && fsync(fd) < 0)
		err = -errno;
	if (!err && c->contents.update)
		update_committed(c->contents.update, c->message, c->segments.v, c->segments.n, t->notes,
				 t->end - t->notes);
	return err;
}

/* Hashes, notes and headers behind the contents. */
static int finish_core(struct core_out *c, struct err *e)
{
	struct segments *s = &c->segments;
	struct tail t;
	int err = contents_hashes(&c->contents, c->message, e);

	if (!err)
		err = add_own_note(c, e);
	if (err < 0)
		return err;
	t = make_tail(c);
	/* BFD looks for an ELF header where a segment begins, contents or not: at 0 it would find this file's. */
	for (size_t k = 0; k < s->n; k++)
		if (!s->v[k].p_filesz)
			s->v[k].p_offset = t.notes;
	err = write_tail(c, &t);
	if (!err)
		err = write_header(c, &t);
	c->sealed.pid = c->pid;
	c->sealed.size = t.end;
	if (c->contents.frame)
		frame_hash_end(c->contents.frame, c->sealed.frame);
	return err < 0 ? err_code(e, err, "cannot write process %d", c->pid) : 0;
}

void image_seal_by(struct image_writer *w, image_seal_fn *fn, void *arg)
{
	w->seal = fn;
	w->seal_arg = arg;
}

static int seal(struct image_writer *w, struct err *e)
{
	_cleanup_free_ struct sealed_core *cores = xcalloc(w->n, sizeof *cores);

	if (!w->seal)
		return err_set(e, -EINVAL, "there is nobody to seal the image");
	for (uint32_t i = 0; i < w->n; i++)
		cores[i] = w->cores[i]->sealed;
	return seal_write(w->place.dir, cores, w->n, w->seal, w->seal_arg, e);
}

int image_commit(struct image_writer *w, struct err *e)
{
	int err = 0;

	if (!w->n || !w->cores[w->n - 1]->whole || w->committed)
		return err_set(e, -EINVAL, "an image without processes");
	for (uint32_t i = 0; i < w->n && !err; i++) {
		w->cores[i]->message->of = w->n;
		err = finish_core(w->cores[i], e);
	}
	if (!err && w->flags & IMAGE_SEAL)
		err = seal(w, e);
	if (!err && !is_in_place(w))
		err = place_take(&w->place, e);
	w->committed = !err;
	return err;
}

uint64_t image_written(const struct image_writer *w)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < w->n; i++)
		n += w->cores[i]->contents.written;
	return n;
}

static void free_core(struct core_out *c)
{
	fd_close(&c->fd);
	godwit__image__image__free_unpacked(c->message, NULL);
	contents_done(&c->contents);
	notes_done(&c->notes);
	segments_done(&c->segments);
	free(c);
}

void image_writer_free(struct image_writer *w)
{
	if (!w)
		return;
	for (uint32_t i = 0; i < w->n; i++)
		free_core(w->cores[i]);
	place_done(&w->place);
	free(w->cores);
	free(w->buf);
	free(w->name);
	free(w->host);
	free(w->shared);
	free(w);
}
