/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in a file: hashes with a memory.
 *
 * Size and time say nothing about another host's file, so contents are compared, by BLAKE2b. Hashing a few hundred
 * libraries takes a second of work that is the same at every migration; results are kept in a file below /run
 * (which dies with the boot) under everything that changes when a file's content does on this very host: device,
 * inode, size, mtime, ctime.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/file.h"
#include "state/file_table.h"
#include "state/file_target.h"

#define HASH_CACHE_DIR "/run/godwit"
#define HASH_CACHE HASH_CACHE_DIR "/hashes"
#define HASH_CACHE_MAX (1 << 20)
#define HASH_SETTLED_NS 2000000000 /* younger files may change again within one tick of their timestamps */

struct hash_record {
	uint64_t dev, ino;
	int64_t size, mtime_ns, ctime_ns;
	uint8_t hash[FILE_HASH_LEN];
};

int64_t file_time_ns(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

bool file_fs_is_network(uint32_t fs_type)
{
	switch (fs_type) {
	case NFS_SUPER_MAGIC:
	case SMB_SUPER_MAGIC:
	case CIFS_SUPER_MAGIC:
	case SMB2_SUPER_MAGIC:
	case AFS_SUPER_MAGIC:
	case AFS_FS_MAGIC:
	case CODA_SUPER_MAGIC:
	case CEPH_SUPER_MAGIC:
	case V9FS_MAGIC:
	case FUSE_SUPER_MAGIC:
	case OCFS2_SUPER_MAGIC:
	case 0x01161970: /* gfs2 */
	case 0x0bd00bd0: /* lustre */
	case 0x19830326: /* beegfs */
	case 0x47504653: /* gpfs */
		return true;
	default:
		return false;
	}
}

static void record_key(struct hash_record *r, const struct stat *st)
{
	memset(r, 0, sizeof *r);
	r->dev = st->st_dev;
	r->ino = st->st_ino;
	r->size = st->st_size;
	r->mtime_ns = file_time_ns(&st->st_mtim);
	r->ctime_ns = file_time_ns(&st->st_ctim);
}

/* Only root's own file is believed. */
static int cache_open(int flags)
{
	int fd = open(HASH_CACHE, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd >= 0 &&
	    (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))) {
		(void)close(fd);
		return -EPERM;
	}
	return fd < 0 ? -errno : fd;
}

static bool cache_find(struct hash_record *want)
{
	_cleanup_fd_ int fd = cache_open(O_RDONLY);
	struct hash_record part[64];
	ssize_t n;

	if (fd < 0)
		return false;
	while ((n = read(fd, part, sizeof part)) >= (ssize_t)sizeof *part)
		for (size_t i = 0; i < (size_t)n / sizeof *part; i++)
			if (memcmp(&part[i], want, offsetof(struct hash_record, hash)) == 0) {
				memcpy(want->hash, part[i].hash, sizeof want->hash);
				return true;
			}
	return false;
}

/* A record is one append; the cache may lose records, never hold a wrong one. */
static void cache_add(const struct hash_record *r)
{
	_cleanup_fd_ int fd = -EBADF;
	struct timespec now;
	struct stat st;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (file_time_ns(&now) - MAX(r->ctime_ns, r->mtime_ns) < HASH_SETTLED_NS)
		return;
	(void)mkdir(HASH_CACHE_DIR, 0755);
	fd = cache_open(O_RDWR | O_CREAT | O_APPEND);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0)
		return;
	if (st.st_size > HASH_CACHE_MAX || st.st_size % (off_t)sizeof *r)
		(void)!ftruncate(fd, 0);
	(void)!write(fd, r, sizeof *r);
}

int file_hash(int fd, const struct stat *st, uint8_t hash[static FILE_HASH_LEN], struct err *e)
{
	_cleanup_free_ uint8_t *buf = NULL;
	crypto_generichash_state state;
	struct hash_record r;
	off_t at = 0;

	record_key(&r, st);
	if (cache_find(&r)) {
		memcpy(hash, r.hash, FILE_HASH_LEN);
		return 0;
	}
	buf = xmalloc(256 * 1024);
	(void)crypto_generichash_init(&state, NULL, 0, FILE_HASH_LEN);
	while (at < st->st_size) {
		ssize_t n = pread(fd, buf, 256 * 1024, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "reading a file to compare it");
		if (!n)
			break;
		(void)crypto_generichash_update(&state, buf, (unsigned long long)n);
		at += n;
	}
	(void)crypto_generichash_final(&state, r.hash, FILE_HASH_LEN);
	memcpy(hash, r.hash, FILE_HASH_LEN);
	if (at == st->st_size)
		cache_add(&r);
	return 0;
}

/* --- written files of network file systems --- */

/* The destination's client sees what the server has, so everything must have got there before it opens the file.
 */
int file_sync(struct state_source *s, struct err *e)
{
	struct file_table *t = s->files;

	for (size_t i = 0; i < t->n_entries; i++) {
		struct file_entry *f = t->entries[i];
		_cleanup_fd_ int fd = -EBADF;

		if (!f->seen || f->why || !f->m->writes || f->m->deleted || !f->m->content ||
		    !f->m->content->network)
			continue;
		fd = file_entry_open(s, f, e);
		if (fd < 0)
			return fd;
		if (fdatasync(fd) < 0)
			return err_errno(e, "pid %d fd %d: syncing %s", s->vpid, f->fd, f->m->path);
	}
	return 0;
}
