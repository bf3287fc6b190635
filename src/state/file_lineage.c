/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Written files that are carried (--carry) leave their former selves behind. When the job comes back, the name it
 * wants is taken, by a file that differs, and such a file is never overwritten; but this one is the job's own
 * older version. So each carried file has a lineage, a random number that travels with it, and whenever godwit
 * leaves or places such a file somewhere it notes there, below /run, which lineage the file of that name is of and
 * exactly which state it left it in. Only a file that is still in that state, untouched by anybody, may be
 * replaced by a descendant.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/file_table.h"
#include "state/file_target.h"

#define RECORDS "/run/godwit/carried"

struct lineage_record {
	uint8_t lineage[FILE_LINEAGE_LEN];
	uint64_t dev, ino;
	int64_t size, mtime_ns, ctime_ns;
};

static char *record_path(const char *name)
{
	uint8_t hash[16];
	char hex[2 * sizeof hash + 1];

	(void)crypto_generichash(hash, sizeof hash, (const uint8_t *)name, strlen(name), NULL, 0);
	return xasprintf(RECORDS "/%s", sodium_bin2hex(hex, sizeof hex, hash, sizeof hash));
}

static void record_fill(struct lineage_record *r, const uint8_t *lineage, const struct stat *st)
{
	memset(r, 0, sizeof *r);
	memcpy(r->lineage, lineage, sizeof r->lineage);
	r->dev = st->st_dev;
	r->ino = st->st_ino;
	r->size = st->st_size;
	r->mtime_ns = file_time_ns(&st->st_mtim);
	r->ctime_ns = file_time_ns(&st->st_ctim);
}

static bool record_read(const char *name, struct lineage_record *r)
{
	_cleanup_free_ char *path = record_path(name);
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd >= 0 && fd_read_full(fd, r, sizeof *r) == 0;
}

void file_lineage_note(const Godwit__Ckpt__OpenFile *m, const struct stat *st)
{
	_cleanup_free_ char *path = record_path(m->path), *fresh = xasprintf("%s.new", path);
	_cleanup_fd_ int fd = -EBADF;
	struct lineage_record r;

	if (!m->content || m->content->lineage.len != sizeof r.lineage)
		return;
	record_fill(&r, m->content->lineage.data, st);
	(void)mkdir("/run/godwit", 0755);
	(void)mkdir(RECORDS, 0700);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	/* Without the record the file is merely a stranger when the job comes back. */
	if (fd >= 0 && fd_write_full(fd, &r, sizeof r) == 0)
		(void)rename(fresh, path);
}

bool file_lineage_matches(const Godwit__Ckpt__OpenFile *m, const struct stat *st)
{
	struct lineage_record r, now;

	if (!m->content || m->content->lineage.len != sizeof r.lineage || !record_read(m->path, &r))
		return false;
	record_fill(&now, m->content->lineage.data, st);
	return memcmp(&r, &now, sizeof r) == 0;
}

void file_lineage_give(struct state_source *s)
{
	struct file_table *t = s->files;

	for (size_t i = 0; s->carry && i < t->n_entries; i++) {
		Godwit__Ckpt__OpenFile *m = t->entries[i]->m;
		struct lineage_record r;

		if (!t->entries[i]->seen || t->entries[i]->why || !m->writes || m->deleted || !m->content ||
		    m->content->lineage.len || m->kind != GODWIT__CKPT__OPEN_FILE__KIND__REGULAR)
			continue;
		if (!record_read(m->path, &r) || r.dev != m->dev || r.ino != m->ino)
			randombytes_buf(r.lineage, sizeof r.lineage);
		m->content->lineage.data = xmalloc(sizeof r.lineage);
		m->content->lineage.len = sizeof r.lineage;
		memcpy(m->content->lineage.data, r.lineage, sizeof r.lineage);
	}
}
