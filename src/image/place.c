/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an image goes. All is written into a directory beside the final place, is synced, and takes that place by
 * one rename, or by changing places with the image that is there.
 *
 * A writer that dies leaves its directory. It holds a lock on it that dies with it, so whoever next writes an
 *image beside it removes what is his own and nobody holds:
 *
 *	1 A makes a directory  2 B finds it, not locked yet, and locks it  3 A cannot lock it, and makes another
 *	1 A makes a directory  2 B locks and removes it  3 A locks what has no name any more, sees that, makes
 *another
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/private.h"

#define TEMPORARY ".godwit-image-"
#define TRIES 16u

static int open_parent(struct place *p, struct err *e)
{
	char *slash;
	_cleanup_free_ char *parent = NULL;
	size_t len = strlen(p->path);

	while (len > 1 && p->path[len - 1] == '/')
		p->path[--len] = '\0';
	slash = strrchr(p->path, '/');
	parent = slash ? strndup(p->path, MAX((size_t)(slash - p->path), (size_t)1)) : xstrdup(".");
	p->last = slash ? slash + 1 : p->path;
	if (!*p->last || !strcmp(p->last, ".") || !strcmp(p->last, ".."))
		return err_set(e, -EINVAL, "%s: not a name for an image", p->path);
	p->parent = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return p->parent < 0 ? err_errno(e, "cannot open %s", parent) : 0;
}

/* Only an image is replaced. */
static int check_place(struct place *p, struct err *e)
{
	struct image *old = NULL;
	struct stat st;
	int err;

	if (fstatat(p->parent, p->last, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(e, "cannot look at %s", p->path);
	if (!p->replace)
		return err_set(e, -EEXIST, "%s exists", p->path);
	err = image_open(p->path, &old, e);
	image_close(old);
	return err < 0 ? err_wrap(e, "not replaced") : 0;
}

/* --- what others left --- */

static void remove_tree(int parent, const char *name, int dir)
{
	int fd = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!d) {
		fd_close(&fd);
		return;
	}
	while ((entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			(void)unlinkat(dir, entry->d_name, 0);
	(void)closedir(d);
	(void)unlinkat(parent, name, AT_REMOVEDIR);
}

static void sweep_one(int parent, const char *name)
{
	_cleanup_fd_ int dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (dir >= 0 && fstat(dir, &st) == 0 && st.st_uid == geteuid() && flock(dir, LOCK_EX | LOCK_NB) == 0)
		remove_tree(parent, name, dir);
}

static void sweep(int parent)
{
	int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!d) {
		fd_close(&fd);
		return;
	}
	while ((entry = readdir(d)))
		if (!strncmp(entry->d_name, TEMPORARY, strlen(TEMPORARY)))
			sweep_one(parent, entry->d_name);
	(void)closedir(d);
}

/* --- our own --- */

/* -EAGAIN: somebody took it for a leftover. */
static int lock_temporary(struct place *p)
{
	struct stat st;

	p->dir = openat(p->parent, p->temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (p->dir < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	/* A file system without locks has no sweepers either: they fail at the same. */
	if (flock(p->dir, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return -EAGAIN;
	return fstat(p->dir, &st) == 0 && st.st_nlink ? 0 : -EAGAIN;
}

static int make_temporary(struct place *p, struct err *e)
{
	int err = -EEXIST;

	for (unsigned tries = 0; tries < TRIES && (err == -EEXIST || err == -EAGAIN); tries++) {
		(void)snprintf(p->temporary, sizeof p->temporary, TEMPORARY "%08x", randombytes_random());
		fd_close(&p->dir);
		err = mkdirat(p->parent, p->temporary, 0700) < 0 ? -errno : lock_temporary(p);
	}
	if (!err)
		return 0;
	p->temporary[0] = '\0';
	return err_code(e, err, "cannot make a directory beside %s", p->path);
}

int place_open(struct place *p, const char *path, bool replace, struct err *e)
{
	int err;

	*p = (struct place) { .path = xstrdup(path), .replace = replace, .parent = -EBADF, .dir = -EBADF };
	err = open_parent(p, e);
	if (!err)
		err = check_place(p, e);
	if (err < 0)
		return err;
	sweep(p->parent);
	return make_temporary(p, e);
}

static void remove_old(struct place *p)
{
	_cleanup_fd_ int old = openat(p->parent, p->temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (old >= 0)
		remove_tree(p->parent, p->temporary, old);
}

int place_take(struct place *p, struct err *e)
{
	unsigned how = p->replace ? RENAME_EXCHANGE : RENAME_NOREPLACE;
	long r;

	if (fsync(p->dir) < 0)
		return err_errno(e, "cannot sync %s", p->path);
	r = syscall(SYS_renameat2, p->parent, p->temporary, p->parent, p->last, how);
	if (r < 0 && how == RENAME_EXCHANGE && errno == ENOENT)
		r = syscall(SYS_renameat2, p->parent, p->temporary, p->parent, p->last, RENAME_NOREPLACE);
	else if (r == 0 && how == RENAME_EXCHANGE)
		remove_old(p);
	if (r < 0)
		return err_errno(e, "cannot put the image at %s", p->path);
	p->temporary[0] = '\0';
	return fsync(p->parent) < 0 ? err_errno(e, "cannot sync the directory of %s", p->path) : 0;
}

void place_done(struct place *p)
{
	if (p->temporary[0] && p->dir >= 0)
		remove_tree(p->parent, p->temporary, p->dir);
	fd_close(&p->dir);
	fd_close(&p->parent);
	free(p->path);
	p->path = NULL;
}
