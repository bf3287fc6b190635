/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probes for shared file systems.
 *
 * Whether both hosts write to the same file cannot be told from any number: clones of a disk have the same ids,
 * and so have their files. So beside one written file of each file system a small file with a random name and
 * content is made, and the destination looks for it. It lives from check to the destination's answer. A mover that
 * dies in between leaves it; so each has a record below /run that its mover holds locked, and whoever next finds
 * one unlocked removes both.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/file.h"
#include "state/file_table.h"

#define RECORDS "/run/godwit/probes"
#define PROBE_NAME ".godwit-probe-"

/* --- records --- */

/* Locked until closed. -1: there is no place for it, and the probe goes without. */
static int record_make(const char *name, const char *path)
{
	_cleanup_free_ char *record = xasprintf(RECORDS "/%s", name);
	int fd;

	(void)mkdir("/run/godwit", 0755);
	(void)mkdir(RECORDS, 0700);
	fd = open(record, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || write(fd, path, strlen(path)) != (ssize_t)strlen(path)) {
		(void)unlink(record);
		(void)close(fd);
		return -1;
	}
	return fd;
}

static void record_drop(const char *name, int *fd)
{
	_cleanup_free_ char *record = xasprintf(RECORDS "/%s", name);

	if (*fd >= 0)
		(void)unlink(record);
	fd_close(fd);
}

/* The name of the probe is the record's own, so a garbled record removes nothing else. */
static void sweep_one(int dir, const char *name)
{
	_cleanup_fd_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char path[FILE_PATH_MAX + 1];
	const char *slash;
	ssize_t n;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	n = read(fd, path, sizeof path - 1);
	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash && strcmp(slash + 1, name) == 0)
		(void)unlink(path);
	(void)unlinkat(dir, name, 0);
}

static void sweep(void)
{
	DIR *dir = opendir(RECORDS);
	struct dirent *d;

	if (!dir)
		return;
	while ((d = readdir(dir)))
		if (strncmp(d->d_name, PROBE_NAME, strlen(PROBE_NAME)) == 0)
			sweep_one(dirfd(dir), d->d_name);
	(void)closedir(dir);
}

/* --- probes --- */

static bool probe_exists(const struct file_table *t, uint64_t dev)
{
	for (size_t i = 0; i < t->n_probes; i++)
		if (t->probes[i].dev == dev)
			return true;
	return false;
}

/* Opens the directory a file is in, below the root of the job's mount namespace; no link leads out of it. */
static int open_parent(const struct file_table *t, const char *path, char **ret_dir)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = NULL;
	int fd;

	if (!slash || path[0] != '/')
		return -EINVAL;
	dir = xasprintf("%.*s", (int)(slash - path), path);
	fd = openat(t->root, dir[0] ? dir + 1 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_dir = steal_ptr(&dir);
	return fd;
}

static void probe_require(struct state_source *s, const struct file_probe *p)
{
	Godwit__Ckpt__Requirements *q = s->requirements;
	Godwit__Ckpt__FileProbe *m = xmalloc(sizeof *m);

	godwit__ckpt__file_probe__init(m);
	m->dev = p->dev;
	m->path = xstrdup(p->path);
	m->nonce.data = xmalloc(sizeof p->nonce);
	m->nonce.len = sizeof p->nonce;
	memcpy(m->nonce.data, p->nonce, sizeof p->nonce);
	q->probes = xrealloc(q->probes, (q->n_probes + 1) * sizeof(*q->probes));
	q->probes[q->n_probes++] = m;
}

static int probe_add(struct state_source *s, const Godwit__Ckpt__OpenFile *m)
{
	struct file_table *t = s->files;
	_cleanup_free_ char *dir_name = NULL;
	_cleanup_fd_ int dir = open_parent(t, m->path, &dir_name);
	_cleanup_fd_ int fd = -EBADF;
	struct file_probe p = { .dev = m->dev, .record = -EBADF };
	char hex[17];

	if (dir < 0)
		return dir;
	randombytes_buf(p.nonce, sizeof p.nonce);
	(void)snprintf(p.name, sizeof p.name, PROBE_NAME "%s", sodium_bin2hex(hex, sizeof hex, p.nonce, 8));
	p.path = xasprintf("%s/%s", dir_name, p.name);
	p.record = record_make(p.name, p.path);
	fd = openat(dir, p.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fd_write_full(fd, p.nonce, sizeof p.nonce) < 0 || (m->content->network && fsync(fd) < 0)) {
		if (fd >= 0)
			(void)unlinkat(dir, p.name, 0);
		record_drop(p.name, &p.record);
		free(p.path);
		return -EIO;
	}
	p.dir = steal_fd(&dir);
	t->probes = xrealloc(t->probes, (t->n_probes + 1) * sizeof *t->probes);
	t->probes[t->n_probes++] = p;
	probe_require(s, &p);
	return 0;
}

int file_probe_make(struct state_source *s, struct err *e)
{
	struct file_table *t = s->files;

	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium does not start");
	sweep();
	for (size_t i = 0; i < t->n_entries; i++) {
		const Godwit__Ckpt__OpenFile *m = t->entries[i]->m;

		if (!t->entries[i]->seen || t->entries[i]->why || !m->writes || m->deleted ||
		    m->kind != GODWIT__CKPT__OPEN_FILE__KIND__REGULAR || probe_exists(t, m->dev))
			continue;
		/* Where no probe can be made (a read-only directory) the next written file of that file system may
		 * serve. */
		(void)probe_add(s, m);
	}
	return 0;
}

void file_probe_done(struct state_source *s)
{
	struct file_table *t = s->files;

	for (size_t i = 0; t && i < t->n_probes; i++) {
		if (t->probes[i].dir >= 0)
			(void)unlinkat(t->probes[i].dir, t->probes[i].name, 0);
		fd_close(&t->probes[i].dir);
		record_drop(t->probes[i].name, &t->probes[i].record);
	}
}
