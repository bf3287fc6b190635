/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that the job writes must be the same ones at the destination. It finds that out by a probe, as in a
 * migration (state/file_probe.c); those of the checkpoint are long gone, so the image's reader makes new ones,
 * with its user's rights, for as long as it lives. Where it may not, the file counts as another one.
 *
 * It holds a lock on each. One that is not locked was left by a reader that died; who next makes one there removes
 * it, if it is the same user's.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "mover/image.h"

#define NAME ".godwit-probe-image-"
#define NONCE_LEN 32
#define PROBES_MAX 64u

static bool is_written(const Godwit__Ckpt__OpenFile *m)
{
	return m->writes && !m->deleted && m->kind == GODWIT__CKPT__OPEN_FILE__KIND__REGULAR && m->path[0] == '/';
}

/* The file itself is still there, and so is what the image calls its file system. */
static bool is_same_file(const Godwit__Ckpt__OpenFile *m)
{
	struct stat st;

	return lstat(m->path, &st) == 0 && S_ISREG(st.st_mode) && st.st_ino == m->ino;
}

static void sweep_one(int dir, const char *name)
{
	_cleanup_fd_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	    st.st_size <= NONCE_LEN && flock(fd, LOCK_EX | LOCK_NB) == 0)
		(void)unlinkat(dir, name, 0);
}

static void sweep(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, NAME, strlen(NAME)))
			sweep_one(dirfd(dir), entry->d_name);
	(void)closedir(dir);
}

/* 1 it is made  2 another reader takes it for a leftover, locks and removes it  3 it is locked, and has no name */
static int fill(int fd, const uint8_t nonce[NONCE_LEN])
{
	struct stat st;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return -EAGAIN;
	if (fstat(fd, &st) < 0 || !st.st_nlink)
		return -EAGAIN;
	return fd_write_full(fd, nonce, NONCE_LEN);
}

static Godwit__Ckpt__FileProbe *make(const Godwit__Ckpt__OpenFile *m)
{
	uint8_t nonce[NONCE_LEN];
	char hex[17];
	_cleanup_free_ char *dir = xasprintf("%.*s/", (int)(strrchr(m->path, '/') - m->path), m->path);
	_cleanup_free_ char *path = NULL;
	_cleanup_fd_ int fd = -EBADF;
	Godwit__Ckpt__FileProbe *p;

	sweep(dir);
	randombytes_buf(nonce, sizeof nonce);
	path = xasprintf("%s" NAME "%s", dir, sodium_bin2hex(hex, sizeof hex, nonce, 8));
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return NULL;
	if (fill(fd, nonce) < 0) {
		(void)unlink(path);
		return NULL;
	}
	(void)steal_fd(&fd); /* the lock is to end with this process */
	p = xmalloc(sizeof *p);
	godwit__ckpt__file_probe__init(p);
	p->dev = m->dev;
	p->path = steal_ptr(&path);
	p->nonce.len = sizeof nonce;
	p->nonce.data = xmalloc(sizeof nonce);
	memcpy(p->nonce.data, nonce, sizeof nonce);
	return p;
}

static bool has_probe(const Godwit__Ckpt__Requirements *q, uint64_t dev)
{
	for (size_t i = 0; i < q->n_probes; i++)
		if (q->probes[i]->dev == dev)
			return true;
	return false;
}

void image_probes_make(Godwit__Ckpt__Requirements *q)
{
	for (size_t i = 0; i < q->n_probes; i++)
		godwit__ckpt__file_probe__free_unpacked(q->probes[i], NULL);
	free(q->probes);
	q->probes = xcalloc(PROBES_MAX, sizeof(*q->probes));
	q->n_probes = 0;
	for (size_t i = 0; i < q->n_files && q->n_probes < PROBES_MAX; i++) {
		const Godwit__Ckpt__OpenFile *m = q->files[i];
		Godwit__Ckpt__FileProbe *p;

		if (!is_written(m) || has_probe(q, m->dev) || !is_same_file(m))
			continue;
		p = make(m);
		if (p)
			q->probes[q->n_probes++] = p;
	}
}

void image_probes_remove(Godwit__Ckpt__Requirements *q)
{
	for (size_t i = 0; i < q->n_probes; i++)
		(void)unlink(q->probes[i]->path);
	godwit__ckpt__requirements__free_unpacked(q, NULL);
}
