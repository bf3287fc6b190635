/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "image/check_job.h"

#define KIND(k) GODWIT__CKPT__OPEN_FILE__KIND__##k
#define LOCKS_MAX 65536u
#define PIPE_BYTES_MAX (1u << 30)
#define PACKET_MAX 4096u
#define SIGNALS_MAX 64
#define STREAMS_MAX 3u

static int bad(struct err *e, const char *what)
{
	return err_set(e, -EBADMSG, "%s", what);
}

static int by_value(const void *pa, const void *pb)
{
	const uint64_t *a = pa, *b = pb;

	return *a < *b ? -1 : *a > *b;
}

bool numbers_repeat(uint64_t *v, size_t n)
{
	if (n)
		qsort(v, n, sizeof *v, by_value);
	for (size_t i = 1; i < n; i++)
		if (v[i] == v[i - 1])
			return true;
	return false;
}

bool name_is_straight(const char *path)
{
	size_t len = strlen(path);

	if (path[0] != '/' || len >= PATH_MAX)
		return false;
	for (const char *at = path; *at; at += strcspn(at, "/")) {
		size_t part;

		at++;
		part = strcspn(at, "/");
		if (len > 1 &&
		    (!part || (part == 1 && at[0] == '.') || (part == 2 && at[0] == '.' && at[1] == '.')))
			return false;
	}
	return true;
}

/* --- open files --- */

/* What fstat() says of such a file; 0: anything. */
static mode_t type_of(Godwit__Ckpt__OpenFile__Kind kind, mode_t mode)
{
	switch (kind) {
	case KIND(REGULAR):
		return S_IFREG;
	case KIND(DIRECTORY):
		return S_IFDIR;
	case KIND(DEVICE):
		return S_ISBLK(mode) ? S_IFBLK : S_IFCHR;
	case KIND(PIPE):
	case KIND(FIFO):
		return S_IFIFO;
	default:
		return 0;
	}
}

static int check_name(const Godwit__Ckpt__OpenFile *m, struct err *e)
{
	bool named = m->kind == KIND(REGULAR) || m->kind == KIND(DIRECTORY) || m->kind == KIND(DEVICE);

	if (strlen(m->path) >= PATH_MAX + 16u)
		return bad(e, "a name that is too long");
	if (named && !m->deleted && !name_is_straight(m->path))
		return bad(e, "a name that is not absolute, or takes a detour");
	if (m->path[0] == '/' && !m->deleted && !name_is_straight(m->path))
		return bad(e, "a name that takes a detour");
	return 0;
}

static int check_locks(const Godwit__Ckpt__OpenFile *m, struct err *e)
{
	if (m->n_locks > LOCKS_MAX)
		return bad(e, "too many locks");
	for (size_t i = 0; i < m->n_locks; i++) {
		const Godwit__Ckpt__FileLock *l = m->locks[i];

		if (l->kind == GODWIT__CKPT__FILE_LOCK__KIND__NONE || l->start > INT64_MAX ||
		    l->len > INT64_MAX - l->start)
			return bad(e, "an impossible lock");
	}
	return 0;
}

int file_check(const Godwit__Ckpt__OpenFile *m, struct err *e)
{
	mode_t type = type_of(m->kind, m->mode);
	int err;

	if (!m->id)
		return bad(e, "a file without a number");
	if (m->kind == KIND(NONE))
		return bad(e, "a file of no kind");
	if (type && m->mode && (m->mode & S_IFMT) != type)
		return bad(e, "a file whose mode is that of another kind");
	if (m->mode & ~(uint32_t)(S_IFMT | 07777))
		return bad(e, "a file with an impossible mode");
	if (m->pos > INT64_MAX || m->size > INT64_MAX)
		return bad(e, "a file with a negative position or size");
	if (m->kind == KIND(STREAM) && m->stream >= STREAMS_MAX)
		return bad(e, "a standard stream that no job has");
	if (m->kind == KIND(EVENTFD) && m->counter == UINT64_MAX)
		return bad(e, "an impossible counter");
	if (m->owner && (m->owner->signal < 0 || m->owner->signal > SIGNALS_MAX))
		return bad(e, "a signal that does not exist");
	err = check_name(m, e);
	return err ? err : check_locks(m, e);
}

static int check_all(const Godwit__Ckpt__Job *job, struct err *e)
{
	_cleanup_free_ uint64_t *ids = xcalloc(job->n_files + 1, sizeof *ids);

	for (size_t i = 0; i < job->n_files; i++) {
		int err = file_check(job->files[i], e);

		if (err < 0)
			return err_wrap(e, "file %u", job->files[i]->id);
		ids[i] = job->files[i]->id;
	}
	return numbers_repeat(ids, job->n_files) ? bad(e, "two files with the same number") : 0;
}

/* --- pipes --- */

static int check_pipe(const Godwit__Ckpt__Pipe *m, struct err *e)
{
	uint64_t sum = 0;

	if (!m->id)
		return bad(e, "a pipe without a number");
	if (m->size > PIPE_BYTES_MAX || (m->size && m->content.len > m->size))
		return bad(e, "a pipe that holds more than it can");
	for (size_t i = 0; i < m->n_packet_sizes; i++) {
		if (!m->packet_sizes[i] || m->packet_sizes[i] > PACKET_MAX)
			return bad(e, "an impossible packet");
		sum += m->packet_sizes[i];
	}
	if (m->n_packet_sizes && sum != m->content.len)
		return bad(e, "packets that do not add up");
	if (m->path[0] && !name_is_straight(m->path))
		return bad(e, "a FIFO whose name takes a detour");
	return 0;
}

int files_check(const Godwit__Ckpt__Job *job, struct err *e)
{
	_cleanup_free_ uint64_t *ids = NULL;

	if (job->n_files > CHECK_FILES_MAX || job->n_pipes > CHECK_FILES_MAX)
		return bad(e, "too many files");
	ids = xcalloc(job->n_pipes + 1, sizeof *ids);
	for (size_t i = 0; i < job->n_pipes; i++) {
		int err = check_pipe(job->pipes[i], e);

		if (err < 0)
			return err_wrap(e, "pipe %u", job->pipes[i]->id);
		ids[i] = job->pipes[i]->id;
	}
	return numbers_repeat(ids, job->n_pipes) ? bad(e, "two pipes with the same number") : check_all(job, e);
}
