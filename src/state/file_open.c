/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job's open file descriptions, made anew at the destination, as seen in the job's mount namespace. Everything
 * that the source says is hostile until checked: names are resolved below the namespace's root and must lead to
 * the kind of thing they are said to be.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/confine.h"
#include "state/file_table.h"
#include "state/file_target.h"

#define KIND(k) GODWIT__CKPT__OPEN_FILE__KIND__##k
#define OPEN_FLAGS_MADE_ONCE                                                                                      \
	(O_CREAT | O_EXCL | O_TRUNC | O_NOCTTY | (O_TMPFILE & ~O_DIRECTORY) | O_ASYNC | O_CLOEXEC)
#define LARGEFILE 0100000 /* the kernel's O_LARGEFILE; libc's is 0 */
#define FILES_MAX (2 * FILE_FDS_MAX)

static int open_root(const struct state_target *d)
{
	int fd = -1;

	if (d->pid > 0 && d->proc >= 0)
		fd = openat(d->proc, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && d->pid > 0 && problem_scarce(d->problems, -errno, "cannot open the job's root directory"))
		return fd;
	return fd >= 0 ? fd : open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

struct file_targets *file_targets_get(struct state_target *d)
{
	if (!d->files) {
		d->files = xcalloc(1, sizeof *d->files);
		d->files->root = open_root(d);
		if (d->files->root < 0)
			(void)problem_scarce(d->problems, -errno, "cannot open the root directory");
	}
	return d->files;
}

static int order_target(const void *pa, const void *pb)
{
	const struct file_target *a = pa, *b = pb;

	return a->id < b->id ? -1 : a->id > b->id;
}

struct file_target *file_targets_find(struct file_targets *t, uint32_t id)
{
	struct file_target key = { .id = id };

	return t && t->n ? bsearch(&key, t->v, t->n, sizeof *t->v, order_target) : NULL;
}

int file_home_of(struct state_target *d, const Godwit__Ckpt__OpenFile *m)
{
	struct file_targets *t = d->files;

	if (m->kind != KIND(REGULAR))
		return 0;
	for (size_t i = t->n_homes; i > 0; i--)
		if (t->homes[i - 1].dev == m->dev && t->homes[i - 1].ino == m->ino &&
		    strcmp(t->homes[i - 1].m->path, m->path) == 0)
			return (int)i;
	if (!(t->n_homes & (t->n_homes - 1)))
		t->homes = xrealloc(t->homes, sizeof(*t->homes) * (t->n_homes ? 2 * t->n_homes : 1));
	t->homes[t->n_homes++] = (struct file_home) {
		.dev = m->dev, .ino = m->ino, .base = -EBADF, .m = m, .network = m->content && m->content->network
	};
	return (int)t->n_homes;
}

static int check_message(const Godwit__Ckpt__OpenFile *m, struct err *e)
{
	bool named = m->kind == KIND(REGULAR) || m->kind == KIND(DIRECTORY) || m->kind == KIND(DEVICE) ||
		     m->kind == KIND(PATH) || (m->kind == KIND(FIFO) && !m->deleted);

	if (!m->id)
		return err_set(e, -EBADMSG, "a file without an id");
	if (named && !m->deleted && !file_path_is_sane(m->path) && m->kind != KIND(PATH))
		return err_set(e, -EBADMSG, "a file with an impossible name");
	return 0;
}

int file_targets_add(struct state_target *d, const Godwit__Ckpt__OpenFile *m, struct file_target **ret,
		     struct err *e)
{
	struct file_targets *t = file_targets_get(d);
	struct file_target *f = file_targets_find(t, m->id);
	struct file_target fresh = { .m = m, .id = m->id, .fd = -EBADF, .map_fd = -EBADF };
	int r = check_message(m, e);
	size_t at;

	if (r < 0)
		return r;
	if (f) {
		if (f->home && t->homes[f->home - 1].m == f->m)
			t->homes[f->home - 1].m = m;
		f->m = m;
	} else {
		if (t->n >= FILES_MAX)
			return err_set(e, -E2BIG, "too many files");
		fresh.home = (size_t)file_home_of(d, m);
		if (!(t->n & (t->n - 1)))
			t->v = xrealloc(t->v, sizeof(*t->v) * (t->n ? 2 * t->n : 1));
		/* They come ascending, but for the odd one: the insertion moves next to nothing. */
		for (at = t->n; at > 0 && t->v[at - 1].id > m->id; at--)
			;
		memmove(&t->v[at + 1], &t->v[at], (t->n - at) * sizeof *t->v);
		t->v[at] = fresh;
		t->n++;
		f = &t->v[at];
	}
	if (ret)
		*ret = f;
	return 0;
}

int file_reopen(int base, uint64_t flags)
{
	char link[64];
	int fd;

	/* O_TMPFILE contains O_DIRECTORY, which the file that it made is none */
	if ((flags & O_TMPFILE) == O_TMPFILE)
		flags &= ~(uint64_t)O_TMPFILE;
	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", base);
	fd = open(link, (int)((flags & ~(uint64_t)(O_NOFOLLOW | OPEN_FLAGS_MADE_ONCE)) | O_CLOEXEC | O_NOCTTY));
	return fd < 0 ? -errno : fd;
}

/* An end of a pipe as pipe() made it has no O_LARGEFILE, one that was opened by name has: there is one of the
 * former kind for each end. */
int file_take_end(int end, uint64_t flags)
{
	int fd;

	if (flags & LARGEFILE)
		return file_reopen(end, flags & ~(uint64_t)O_DIRECT);
	fd = fcntl(end, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? -errno : fd;
}

static bool is_process_text(const Godwit__Ckpt__OpenFile *m)
{
	return m->fs_type == PROC_SUPER_MAGIC || m->fs_type == SYSFS_MAGIC;
}

static bool is_really_process_text(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC);
}

/* A file that was opened after the description went out: the same name must lead to the same inode. */
static int settle_late(struct state_target *d, struct file_home *h, struct err *e)
{
	_cleanup_fd_ int fd = -EBADF;
	struct stat st;

	if (h->m->deleted)
		return err_set(e, -EAGAIN, "%s was made while the migration was prepared; try again", h->m->path);
	confine_enter(d);
	fd = file_open_path(d->files->root, h->m->path, O_PATH);
	confine_leave(d);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, -EAGAIN,
			       "%s was opened while the migration was prepared, and is not here; try again",
			       h->m->path);
	if (is_process_text(h->m) && !is_really_process_text(fd))
		return err_set(e, -EBADMSG, "%s is no file of /proc or /sys", h->m->path);
	if (!is_process_text(h->m) && !file_is_shared(d->files, h->m, &st) &&
	    (h->m->writes || !file_is_same(h->m, &st, file_fsid(fd))))
		return err_set(e, -EAGAIN,
			       "%s was opened while the migration was prepared, and differs here; try again",
			       h->m->path);
	h->base = steal_fd(&fd);
	h->how = FILE_HOW_SHARED;
	return 0;
}

static int open_regular(struct state_target *d, struct file_target *f, uint64_t flags, struct err *e)
{
	struct file_home *h = f->home ? &d->files->homes[f->home - 1] : NULL;
	int fd, r;

	if (!h)
		return err_set(e, -EBADMSG, "file %u was none with a content in the description", f->id);
	if (h->base < 0) {
		r = settle_late(d, h, e);
		if (r < 0)
			return r;
	}
	if (is_process_text(f->m) && (flags & O_ACCMODE) != O_RDONLY)
		return err_set(e, -EBADMSG, "%s is open for writing", f->m->path);
	confine_enter(d);
	fd = file_reopen(h->base, flags);
	confine_leave(d);
	if (fd == -EINVAL && (flags & O_DIRECT))
		return err_set(e, fd, "%s is open with O_DIRECT, which the file system here does not have",
			       f->m->path);
	return fd < 0 ? err_code(e, fd, "opening %s", f->m->path) : fd;
}

static int open_named(struct state_target *d, const Godwit__Ckpt__OpenFile *m, struct err *e)
{
	_cleanup_fd_ int base = -EBADF;
	struct stat st;
	int fd;

	confine_enter(d);
	base = file_open_path(d->files->root, m->path, O_PATH | (m->kind == KIND(PATH) ? O_NOFOLLOW : 0));
	confine_leave(d);
	if (base < 0)
		return err_code(e, base, "%s", m->path);
	if (fstat(base, &st) < 0 || (st.st_mode & S_IFMT) != (m->mode & S_IFMT))
		return err_set(e, -ENOTSUP, "%s is something else here than at the source", m->path);
	if (m->kind == KIND(DEVICE) && (st.st_rdev != m->rdev || !file_device_moves(st.st_rdev)))
		return err_set(e, -ENODEV, "%s is another device here than at the source", m->path);
	if (m->kind == KIND(PATH))
		return steal_fd(&base);
	confine_enter(d);
	fd = file_reopen(base, m->flags);
	confine_leave(d);
	return fd < 0 ? err_code(e, fd, "opening %s", m->path) : fd;
}

static int open_stream(struct state_target *d, const Godwit__Ckpt__OpenFile *m, struct err *e)
{
	for (size_t i = 0; i < d->n_streams; i++) {
		int fd;

		if (d->streams[i]->index != m->stream)
			continue;
		fd = file_take_end(d->stream_fds[i], m->flags);
		return fd < 0 ? err_code(e, fd, "standard stream %u", m->stream) : fd;
	}
	return err_set(e, -EBADMSG, "the job uses standard stream %u, which it does not have", m->stream);
}

static int open_kind(struct state_target *d, struct file_target *f, struct err *e)
{
	const Godwit__Ckpt__OpenFile *m = f->m;

	switch (m->kind) {
	case KIND(REGULAR):
		return open_regular(d, f, m->flags, e);
	case KIND(DIRECTORY):
	case KIND(DEVICE):
	case KIND(PATH):
		return open_named(d, m, e);
	case KIND(PIPE):
	case KIND(FIFO):
		return pipe_target_open(d, m, e);
	case KIND(STREAM):
		return open_stream(d, m, e);
	case KIND(EVENTFD):
		return eventfd_target_open(m);
	case KIND(FLIP):
		if (!d->open_flip || !m->flip)
			return err_set(e, -EBADMSG, "file %u: a connection to flipd, which nobody can make",
				       m->id);
		return d->open_flip(d->open_flip_ctx, m->flip, e);
	case KIND(NONE):
	case KIND(TTY):
	default:
		return err_set(e, -EBADMSG, "file %u is of a kind that this host does not know", m->id);
	}
}

#define SETTABLE (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)

/* Offset and the flags that may have changed after open(). */
static int set_state(const struct file_target *f, struct err *e)
{
	const Godwit__Ckpt__OpenFile *m = f->m;
	int flags;

	if (m->kind == KIND(PATH))
		return 0;
	flags = fcntl(f->fd, F_GETFL);
	if (((uint64_t)flags ^ m->flags) & SETTABLE &&
	    fcntl(f->fd, F_SETFL, (int)((unsigned)flags & ~SETTABLE) | (int)(m->flags & SETTABLE)) < 0)
		return err_errno(e, "flags of %s", m->path);
	if ((m->kind == KIND(REGULAR) || m->kind == KIND(DIRECTORY) || m->kind == KIND(DEVICE)) && m->pos &&
	    lseek(f->fd, (off_t)m->pos, SEEK_SET) < 0)
		return err_errno(e, "offset of %s", m->path);
	if ((m->kind == KIND(REGULAR) || m->kind == KIND(DIRECTORY)) && !m->pos)
		(void)lseek(f->fd, 0, SEEK_SET);
	return 0;
}

int file_open_target(struct state_target *d, struct file_target *f, struct err *e)
{
	if (f->fd < 0 && !f->there_only && !f->m->mapped_only) {
		f->there_only = f->m->kind == KIND(TTY);
		if (f->there_only)
			return 0;
		f->fd = open_kind(d, f, e);
		if (f->fd < 0)
			return f->fd;
	}
	return f->fd < 0 ? 0 : set_state(f, e);
}

/* Written files of network file systems are opened only when the source has synced them at the freeze: the client
 * here looks at the server when a file is opened, and at no other time. */
static bool must_wait(const struct file_targets *t, const struct file_target *f)
{
	const struct file_home *h = f->home ? &t->homes[f->home - 1] : NULL;

	if (f->m->kind == KIND(FLIP)) /* it is made with what the program has not read */
		return true;
	if (!h || is_process_text(f->m))
		return false;
	if (h->base < 0)
		return true;
	return h->network && t->homes[f->home - 1].how == FILE_HOW_SHARED && f->m->writes;
}

int file_open_all(struct state_target *d, bool late, struct err *e)
{
	struct file_targets *t = d->files;

	for (size_t i = 0; i < d->job->n_files; i++) {
		struct file_target *f = file_targets_find(t, d->job->files[i]->id);
		int r;

		if (!f)
			return err_set(e, -EBADMSG, "file %u came too late", d->job->files[i]->id);
		if (!late && must_wait(t, f))
			continue;
		r = file_open_target(d, f, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int file_target_fd(struct state_target *d, uint32_t id, struct err *e)
{
	struct file_targets *t = file_targets_get(d);
	struct file_target *f = file_targets_find(t, id);
	uint64_t flags;

	if (!f || f->m->kind != KIND(REGULAR))
		return err_set(e, -EBADMSG, "a mapping of file %u, which the job does not have", id);
	if (f->map_fd < 0) {
		flags = f->m->mapped_only && f->m->writes ? O_RDWR : O_RDONLY;
		f->map_fd = open_regular(d, f, flags, e);
	}
	return f->map_fd;
}

void file_target_undo(struct state_target *d)
{
	if (d->files)
		d->files->ready = false;
}

void file_target_done(struct state_target *d)
{
	struct file_targets *t = d->files;

	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++) {
		fd_close(&t->v[i].fd);
		fd_close(&t->v[i].map_fd);
	}
	for (size_t i = 0; i < t->n_homes; i++) {
		struct file_home *h = &t->homes[i];

		if (h->how == FILE_HOW_PLACED && !t->ready && h->path && h->path[1])
			(void)unlinkat(t->root, h->path + 1, 0);
		fd_close(&h->base);
		free(h->path);
	}
	pipe_targets_close(t);
	fd_close(&t->root);
	free(t->homes);
	free(t->v);
	free(t->shared);
	free(t->given);
	free(t);
	d->files = NULL;
}
