/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carrying contents.
 *
 * Theory of operation. In prepare the destination looks at what it has under the names in the description and
 * asks, in one message, for what it lacks: each question may carry the hash of what stands there, so that equal
 * files of equal name never cross the wire. The source answers with parts, in order, holes left out, and remembers
 * size and times of each file as of *before* it read it. At the freeze it sends again whatever has changed since,
 * without being asked, and the content of files that were made and unlinked meanwhile.
 *
 * A carried copy is an unnamed file (O_TMPFILE), so an attempt that fails leaves nothing. Only a written file that
 * was asked for with --carry gets its old name, and only if nothing is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/decode.h"
#include "image/scan.h"
#include "state/file.h"
#include "state/confine.h"
#include "state/file_table.h"
#include "state/file_target.h"

#define KIND(k) GODWIT__CKPT__OPEN_FILE__KIND__##k
#define PART_BYTES (256u * 1024)
#define TICK_NS 20000000	    /* timestamps may be this coarse */
#define LATE_BYTES_MAX (256u << 20) /* one file, made and unlinked while the migration was prepared */

int file_frame_send(const struct file_io *io, const void *msg, size_t len, struct err *e)
{
	uint8_t head[4] = { (uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16), (uint8_t)(len >> 24) };
	int r;

	if (len > FILE_FRAME_MAX)
		return err_set(e, -EMSGSIZE, "too many files");
	r = io->send(io->ctx, head, sizeof head, e);
	return r < 0 || !len ? r : io->send(io->ctx, msg, len, e);
}

int file_frame_recv(const struct file_io *io, uint8_t **ret, size_t *ret_len, struct err *e)
{
	_cleanup_free_ uint8_t *msg = NULL;
	uint8_t head[4];
	size_t len;
	int r = io->recv(io->ctx, head, sizeof head, e);

	if (r < 0)
		return r;
	len = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
	if (len == FILE_FRAME_FAILED && io->failed)
		return io->failed(io->ctx, e);
	if (len > FILE_FRAME_MAX)
		return err_set(e, -EBADMSG, "the other side's message about files is too long");
	msg = xmalloc(len + 1);
	r = len ? io->recv(io->ctx, msg, len, e) : 0;
	if (r < 0)
		return r;
	*ret = steal_ptr(&msg);
	*ret_len = len;
	return 0;
}

int file_part_decode(const struct file_io *io, const uint8_t *msg, size_t len, Godwit__Ckpt__FilePart **ret,
		     struct err *e)
{
	const ProtobufCMessageDescriptor *d = &godwit__ckpt__file_part__descriptor;
	ProtobufCMessage *part = NULL;
	int r = io->decoder ? decoder_take(io->decoder, DECODE_FILE_PART, msg, len, &part, e)
			    : message_scan(d, msg, len, SCAN_ROOM, false, e);

	if (r < 0)
		return r;
	if (!io->decoder)
		part = protobuf_c_message_unpack(d, NULL, len, msg);
	if (!part)
		return err_set(e, -EBADMSG, "the source's message about a file is garbled");
	*ret = (Godwit__Ckpt__FilePart *)part;
	return 0;
}

/* --- source --- */

static bool is_process_text(const Godwit__Ckpt__OpenFile *m)
{
	return m->fs_type == PROC_SUPER_MAGIC || m->fs_type == SYSFS_MAGIC;
}

int file_part_send(const struct file_io *io, const Godwit__Ckpt__FilePart *part, struct err *e)
{
	size_t len = godwit__ckpt__file_part__get_packed_size(part);
	_cleanup_free_ uint8_t *buf = xmalloc(len + 1);

	(void)godwit__ckpt__file_part__pack(part, buf);
	return file_frame_send(io, buf, len, e);
}

int file_part_send_end(const struct file_io *io, struct err *e)
{
	Godwit__Ckpt__FilePart part = GODWIT__CKPT__FILE_PART__INIT;

	part.end = true;
	return file_part_send(io, &part, e);
}

/* A description of our own, for reading at any offset without moving the job's. */
static int open_to_read(struct state_source *s, const struct file_entry *f, struct err *e)
{
	_cleanup_fd_ int handle = file_entry_open(s, f, e);
	char link[64];
	int fd;

	if (handle < 0)
		return handle;
	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
	fd = open(link, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 ? err_errno(e, "reading %s to carry it", f->m->path) : fd;
}

static int send_extent(const struct file_io *io, uint32_t id, int fd, off_t from, off_t to, uint8_t *buf,
		       struct err *e)
{
	while (from < to) {
		Godwit__Ckpt__FilePart part = GODWIT__CKPT__FILE_PART__INIT;
		ssize_t n = pread(fd, buf, MIN((size_t)(to - from), (size_t)PART_BYTES), from);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "reading a file to carry it");
		if (!n)
			return 0; /* it was cut meanwhile: the freeze will see that */
		part.id = id;
		part.offset = (uint64_t)from;
		part.data.data = buf;
		part.data.len = (size_t)n;
		r = file_part_send(io, &part, e);
		if (r < 0)
			return r;
		from += n;
	}
	return 0;
}

static int send_content(const struct file_io *io, uint32_t id, int fd, const struct stat *st, struct err *e)
{
	_cleanup_free_ uint8_t *buf = xmalloc(PART_BYTES);
	Godwit__Ckpt__FilePart last = GODWIT__CKPT__FILE_PART__INIT;
	off_t at = 0;
	int r;

	while (at < st->st_size) {
		off_t data = lseek(fd, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			data = at;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole <= data || hole > st->st_size)
			hole = st->st_size;
		r = send_extent(io, id, fd, data, hole, buf, e);
		if (r < 0)
			return r;
		at = hole;
	}
	last.id = id;
	last.last = true;
	last.size = (uint64_t)st->st_size;
	last.mtime_ns = file_time_ns(&st->st_mtim);
	return file_part_send(io, &last, e);
}

static void note_served(struct file_entry *f, const struct stat *st)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	f->served = true;
	f->served_size = st->st_size;
	f->served_mtime_ns = file_time_ns(&st->st_mtim);
	f->served_ctime_ns = file_time_ns(&st->st_ctim);
	f->served_at_ns = file_time_ns(&now);
}

static bool want_is_answered(int fd, const struct stat *st, const Godwit__Ckpt__FileWant *w)
{
	uint8_t hash[FILE_HASH_LEN];

	/* What the destination sees is what we see at this moment: one file, still growing perhaps. */
	if (w->ctime_ns && w->ctime_ns == file_time_ns(&st->st_ctim) &&
	    w->mtime_ns == file_time_ns(&st->st_mtim) && w->size == (uint64_t)st->st_size)
		return true;
	return w->hash.len == sizeof hash && w->size == (uint64_t)st->st_size &&
	       file_hash(fd, st, hash, NULL) == 0 && memcmp(hash, w->hash.data, sizeof hash) == 0;
}

int file_carry_answer(const struct file_io *io, const Godwit__Ckpt__FileWant *w, int fd, const struct stat *st,
		      struct err *e)
{
	Godwit__Ckpt__FilePart same = GODWIT__CKPT__FILE_PART__INIT;

	if (!want_is_answered(fd, st, w))
		return send_content(io, w->id, fd, st, e);
	same.id = w->id;
	same.same = same.last = true;
	same.size = (uint64_t)st->st_size;
	return file_part_send(io, &same, e);
}

static int serve_one(struct state_source *s, const struct file_io *io, const Godwit__Ckpt__FileWant *w,
		     struct err *e)
{
	struct file_table *t = s->files;
	struct file_entry *f;
	_cleanup_fd_ int fd = -EBADF;
	struct stat st;

	if (w->id < 1 || w->id > t->n_entries || t->entries[w->id - 1]->m->kind != KIND(REGULAR))
		return err_set(e, -EBADMSG, "the destination asks for a file that the job does not have");
	f = t->entries[w->id - 1];
	fd = open_to_read(s, f, e);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_errno(e, "reading %s to carry it", f->m->path);
	if (st.st_dev != f->m->dev || st.st_ino != f->m->ino)
		return err_set(e, -EAGAIN, "fd %d was closed while the migration was prepared; try again", f->fd);
	note_served(f, &st);
	if (want_is_answered(fd, &st, w))
		f->served = f->m->writes; /* what is only read and equal needs no second look by us */
	return file_carry_answer(io, w, fd, &st, e);
}

int file_carry_serve(struct state_source *s, const struct file_io *io, struct err *e)
{
	struct file_table *t = file_table_get(s);
	_cleanup_free_ uint8_t *msg = NULL;
	Godwit__Ckpt__FileWants *wants;
	size_t len;
	int r = file_frame_recv(io, &msg, &len, e);

	if (r < 0)
		return r;
	r = message_scan(&godwit__ckpt__file_wants__descriptor, msg, len, SCAN_ROOM, false, e);
	if (r < 0)
		return err_wrap(e, "the destination's question about files");
	wants = godwit__ckpt__file_wants__unpack(NULL, len, msg);
	if (!wants)
		return err_set(e, -EBADMSG, "the destination's question about files is garbled");
	for (size_t i = 0; i < t->n_entries; i++)
		t->entries[i]->described = t->entries[i]->seen;
	for (size_t i = 0; r == 0 && i < wants->n_wants; i++)
		r = serve_one(s, io, wants->wants[i], e);
	godwit__ckpt__file_wants__free_unpacked(wants, NULL);
	return r < 0 ? r : file_part_send_end(io, e);
}

static bool has_changed(const struct file_entry *f, const struct stat *st)
{
	if (f->served_size != st->st_size || f->served_mtime_ns != file_time_ns(&st->st_mtim) ||
	    f->served_ctime_ns != file_time_ns(&st->st_ctim))
		return true;
	/* A store through a shared mapping moves no timestamp where pages are dirty already; a write in the tick
	 * of the reading none either. */
	return (f->m->writes && f->m->mapped_only) || f->served_at_ns - f->served_mtime_ns < TICK_NS;
}

static bool other_entry_maps(const struct file_table *t, const struct file_entry *f)
{
	for (size_t i = 0; i < t->n_entries; i++) {
		const Godwit__Ckpt__OpenFile *m = t->entries[i]->m;

		if (t->entries[i]->seen && m->mapped_only && m->writes && m->dev == f->m->dev &&
		    m->ino == f->m->ino)
			return true;
	}
	return false;
}

static int push_one(struct state_source *s, const struct file_io *io, struct file_entry *f, struct err *e)
{
	_cleanup_fd_ int fd = open_to_read(s, f, e);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_errno(e, "reading %s to carry it", f->m->path);
	/* Here the file's older version stays, in this state. */
	if (f->served && f->m->writes && !f->m->deleted)
		file_lineage_note(f->m, &st);
	if (f->served && !has_changed(f, &st) && !other_entry_maps(s->files, f))
		return 0;
	if (!f->served && (uint64_t)st.st_size > LATE_BYTES_MAX)
		return err_set(e, -EAGAIN, "%s was made while the migration was prepared; try again", f->m->path);
	note_served(f, &st);
	return send_content(io, f->m->id, fd, &st, e);
}

/* A file that the destination has not heard of: unlinked, or written and to be carried. What it shares after all
 * it drops. */
static bool is_late(const struct state_source *s, const struct file_entry *f)
{
	return !f->described && (f->m->deleted || (s->carry && f->m->writes)) && !is_process_text(f->m);
}

int file_carry_push(struct state_source *s, const struct file_io *io, struct err *e)
{
	struct file_table *t = file_table_get(s);

	for (size_t i = 0; i < t->n_entries; i++) {
		struct file_entry *f = t->entries[i];
		int r;

		if (!f->seen || f->m->kind != KIND(REGULAR))
			continue;
		if (!f->served && !is_late(s, f))
			continue;
		r = push_one(s, io, f, e);
		if (r < 0)
			return r;
	}
	return file_part_send_end(io, e);
}

/* --- destination --- */

/* A copy nobody can name. It must be executable if the original is: many a /run is mounted noexec. */
static int make_unnamed(const struct state_target *d, const Godwit__Ckpt__OpenFile *m, struct err *e)
{
	const char *dirs[] = { d->scratch, "/var/tmp", "/tmp" };

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		struct statvfs fs;
		int fd;

		if (!dirs[i] || !dirs[i][0] || statvfs(dirs[i], &fs) < 0 ||
		    ((fs.f_flag & ST_NOEXEC) && (m->mode & 0111)))
			continue;
		fd = open(dirs[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd >= 0 && confine_own(d, fd, 0, 0) < 0)
			fd_close(&fd);
		if (fd >= 0)
			return fd;
	}
	return err_errno(e, "no place for a copy of %s (scratch directory, /var/tmp, /tmp)", m->path);
}

static int make_placed(struct state_target *d, struct file_home *h, struct err *e)
{
	_cleanup_free_ char *parent = xstrdup(h->m->path);
	char *slash = strrchr(parent, '/');
	_cleanup_fd_ int dir = -EBADF;
	struct stat st;
	int fd;

	*slash = '\0';
	dir = file_open_path(d->files->root, parent[0] ? parent : "/", O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		return err_code(e, dir, "the directory of %s", h->m->path);
	if (h->replaces && (fstatat(dir, slash + 1, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			    !file_lineage_matches(h->m, &st) || unlinkat(dir, slash + 1, 0) < 0))
		return err_set(e, -EEXIST, "%s has changed meanwhile", h->m->path);
	fd = openat(dir, slash + 1, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, "making %s", h->m->path);
	h->path = xstrdup(h->m->path);
	return fd;
}

static int home_open_copy(struct state_target *d, struct file_home *h, struct err *e)
{
	int fd;

	if (h->how == FILE_HOW_CARRIED || h->how == FILE_HOW_PLACED) {
		if (h->base_rw)
			return 0;
		fd = file_reopen(h->base, O_RDWR);
		if (fd < 0)
			return err_code(e, fd, "writing the copy of %s", h->m->path);
		fd_close(&h->base);
		h->base = fd;
		h->base_rw = true;
		return 0;
	}
	if (h->how == FILE_HOW_SHARED)
		return err_set(e, -EPROTO, "content of %s comes, which both hosts share", h->m->path);
	/* The same content under the same name, and it is written: it goes on from there. */
	if (h->how == FILE_HOW_SAME && h->writes) {
		confine_enter(d);
		fd = file_reopen(h->base, O_RDWR);
		confine_leave(d);
		if (fd < 0)
			return err_code(e, fd, "writing %s", h->m->path);
		fd_close(&h->base);
		h->base = fd;
		h->base_rw = true;
		h->how = FILE_HOW_CARRIED;
		return 0;
	}
	if (h->may_place) {
		confine_enter(d);
		fd = make_placed(d, h, e);
		confine_leave(d);
	} else {
		fd = make_unnamed(d, h->m, e);
	}
	if (fd < 0)
		return fd;
	fd_close(&h->base);
	h->base = fd;
	h->base_rw = true;
	h->how = h->may_place ? FILE_HOW_PLACED : FILE_HOW_CARRIED;
	return 0;
}

static int home_finish_copy(const struct state_target *d, struct file_home *h, const Godwit__Ckpt__FilePart *last,
			    struct err *e)
{
	const Godwit__Ckpt__FileContent *c = h->m->content;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { 0 } };
	struct stat st;
	int r;

	if (last->size > (uint64_t)INT64_MAX || ftruncate(h->base, (off_t)last->size) < 0)
		return err_errno(e, "size of the copy of %s", h->m->path);
	r = c ? confine_own(d, h->base, c->uid, c->gid) : 0;
	if (r < 0)
		return err_code(e, r, "owner of the copy of %s", h->m->path);
	confine_enter(d);
	r = fchmod(h->base, confine_mode(d, h->m->mode));
	confine_leave(d);
	if (r < 0 && !d->confined.on)
		return err_errno(e, "mode of the copy of %s", h->m->path);
	times[1].tv_sec = last->mtime_ns / 1000000000;
	times[1].tv_nsec = last->mtime_ns % 1000000000;
	(void)futimens(h->base, times);
	if (h->writes && !h->m->deleted && fstat(h->base, &st) == 0)
		file_lineage_note(h->m, &st);
	/* Where the file system cannot, the copy is carried on for ever, which does no harm. */
	if (!h->writes && !h->m->deleted)
		(void)fsetxattr(h->base, FILE_ORIGIN_XATTR, h->m->path, strlen(h->m->path), 0);
	return 0;
}

static int home_write(struct file_home *h, const Godwit__Ckpt__FilePart *part, struct err *e)
{
	size_t at = 0;

	while (at < part->data.len) {
		ssize_t n = pwrite(h->base, part->data.data + at, part->data.len - at, (off_t)(part->offset + at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_errno(e, "writing the copy of %s", h->m->path);
		at += (size_t)n;
	}
	return 0;
}

static int home_must_not_differ(const struct file_home *h, struct err *e)
{
	return err_set(
		e, -EEXIST,
		"%s is written by the job, and another file with that name is on the destination; move it away",
		h->m->path);
}

/* What of this home is here; leaves `base` at it if it may serve. `want` is filled if the source has to be asked.
 */
static int home_settle(struct state_target *d, struct file_home *h, Godwit__Ckpt__FileWant *want, struct err *e)
{
	_cleanup_fd_ int fd = -EBADF;
	uint64_t fsid;
	struct stat st;

	h->wanted = true;
	if (h->m->deleted)
		return 0;
	confine_enter(d);
	fd = file_open_path(d->files->root, h->m->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	confine_leave(d);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
		fd_close(&fd);
	if (file_is_volatile(d->files, h->m, fd >= 0 ? &st : NULL)) {
		h->wanted = false; /* settled when it is opened, in the freeze, if it is still there then */
		return 0;
	}
	if (fd < 0) {
		h->may_place = h->writes && d->carry;
		if (h->writes && !d->carry)
			return err_set(e, -ENOENT,
				       "%s is written by the job, and the destination does not have it",
				       h->m->path);
		return 0;
	}
	if (h->writes && d->carry && !file_is_shared(d->files, h->m, &st) && file_lineage_matches(h->m, &st)) {
		h->may_place = h->replaces = true;
		return 0;
	}
	fsid = file_fsid(fd);
	if (file_is_shared(d->files, h->m, &st))
		h->how = FILE_HOW_SHARED;
	else if (!h->writes && file_is_same(h->m, &st, fsid))
		h->how = FILE_HOW_SAME;
	else if (h->writes && !d->carry)
		return err_set(e, -EXDEV,
			       "%s is written by the job, and the destination does not see the same file",
			       h->m->path);
	h->base = steal_fd(&fd);
	if (h->how != FILE_HOW_NONE) {
		h->wanted = false;
		return 0;
	}
	want->size = (uint64_t)st.st_size;
	if (!h->writes && h->m->content && h->m->content->fsid == fsid && fsid && h->m->ino == st.st_ino) {
		want->ctime_ns = file_time_ns(&st.st_ctim);
		want->mtime_ns = file_time_ns(&st.st_mtim);
	}
	if (want->size != h->m->size)
		return 0;
	want->hash.data = xmalloc(FILE_HASH_LEN);
	want->hash.len = FILE_HASH_LEN;
	return file_hash(h->base, &st, want->hash.data, e);
}

/* The first part of a file that was opened after the description went out. */
static int settle_late(struct state_target *d, struct file_home *h, struct err *e)
{
	Godwit__Ckpt__FileWant unused = GODWIT__CKPT__FILE_WANT__INIT;
	int r;

	if (h->how != FILE_HOW_NONE || h->base >= 0 || h->wanted)
		return 0;
	h->writes = h->m->writes;
	r = home_settle(d, h, &unused, e);
	free(unused.hash.data);
	return r;
}

static int take_part(struct state_target *d, const Godwit__Ckpt__FilePart *part, struct err *e)
{
	struct file_targets *t = d->files;
	struct file_target *f = file_targets_find(t, part->id);
	struct file_home *h = f && f->home ? &t->homes[f->home - 1] : NULL;
	int r;

	if (!h || h->m->kind != KIND(REGULAR) || part->offset > (uint64_t)INT64_MAX - part->data.len)
		return err_set(e, -EBADMSG, "content comes of a file that the job does not have");
	if (part->same) {
		h->how = FILE_HOW_SAME;
		return 0;
	}
	r = settle_late(d, h, e);
	if (r < 0)
		return r;
	if (h->how == FILE_HOW_SHARED)
		return 0;
	if (h->writes && h->how == FILE_HOW_NONE && !h->may_place && !h->m->deleted)
		return home_must_not_differ(h, e);
	r = home_open_copy(d, h, e);
	if (r == 0 && part->data.len)
		r = home_write(h, part, e);
	if (r == 0 && part->last)
		r = home_finish_copy(d, h, part, e);
	return r;
}

/* A file that somebody has open for writing cannot become anyone's executable (ETXTBSY), so copies are closed when
 * they are complete. */
static int close_writable(struct file_targets *t, struct err *e)
{
	for (size_t i = 0; i < t->n_homes; i++) {
		struct file_home *h = &t->homes[i];
		int fd;

		if (!h->base_rw)
			continue;
		fd = file_reopen(h->base, O_RDONLY);
		if (fd < 0)
			return err_code(e, fd, "the copy of %s", h->m->path);
		fd_close(&h->base);
		h->base = fd;
		h->base_rw = false;
	}
	return 0;
}

static int take_parts(struct state_target *d, const struct file_io *io, struct err *e)
{
	bool end = false;

	while (!end) {
		_cleanup_free_ uint8_t *msg = NULL;
		Godwit__Ckpt__FilePart *part;
		size_t len;
		int r = file_frame_recv(io, &msg, &len, e);

		if (r < 0)
			return r;
		r = file_part_decode(io, msg, len, &part, e);
		if (r < 0)
			return r;
		end = part->end;
		r = end ? 0 : take_part(d, part, e);
		godwit__ckpt__file_part__free_unpacked(part, NULL);
		if (r < 0)
			return r;
	}
	return close_writable(d->files, e);
}

static int send_wants(const struct file_io *io, const Godwit__Ckpt__FileWants *wants, struct err *e)
{
	size_t len = godwit__ckpt__file_wants__get_packed_size(wants);
	_cleanup_free_ uint8_t *buf = xmalloc(len + 1);

	(void)godwit__ckpt__file_wants__pack(wants, buf);
	return file_frame_send(io, buf, len, e);
}

static int settle_homes(struct state_target *d, Godwit__Ckpt__FileWants *wants, struct err *e)
{
	struct file_targets *t = d->files;

	wants->wants = xcalloc(t->n_homes + 1, sizeof(*wants->wants));
	for (size_t i = 0; i < t->n_homes; i++) {
		Godwit__Ckpt__FileWant *w;
		int r;

		if (t->homes[i].m->kind != KIND(REGULAR) || is_process_text(t->homes[i].m))
			continue;
		w = xmalloc(sizeof *w);
		godwit__ckpt__file_want__init(w);
		w->id = t->homes[i].m->id;
		r = home_settle(d, &t->homes[i], w, e);
		if (r == 0 && t->homes[i].wanted) {
			wants->wants[wants->n_wants++] = w;
			continue;
		}
		godwit__ckpt__file_want__free_unpacked(w, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

int file_carry_fetch(struct state_target *d, const struct file_io *io, struct err *e)
{
	struct file_targets *t = file_targets_get(d);
	Godwit__Ckpt__FileWants *wants;
	int r;

	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium does not start");
	file_raise_own_limit();
	for (size_t i = 0; i < d->job->n_files; i++) {
		r = file_targets_add(d, d->job->files[i], NULL, e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].home && t->v[i].m->writes)
			t->homes[t->v[i].home - 1].writes = true;
	wants = xmalloc(sizeof *wants);
	godwit__ckpt__file_wants__init(wants);
	r = settle_homes(d, wants, e);
	if (r == 0)
		r = send_wants(io, wants, e);
	godwit__ckpt__file_wants__free_unpacked(wants, NULL);
	return r < 0 ? r : take_parts(d, io, e);
}

int file_carry_pull(struct state_target *d, const struct file_io *io, struct err *e)
{
	for (size_t i = 0; i < d->job->n_files; i++) {
		int r = file_targets_add(d, d->job->files[i], NULL, e);

		if (r < 0)
			return r;
	}
	return take_parts(d, io, e);
}
