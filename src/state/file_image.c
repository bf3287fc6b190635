/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of a job that goes to, or comes from, an image. What has a name is expected to be found under it again;
 * what has none (it was unlinked) goes into the image. Of what is only read the image has the hash, so that it is
 * compared by content then, too. At the restart the image speaks for the source: a file that the destination lacks
 * is sent from where it lies here, if it is still what it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/scan.h"
#include "state/file.h"
#include "state/file_table.h"
#include "state/file_target.h"

#define KEPT_BYTES_MAX (128u << 20)
#define HASHED_BYTES_MAX (UINT64_C(1) << 30)

/* --- into an image --- */

static bool is_kept(const Godwit__Ckpt__OpenFile *m)
{
	return m->kind == GODWIT__CKPT__OPEN_FILE__KIND__REGULAR && m->deleted && m->fs_type != PROC_SUPER_MAGIC &&
	       m->fs_type != SYSFS_MAGIC;
}

static bool is_first_of_inode(const Godwit__Ckpt__Job *job, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (job->files[k]->dev == job->files[i]->dev && job->files[k]->ino == job->files[i]->ino)
			return false;
	return true;
}

static int take_parts(const struct file_io *io, Godwit__Ckpt__FilePart ***list, size_t *n, struct err *e)
{
	size_t total = 0;

	for (;;) {
		_cleanup_free_ uint8_t *msg = NULL;
		Godwit__Ckpt__FilePart *part;
		size_t len;
		int r = file_frame_recv(io, &msg, &len, e);

		if (r < 0)
			return r;
		r = file_part_decode(io, msg, len, &part, e);
		if (r < 0)
			return r;
		if (part->end) {
			godwit__ckpt__file_part__free_unpacked(part, NULL);
			return 0;
		}
		total += len;
		*list = xrealloc(*list, (*n + 1) * sizeof **list);
		(*list)[(*n)++] = part;
		if (total > KEPT_BYTES_MAX)
			return err_set(e, -EFBIG, "the job's unlinked files hold more than %u MiB",
				       KEPT_BYTES_MAX >> 20);
	}
}

int file_image_fetch(const Godwit__Ckpt__Job *early, const struct file_io *io, struct file_parts *ret,
		     struct err *e)
{
	Godwit__Ckpt__FileWants wants = GODWIT__CKPT__FILE_WANTS__INIT;
	Godwit__Ckpt__FileWant *each = xcalloc(early->n_files + 1, sizeof *each);
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;
	int r;

	wants.wants = xcalloc(early->n_files + 1, sizeof(*wants.wants));
	for (size_t i = 0; i < early->n_files; i++) {
		if (!is_kept(early->files[i]) || !is_first_of_inode(early, i))
			continue;
		godwit__ckpt__file_want__init(&each[i]);
		each[i].id = early->files[i]->id;
		wants.wants[wants.n_wants++] = &each[i];
	}
	len = godwit__ckpt__file_wants__get_packed_size(&wants);
	buf = xmalloc(len + 1);
	(void)godwit__ckpt__file_wants__pack(&wants, buf);
	r = file_frame_send(io, buf, len, e);
	free(wants.wants);
	free(each);
	return r < 0 ? r : take_parts(io, &ret->list, &ret->n, e);
}

int file_image_pull(const struct file_io *io, struct file_parts *ret, struct err *e)
{
	return take_parts(io, &ret->list, &ret->n, e);
}

/* What is only read, under a name. */
static bool is_compared(const Godwit__Ckpt__OpenFile *m)
{
	return m->kind == GODWIT__CKPT__OPEN_FILE__KIND__REGULAR && !m->deleted && !m->writes &&
	       m->path[0] == '/' && m->content && m->size <= HASHED_BYTES_MAX && m->fs_type != PROC_SUPER_MAGIC &&
	       m->fs_type != SYSFS_MAGIC;
}

static int open_named(const Godwit__Ckpt__OpenFile *m, struct stat *ret)
{
	_cleanup_fd_ int fd = open(m->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, ret) < 0 || !S_ISREG(ret->st_mode) || (uint64_t)ret->st_size != m->size)
		return -ESTALE;
	return steal_fd(&fd);
}

void file_image_note(Godwit__Ckpt__Job *early)
{
	for (size_t i = 0; i < early->n_files; i++) {
		Godwit__Ckpt__OpenFile *m = early->files[i];
		_cleanup_free_ uint8_t *hash = NULL;
		_cleanup_fd_ int fd = -EBADF;
		struct stat st;

		if (!is_compared(m) || m->content->hash.len)
			continue;
		fd = open_named(m, &st);
		if (fd < 0 || st.st_ino != m->ino || file_time_ns(&st.st_mtim) != m->content->mtime_ns ||
		    file_time_ns(&st.st_ctim) != m->content->ctime_ns)
			continue;
		hash = xmalloc(FILE_HASH_LEN);
		if (file_hash(fd, &st, hash, NULL) < 0)
			continue;
		m->content->hash.len = FILE_HASH_LEN;
		m->content->hash.data = steal_ptr(&hash);
	}
}

/* --- out of an image --- */

static bool has_hash(const Godwit__Ckpt__OpenFile *m)
{
	return m->content && m->content->hash.len == FILE_HASH_LEN;
}

/* Is what is open there what it was? */
static int check_content(const Godwit__Ckpt__OpenFile *m, int fd, const struct stat *st, struct err *e)
{
	uint8_t hash[FILE_HASH_LEN];
	int r;

	if (!has_hash(m)) {
		if ((uint64_t)st->st_size == m->size &&
		    (!m->content || m->content->mtime_ns == file_time_ns(&st->st_mtim)))
			return 0;
		return err_set(e, -ESTALE, "%s has changed since the checkpoint", m->path);
	}
	r = file_hash(fd, st, hash, e);
	if (r < 0)
		return r;
	return (uint64_t)st->st_size != m->size || memcmp(hash, m->content->hash.data, sizeof hash) != 0
		       ? err_set(e, -ESTALE, "%s has changed since the checkpoint", m->path)
		       : 0;
}

int file_image_check(const Godwit__Ckpt__Job *early, struct err *e)
{
	for (size_t i = 0; i < early->n_files; i++) {
		const Godwit__Ckpt__OpenFile *m = early->files[i];
		_cleanup_fd_ int fd = -EBADF;
		struct stat st;
		int r;

		/* A destination that sees the same file looks no further. */
		if (!is_compared(m) || !has_hash(m) || lstat(m->path, &st) < 0 || st.st_ino != m->ino ||
		    !S_ISREG(st.st_mode) || file_time_ns(&st.st_ctim) == m->content->ctime_ns)
			continue;
		fd = open(m->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		r = fd < 0 || fstat(fd, &st) < 0 ? 0 : check_content(m, fd, &st, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static const Godwit__Ckpt__OpenFile *find_file(const Godwit__Ckpt__Job *job, uint32_t id)
{
	for (size_t i = 0; i < job->n_files; i++)
		if (job->files[i]->id == id)
			return job->files[i];
	return NULL;
}

/* Sends what the image holds of that inode, under the id that the destination knows it by. */
static int send_kept(const Godwit__Ckpt__Job *early, const struct file_parts *kept,
		     const Godwit__Ckpt__OpenFile *m, const struct file_io *io, bool *ret_any, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < kept->n && !r; i++) {
		const Godwit__Ckpt__OpenFile *of = find_file(early, kept->list[i]->id);
		Godwit__Ckpt__FilePart part = *kept->list[i];

		if (!of || of->dev != m->dev || of->ino != m->ino)
			continue;
		part.id = m->id;
		*ret_any = true;
		r = file_part_send(io, &part, e);
	}
	return r;
}

static int send_named(const Godwit__Ckpt__OpenFile *m, const Godwit__Ckpt__FileWant *w, const struct file_io *io,
		      struct err *e)
{
	_cleanup_fd_ int fd = open(m->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0)
		return err_errno(e, "the destination lacks %s, and so does the host of the image", m->path);
	if (fstat(fd, &st) < 0)
		return err_errno(e, "looking at %s", m->path);
	r = S_ISREG(st.st_mode) ? check_content(m, fd, &st, e)
				: err_set(e, -ESTALE, "%s has changed since the checkpoint", m->path);
	return r < 0 ? r : file_carry_answer(io, w, fd, &st, e);
}

static int send_same(const Godwit__Ckpt__OpenFile *m, const struct file_io *io, struct err *e)
{
	Godwit__Ckpt__FilePart same = GODWIT__CKPT__FILE_PART__INIT;

	same.id = m->id;
	same.same = same.last = true;
	same.size = m->size;
	return file_part_send(io, &same, e);
}

static int serve_one(const Godwit__Ckpt__Job *early, const struct file_parts *kept,
		     const Godwit__Ckpt__FileWant *w, const struct file_io *io, struct err *e)
{
	const Godwit__Ckpt__OpenFile *m = find_file(early, w->id);
	bool any = false;
	int r;

	if (!m)
		return err_set(e, -EBADMSG, "the destination asks for a file that the job does not have");
	r = send_kept(early, kept, m, io, &any, e);
	if (r < 0 || any)
		return r;
	if (m->deleted)
		return err_set(e, -ENODATA, "the image lacks the content of %s, which was unlinked", m->path);
	/* The image knows the content, whoever has it. */
	if (has_hash(m) && w->hash.len == FILE_HASH_LEN &&
	    !memcmp(w->hash.data, m->content->hash.data, FILE_HASH_LEN))
		return send_same(m, io, e);
	return send_named(m, w, io, e);
}

int file_image_serve(const Godwit__Ckpt__Job *early, const struct file_parts *kept, const struct file_io *io,
		     struct err *e)
{
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
	for (size_t i = 0; i < wants->n_wants && !r; i++)
		r = serve_one(early, kept, wants->wants[i], io, e);
	godwit__ckpt__file_wants__free_unpacked(wants, NULL);
	return r < 0 ? r : file_part_send_end(io, e);
}

int file_image_push(const struct file_parts *late, const struct file_io *io, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < late->n && !r; i++)
		r = file_part_send(io, late->list[i], e);
	return r < 0 ? r : file_part_send_end(io, e);
}
