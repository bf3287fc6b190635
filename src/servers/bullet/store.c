/* SPDX-License-Identifier: Apache-2.0 */
#include "servers/bullet/bullet.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#define HEADER_LEN 32u
#define NAME_LEN 16u

static const char magic[8] = "GWBULLET";

static void name_of(uint64_t object, char name[static NAME_LEN + 1])
{
	(void)snprintf(name, NAME_LEN + 1, "%016" PRIx64, object);
}

struct file *store_find(struct bullet *b, uint64_t object)
{
	for (struct hnode *h = htab_first(&b->files, hash_u64(object)); h; h = htab_next(h)) {
		struct file *f = container_of(h, struct file, node);

		if (f->object == object)
			return f;
	}
	return NULL;
}

static struct file *add(struct bullet *b, uint64_t object)
{
	struct file *f = xcalloc(1, sizeof *f);

	f->object = object;
	f->lives = LIVES;
	htab_add(&b->files, &f->node, hash_u64(object));
	return f;
}

/* --- the directory, at the start --- */

static void load_one(struct server *s, struct bullet *b, const char *name)
{
	_cleanup_fd_ int fd = openat(s->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	uint8_t header[HEADER_LEN];
	struct file *f;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    pread(fd, header, sizeof header, 0) != (ssize_t)sizeof header ||
	    memcmp(header, magic, sizeof magic) != 0) {
		log_warn("%s/%s is not a file of this server", s->dir, name);
		return;
	}
	f = add(b, strtoull(name, NULL, 16));
	memcpy(f->secret, header + sizeof magic, GW_CHECK_LEN);
	f->size = (uint64_t)st.st_size - HEADER_LEN;
	b->last = MAX(b->last, f->object);
}

int store_open(struct server *s, struct bullet *b, struct err *e)
{
	int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *d;

	if (!dir)
		return err_errno(e, "%s", s->dir);
	while ((d = readdir(dir)) && b->files.n < FILES_MAX) {
		size_t digits = strspn(d->d_name, "0123456789abcdef");

		if (digits == NAME_LEN && !d->d_name[digits])
			load_one(s, b, d->d_name);
		else if (digits == NAME_LEN && !strcmp(d->d_name + digits, ".new"))
			(void)unlinkat(s->dir_fd, d->d_name, 0); /* of a server that died */
	}
	(void)closedir(dir);
	return 0;
}

/* --- files --- */

struct file *store_new(struct bullet *b)
{
	struct file *f;

	if (b->n_fresh >= FRESH_MAX || b->files.n >= FILES_MAX)
		return NULL;
	f = add(b, ++b->last);
	gw_secret_random(f->secret);
	f->fresh = true;
	f->touched_us = now_us();
	b->n_fresh++;
	return f;
}

static void forget_bytes(struct bullet *b, struct file *f)
{
	if (!f->fresh)
		return;
	b->n_fresh--;
	b->fresh_bytes -= f->size;
	free(f->bytes);
	f->bytes = NULL;
	f->fresh = false;
}

void store_drop(struct server *s, struct bullet *b, struct file *f)
{
	char name[NAME_LEN + 1];

	if (!f->fresh) {
		name_of(f->object, name);
		(void)unlinkat(s->dir_fd, name, 0);
	}
	forget_bytes(b, f);
	htab_del(&b->files, &f->node);
	free(f);
}

bool store_resize(struct bullet *b, struct file *f, uint64_t size)
{
	if (size > GW_B_MAX || b->fresh_bytes - f->size + size > FRESH_BYTES_MAX)
		return false;
	f->bytes = xrealloc(f->bytes, size + 1);
	if (size > f->size)
		memset(f->bytes + f->size, 0, size - f->size);
	b->fresh_bytes += size - f->size;
	f->size = size;
	return true;
}

int store_commit(struct server *s, struct bullet *b, struct file *f, struct err *e)
{
	_cleanup_free_ uint8_t *all = xmalloc(HEADER_LEN + f->size);
	char name[NAME_LEN + 1];
	int r;

	memcpy(all, magic, sizeof magic);
	memcpy(all + sizeof magic, f->secret, GW_CHECK_LEN);
	memset(all + sizeof magic + GW_CHECK_LEN, 0, HEADER_LEN - sizeof magic - GW_CHECK_LEN);
	if (f->size)
		memcpy(all + HEADER_LEN, f->bytes, f->size);
	name_of(f->object, name);
	r = server_write(s, name, all, HEADER_LEN + f->size, e);
	if (!r)
		forget_bytes(b, f);
	return r;
}

ssize_t store_read(struct server *s, const struct file *f, uint64_t offset, void *buf, size_t size)
{
	char name[NAME_LEN + 1];
	_cleanup_fd_ int fd = -EBADF;
	ssize_t n;

	if (offset >= f->size)
		return 0;
	size = MIN(size, f->size - offset);
	if (f->fresh) {
		memcpy(buf, f->bytes + offset, size);
		return (ssize_t)size;
	}
	name_of(f->object, name);
	fd = openat(s->dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	n = fd < 0 ? -1 : pread(fd, buf, size, (off_t)(HEADER_LEN + offset));
	return n < 0 ? -errno : n;
}

void store_sweep(struct server *s, struct bullet *b)
{
	uint64_t now = now_us();
	struct hnode *node, *next;

	if (!b->n_fresh)
		return;
	for (size_t i = 0; (node = htab_walk(&b->files, &i, &next));) {
		struct file *f = container_of(node, struct file, node);

		if (f->fresh && now - f->touched_us > FRESH_US)
			store_drop(s, b, f);
	}
}

void store_age(struct server *s, struct bullet *b)
{
	struct hnode *node, *next;

	for (size_t i = 0; (node = htab_walk(&b->files, &i, &next));) {
		struct file *f = container_of(node, struct file, node);

		if (!f->fresh && !--f->lives)
			store_drop(s, b, f);
	}
}
