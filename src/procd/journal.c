/* SPDX-License-Identifier: Apache-2.0 */
#include "procd/journal.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdbool.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

typedef Godwit__Journal__Record record;

struct frame { /* host order: the file never leaves the host */
	uint64_t len, checksum;
};

#define JOURNAL_MAX (256u << 20)
#define JOURNAL_SHRINK_AT (1u << 20)

static uint64_t checksum(const uint8_t *bytes, size_t len)
{
	uint8_t hash[crypto_generichash_BYTES_MIN];
	uint64_t sum;

	(void)crypto_generichash(hash, sizeof hash, bytes, len, NULL, 0);
	memcpy(&sum, hash, sizeof sum);
	return sum;
}

static bool is_closed(const record *r)
{
	return r->kind == GODWIT__JOURNAL__RECORD__KIND__FORGOTTEN ||
	       r->kind == GODWIT__JOURNAL__RECORD__KIND__DELETED ||
	       r->kind == GODWIT__JOURNAL__RECORD__KIND__REVOKED;
}

/* Replaces what is known about the migration. */
static void remember(struct journal *j, record *r)
{
	for (size_t i = 0; i < j->n_records; i++) {
		if (strcmp(j->records[i]->migration, r->migration))
			continue;
		godwit__journal__record__free_unpacked(j->records[i], NULL);
		j->records[i] = r;
		return;
	}
	j->records = xrealloc(j->records, (j->n_records + 1) * sizeof(record *));
	j->records[j->n_records++] = r;
}

static void drop_closed(struct journal *j)
{
	size_t kept = 0;

	for (size_t i = 0; i < j->n_records; i++) {
		if (is_closed(j->records[i]))
			godwit__journal__record__free_unpacked(j->records[i], NULL);
		else
			j->records[kept++] = j->records[i];
	}
	j->n_records = kept;
}

/* protobuf-c keeps fields that it does not know and writes them again, not always so that it can read them: what
 * comes behind such a record would be lost with the next start. */
static bool can_be_read_again(const record *r)
{
	size_t len = godwit__journal__record__get_packed_size(r);
	_cleanup_free_ uint8_t *bytes = xmalloc(len + 1);
	record *again;

	(void)godwit__journal__record__pack(r, bytes);
	again = godwit__journal__record__unpack(NULL, len, bytes);
	if (again)
		godwit__journal__record__free_unpacked(again, NULL);
	return again != NULL;
}

static void parse(struct journal *j, const uint8_t *bytes, size_t len)
{
	size_t at = 0;

	while (len - at >= sizeof(struct frame)) {
		struct frame f;
		record *r;

		memcpy(&f, bytes + at, sizeof f);
		if (f.len > JOURNAL_RECORD_MAX || f.len > len - at - sizeof f ||
		    checksum(bytes + at + sizeof f, f.len) != f.checksum)
			break;
		r = godwit__journal__record__unpack(NULL, f.len, bytes + at + sizeof f);
		if (!r || !can_be_read_again(r)) {
			if (r)
				godwit__journal__record__free_unpacked(r, NULL);
			break;
		}
		remember(j, r);
		at += sizeof f + f.len;
	}
	if (at < len)
		log_warn("journal: %zu bytes at its end are no record; they are cut off", len - at);
}

static int write_record(int fd, const record *r)
{
	size_t len = godwit__journal__record__get_packed_size(r);
	_cleanup_free_ uint8_t *bytes = NULL;
	struct frame f;

	if (len > JOURNAL_RECORD_MAX)
		return -EMSGSIZE;
	bytes = xmalloc(sizeof f + len);
	(void)godwit__journal__record__pack(r, bytes + sizeof f);
	f.len = len;
	f.checksum = checksum(bytes + sizeof f, len);
	memcpy(bytes, &f, sizeof f);
	return fd_write_full(fd, bytes, sizeof f + len);
}

static int read_all(struct journal *j, struct err *e)
{
	_cleanup_free_ char *bytes = NULL;
	ssize_t len = fd_slurp(AT_FDCWD, j->path, JOURNAL_MAX, &bytes);

	if (len < 0 && len != -ENOENT)
		return err_code(e, (int)len, "cannot read %s", j->path);
	if (len > 0)
		parse(j, (const uint8_t *)bytes, (size_t)len);
	drop_closed(j);
	return 0;
}

/* Writes what is of interest into a new file and puts it in the old one's place. */
static int compact(struct journal *j, struct err *e)
{
	_cleanup_free_ char *fresh = xasprintf("%s.new", j->path);
	_cleanup_fd_ int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	int r = 0;

	if (fd < 0)
		return err_errno(e, "cannot create %s", fresh);
	for (size_t i = 0; i < j->n_records && !r; i++)
		r = write_record(fd, j->records[i]);
	if (r < 0)
		return err_code(e, r, "cannot write %s", fresh);
	if (rename(fresh, j->path) < 0)
		return err_errno(e, "cannot replace %s", j->path);
	j->fd = steal_fd(&fd);
	return 0;
}

int journal_open(struct journal *j, const char *path, struct err *e)
{
	int r;

	*j = (struct journal) { .fd = -EBADF, .path = xstrdup(path) };
	r = read_all(j, e);
	return r < 0 ? r : compact(j, e);
}

/* What is closed is of no use; a host with a busy job would fill its memory with it. */
static void shrink(struct journal *j)
{
	struct journal now = { .fd = -EBADF, .path = j->path };
	struct err e = { 0 };

	if (lseek(j->fd, 0, SEEK_END) < (off_t)JOURNAL_SHRINK_AT)
		return;
	if (read_all(&now, &e) < 0 || compact(&now, &e) < 0) {
		log_warn("journal: cannot be made smaller: %s", err_text(&e));
	} else {
		fd_close(&j->fd);
		j->fd = steal_fd(&now.fd);
	}
	journal_forget_found(&now);
	(void)malloc_trim(0); /* or the pages in which all of it stood for a moment would stay with us */
}

int journal_append(struct journal *j, const record *r, struct err *e)
{
	off_t before = lseek(j->fd, 0, SEEK_END);
	int failed = write_record(j->fd, r);

	if (!failed) {
		for (size_t i = 0; i < j->n_records; i++)
			if (!strcmp(j->records[i]->migration, r->migration))
				j->records[i]->kind = r->kind;
		return 0;
	}
	/* Half a record would hide all later ones. */
	if (before >= 0 && ftruncate(j->fd, before) < 0)
		log_error("journal: cannot cut off half a record");
	return err_code(e, failed, "cannot write the journal");
}

int journal_note(struct journal *j, Godwit__Journal__Record__Kind kind, const char *migration, const char *job,
		 struct err *e)
{
	record r = GODWIT__JOURNAL__RECORD__INIT;
	int failed;

	r.kind = kind;
	r.migration = (char *)(uintptr_t)migration;
	r.job = (char *)(uintptr_t)job;
	failed = journal_append(j, &r, e);
	if (!failed && is_closed(&r))
		shrink(j);
	return failed;
}

void journal_forget_found(struct journal *j)
{
	for (size_t i = 0; i < j->n_records; i++)
		godwit__journal__record__free_unpacked(j->records[i], NULL);
	free(j->records);
	j->records = NULL;
	j->n_records = 0;
}

void journal_close(struct journal *j)
{
	journal_forget_found(j);
	fd_close(&j->fd);
	free(j->path);
	j->path = NULL;
}
