/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the destination says to the job's files before anything exists. Only what can never be put right is a
 * problem: a file that is only read can always be carried.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/confine.h"
#include "state/file_table.h"
#include "state/file_target.h"

#define KIND(k) GODWIT__CKPT__OPEN_FILE__KIND__##k

bool file_path_is_sane(const char *path)
{
	return path && path[0] == '/' && strlen(path) <= FILE_PATH_MAX && !strstr(path, "/../");
}

int file_open_path(int root, const char *path, uint64_t flags)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	long fd;

	if (!file_path_is_sane(path))
		return -EINVAL;
	fd = syscall(SYS_openat2, root, path, &how, sizeof how);
	return fd < 0 ? -errno : (int)fd;
}

uint64_t file_fsid(int fd)
{
	struct statfs fs;
	uint64_t id = 0;

	if (fstatfs(fd, &fs) == 0)
		memcpy(&id, &fs.f_fsid, sizeof fs.f_fsid);
	return id;
}

bool file_is_same(const Godwit__Ckpt__OpenFile *m, const struct stat *st, uint64_t fsid)
{
	const Godwit__Ckpt__FileContent *c = m->content;

	/* A zero id is what file systems without one say. ctime cannot be set, so it tells clones of a disk apart
	 * once they differ. */
	return c && c->fsid && c->fsid == fsid && m->ino == st->st_ino && m->size == (uint64_t)st->st_size &&
	       c->mtime_ns == file_time_ns(&st->st_mtim) && c->ctime_ns == file_time_ns(&st->st_ctim);
}

bool file_is_shared(const struct file_targets *t, const Godwit__Ckpt__OpenFile *m, const struct stat *here)
{
	for (size_t i = 0; i < t->n_shared; i++)
		if (t->shared[i].source == m->dev && t->shared[i].here == here->st_dev)
			return m->ino == here->st_ino;
	return false;
}

/* On a file system that both hosts share, a name that leads nowhere, or to a new inode, has changed since the
 * source looked: the program makes and removes files (a database its journals), and what counts is what is there
 * at the freeze. */
bool file_is_volatile(const struct file_targets *t, const Godwit__Ckpt__OpenFile *m, const struct stat *here)
{
	for (size_t i = 0; i < t->n_shared; i++)
		if (t->shared[i].source == m->dev && (!here || t->shared[i].here == here->st_dev))
			return !here || m->ino != here->st_ino;
	return false;
}

static void look_for_probe(struct file_targets *t, const Godwit__Ckpt__FileProbe *p)
{
	_cleanup_fd_ int fd = file_open_path(t->root, p->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
	uint8_t found[64];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || p->nonce.len > sizeof found ||
	    p->nonce.len < 16)
		return;
	if (fd_read_full(fd, found, p->nonce.len) < 0 || sodium_memcmp(found, p->nonce.data, p->nonce.len) != 0)
		return;
	t->shared = xrealloc(t->shared, (t->n_shared + 1) * sizeof *t->shared);
	t->shared[t->n_shared++] = (struct shared_dev) { p->dev, st.st_dev };
}

static void file_problem(struct state_target *d, const Godwit__Ckpt__OpenFile *m, const char *help,
			 const char *reason)
{
	_cleanup_free_ char *object = xasprintf("file %s", m->path);

	problem_add(d->problems, 0, -1, object, help, "%s", reason);
}

static bool same_hash(int fd, const struct stat *st, const Godwit__Ckpt__OpenFile *m)
{
	uint8_t hash[FILE_HASH_LEN];

	return m->content && m->content->hash.len == sizeof hash && (uint64_t)st->st_size == m->size &&
	       file_hash(fd, st, hash, NULL) == 0 && memcmp(hash, m->content->hash.data, sizeof hash) == 0;
}

static void admit_carried(struct state_target *d, const Godwit__Ckpt__OpenFile *m, int here, const struct stat *st)
{
	_cleanup_free_ char *parent = xstrdup(m->path);
	_cleanup_fd_ int dir = -EBADF;

	if (here >= 0) {
		if (!file_lineage_matches(m, st) && !same_hash(here, st, m))
			file_problem(
				d, m, "move the destination's file away, or put the file on a shared file system",
				"it is written by the job, and another file with that name is on the destination");
		return;
	}
	*strrchr(parent, '/') = '\0';
	dir = file_open_path(d->files->root, parent[0] ? parent : "/", O_PATH | O_DIRECTORY);
	if (dir < 0 && !problem_scarce(d->problems, dir, "cannot open the directory of %s", m->path))
		file_problem(d, m, "make the directory on the destination",
			     "it is to be carried, but its directory is not on the destination");
}

static void admit_locks(struct state_target *d, const Godwit__Ckpt__OpenFile *m)
{
	for (size_t i = 0; i < m->n_locks; i++)
		if (m->locks[i]->write) {
			file_problem(d, m, "try again when the program has released it",
				     "it is locked for writing, and a lock on a file that both hosts share cannot "
				     "move yet");
			return;
		}
}

static void admit_regular(struct state_target *d, const Godwit__Ckpt__OpenFile *m)
{
	_cleanup_fd_ int fd = -EBADF;
	struct stat st = { 0 };

	if (m->deleted || !m->writes)
		return;
	if (!file_path_is_sane(m->path)) {
		file_problem(d, m, "report it", "the source describes a file with an impossible name");
		return;
	}
	fd = file_open_path(d->files->root, m->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		file_problem(d, m, "move it away", "something else with that name is on the destination");
		return;
	}
	if (fd >= 0 && file_is_shared(d->files, m, &st)) {
		admit_locks(d, m);
		return;
	}
	if (file_is_volatile(d->files, m, fd >= 0 ? &st : NULL))
		return;
	if (d->carry)
		admit_carried(d, m, fd, &st);
	else
		file_problem(d, m, "put it on a shared file system, or migrate with --carry",
			     "it is written by the job, and the destination does not see the same file");
}

static void admit_named(struct state_target *d, const Godwit__Ckpt__OpenFile *m)
{
	_cleanup_fd_ int fd = -EBADF;
	struct stat st;

	if (m->kind == KIND(PATH) && (m->fs_type == PROC_SUPER_MAGIC || m->deleted))
		return;
	if (m->kind == KIND(DIRECTORY) && m->fs_type == PROC_SUPER_MAGIC)
		return;
	fd = file_open_path(d->files->root, m->path, O_PATH | (m->kind == KIND(PATH) ? O_NOFOLLOW : 0));
	if (fd == -ENOENT && m->kind == KIND(FIFO))
		return;
	if (fd < 0 && problem_scarce(d->problems, fd, "cannot open %s", m->path))
		return;
	if (fd < 0 || fstat(fd, &st) < 0 || (st.st_mode & S_IFMT) != (m->mode & S_IFMT))
		file_problem(d, m, "make it on the destination, or close it",
			     fd < 0 ? "the destination has nothing with that name"
				    : "the destination has something else with that name");
	else if (m->kind == KIND(DEVICE) && st.st_rdev != m->rdev)
		file_problem(d, m, "repair the destination's /dev", "the destination's device has another number");
	else if (m->kind == KIND(DIRECTORY) && m->pos && !file_is_shared(d->files, m, &st) &&
		 !file_is_same(m, &st, file_fsid(fd)))
		file_problem(d, m, "try again when the program has read the directory",
			     "a directory is being read, and the destination's is another one");
}

static void admit_directory(struct state_target *d, const char *what, const char *path)
{
	_cleanup_fd_ int fd = -EBADF;
	_cleanup_free_ char *object = NULL;

	if (!path || !path[0] || strncmp(path, "/proc/", 6) == 0)
		return;
	fd = file_open_path(d->files->root, path, O_PATH | O_DIRECTORY);
	if (fd >= 0 || problem_scarce(d->problems, fd, "cannot open directory %s", path))
		return;
	object = xasprintf("directory %s", path);
	problem_add(d->problems, 0, -1, object, "make it on the destination",
		    "the job's %s is not on the destination", what);
}

int file_admit(struct state_target *d, const Godwit__Ckpt__Requirements *q, struct err *e)
{
	struct file_targets *t = file_targets_get(d);
	struct rlimit limit;

	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium does not start");
	confine_enter(d);
	for (size_t i = 0; i < q->n_probes; i++)
		look_for_probe(t, q->probes[i]);
	for (size_t i = 0; i < q->n_files; i++) {
		const Godwit__Ckpt__OpenFile *m = q->files[i];

		if (m->kind == KIND(REGULAR) && m->fs_type != PROC_SUPER_MAGIC && m->fs_type != SYSFS_MAGIC)
			admit_regular(d, m);
		else if (m->kind == KIND(DIRECTORY) || m->kind == KIND(DEVICE) || m->kind == KIND(PATH) ||
			 (m->kind == KIND(FIFO) && !m->deleted))
			admit_named(d, m);
	}
	admit_directory(d, "current directory", q->cwd);
	admit_directory(d, "root directory", q->root);
	confine_leave(d);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && q->fds > limit.rlim_max)
		problem_add(d->problems, 0, -1, "limit of open files",
			    "raise the hard limit of procd on the destination",
			    "the job has descriptor %u open, the destination allows %llu", q->fds - 1,
			    (unsigned long long)limit.rlim_max);
	return 0;
}
