/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File locks.
 *
 * Theory of operation. At the destination locks are taken before READY, while the source's copy still holds its
 * own. On a file that both hosts share that cannot fail for a lock to read with, since nobody can hold a
 * contradicting one; a lock to write with cannot be taken twice, nor be released first without anybody slipping in
 * between. And even a lock to read with hinders the job itself, for the few ms that the source's copy outlives the
 * commit, if it wants to write then. So the job is stopped when it holds none (most are short: a database's
 * transaction); if it never lets go, those to read with come along and those to write with are refused. On a file
 * that the destination has for itself all locks are simply taken anew.
 *
 * fdinfo tells the locks of one descriptor. /proc/locks is one read for the whole host, but every reader of it
 * waits for an RCU grace period (percpu_down_write of file_rwsem), 8 to 17 ms: only with many descriptors is that
 * worth it in the freeze.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/file_table.h"
#include "state/file_target.h"

#define LOCK_KIND(k) GODWIT__CKPT__FILE_LOCK__KIND__##k
#define LOCKS_MAX 10000
#define ASK_EACH_MAX 256

int file_fdinfo_parse(const char *text, struct fdinfo *ret)
{
	memset(ret, 0, sizeof *ret);
	for (const char *line = text; line && *line;) {
		const char *next = strchr(line, '\n');

		if (strncmp(line, "flags:", 6) == 0)
			ret->flags = (unsigned)strtoul(line + 6, NULL, 8);
		else if (strncmp(line, "eventfd-count:", 14) == 0) {
			ret->eventfd = true;
			ret->eventfd_count = strtoull(line + 14, NULL, 16);
		} else if (strncmp(line, "eventfd-semaphore:", 18) == 0)
			ret->semaphore = strtoul(line + 18, NULL, 10) != 0;
		line = next ? next + 1 : NULL;
	}
	return 0;
}

static int slurp_fdinfo(int proc, int fd, char **ret)
{
	char path[32];
	ssize_t n;

	(void)snprintf(path, sizeof path, "fdinfo/%d", fd);
	n = fd_slurp(proc, path, 1 << 20, ret);
	return n < 0 ? (int)n : 0;
}

int file_fdinfo_read(int proc, int fd, struct fdinfo *ret)
{
	_cleanup_free_ char *text = NULL;
	int r = slurp_fdinfo(proc, fd, &text);

	return r < 0 ? r : file_fdinfo_parse(text, ret);
}

/* "1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF"; somebody who waits has "->" after the number. */
int file_lock_parse(const char *line, struct lock_seen *ret, uint64_t *ret_ino)
{
	char kind[16], how[16], end[24];
	unsigned long long ino, start;
	size_t len = strcspn(line, "\n");
	unsigned long major_nr, minor_nr;

	memset(ret, 0, sizeof *ret);
	if (sscanf(line, "%*u: %15s %*s %15s %*d %lx:%lx:%llu %llu %23s", kind, how, &major_nr, &minor_nr, &ino,
		   &start, end) != 7)
		return -EBADMSG;
	ret->write = strcmp(how, "WRITE") == 0;
	ret->kind = strcmp(kind, "POSIX") == 0	  ? LOCK_KIND(POSIX)
		    : strcmp(kind, "OFDLCK") == 0 ? LOCK_KIND(OPEN_FILE)
		    : strcmp(kind, "FLOCK") == 0  ? LOCK_KIND(FLOCK)
						  : LOCK_KIND(NONE);
	ret->start = start;
	if (strcmp(end, "EOF") != 0)
		ret->len = strtoull(end, NULL, 10) - start + 1;
	(void)snprintf(ret->words, sizeof ret->words, "%.*s", (int)MIN(len, sizeof ret->words - 1), line);
	*ret_ino = ino;
	return 0;
}

/* --- source --- */

static void clear_locks(Godwit__Ckpt__OpenFile *m)
{
	for (size_t i = 0; i < m->n_locks; i++)
		godwit__ckpt__file_lock__free_unpacked(m->locks[i], NULL);
	free(m->locks);
	m->locks = NULL;
	m->n_locks = 0;
}

static bool has_lock(const Godwit__Ckpt__OpenFile *m, const struct lock_seen *l)
{
	for (size_t i = 0; i < m->n_locks; i++)
		if (m->locks[i]->kind == l->kind && m->locks[i]->write == l->write &&
		    m->locks[i]->start == l->start && m->locks[i]->len == l->len)
			return true;
	return false;
}

/* A POSIX lock belongs to the process and shows at each of its descriptors of the inode; it is set by one that
 * may. */
static struct file_entry *lock_entry(const struct file_table *t, const struct fd_seen *seen,
				     const struct lock_seen *l)
{
	if (l->kind != LOCK_KIND(POSIX))
		return seen->entry;
	for (size_t i = 0; i < t->n_fds; i++) {
		unsigned mode = (unsigned)t->fds[i].flags & O_ACCMODE;

		if (t->fds[i].st.st_dev == seen->st.st_dev && t->fds[i].st.st_ino == seen->st.st_ino &&
		    !(t->fds[i].flags & O_PATH) && mode != (l->write ? O_RDONLY : O_WRONLY))
			return t->fds[i].entry;
	}
	return seen->entry;
}

static void add_lock(struct file_entry *f, const struct lock_seen *l)
{
	Godwit__Ckpt__FileLock *m;

	if (l->kind == LOCK_KIND(NONE)) {
		file_refuse(f, "let the program release it", "it holds a lease, which cannot move yet (%s)",
			    l->words);
		return;
	}
	if (f->m->n_locks >= LOCKS_MAX || has_lock(f->m, l))
		return;
	m = xmalloc(sizeof *m);
	godwit__ckpt__file_lock__init(m);
	m->kind = l->kind;
	m->write = l->write;
	m->start = l->start;
	m->len = l->len;
	f->m->locks = xrealloc(f->m->locks, (f->m->n_locks + 1) * sizeof(*f->m->locks));
	f->m->locks[f->m->n_locks++] = m;
}

static int collect_of(struct state_source *s, struct fd_seen *seen)
{
	_cleanup_free_ char *text = NULL;
	int r = slurp_fdinfo(s->proc, seen->fd, &text);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (const char *at = text; (at = strstr(at, "lock:\t")); at++) {
		struct lock_seen l;
		uint64_t ino;

		if (file_lock_parse(at + 6, &l, &ino) == 0)
			add_lock(lock_entry(s->files, seen, &l), &l);
	}
	return 0;
}

/* Every inode of the host with a lock on it. */
static int locked_inodes(uint64_t **ret, size_t *ret_n)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = fd_slurp(-1, "/proc/locks", 16 << 20, &text);
	uint64_t *list = NULL;
	size_t count = 0;

	if (n < 0)
		return (int)n;
	for (const char *line = text; line && *line;) {
		const char *next = strchr(line, '\n');
		struct lock_seen l;
		uint64_t ino;

		if (file_lock_parse(line, &l, &ino) == 0) {
			if (!(count & (count - 1)))
				list = xrealloc(list, sizeof *list * (count ? 2 * count : 1));
			list[count++] = ino;
		}
		line = next ? next + 1 : NULL;
	}
	*ret = list;
	*ret_n = count;
	return 0;
}

int file_locks_collect(struct state_source *s, struct err *e)
{
	struct file_table *t = s->files;
	_cleanup_free_ uint64_t *inodes = NULL;
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < t->n_entries; i++)
		clear_locks(t->entries[i]->m);
	for (size_t i = 0; t->n_fds <= ASK_EACH_MAX && i < t->n_fds && r == 0; i++)
		r = collect_of(s, &t->fds[i]);
	if (t->n_fds <= ASK_EACH_MAX)
		return r < 0 ? err_code(e, r, "file locks") : 0;
	r = locked_inodes(&inodes, &n);
	for (size_t i = 0; i < t->n_fds && r == 0; i++)
		for (size_t k = 0; k < n && r == 0; k++)
			if (t->fds[i].st.st_ino == inodes[k]) {
				r = collect_of(s, &t->fds[i]);
				break;
			}
	return r < 0 ? err_code(e, r, "file locks") : 0;
}

/* What the destination shares is what it has not asked for. */
static bool blocks(const struct file_entry *f, bool reading_too)
{
	for (size_t i = 0; i < f->m->n_locks; i++)
		if ((f->m->locks[i]->write || reading_too) && !f->served && !f->m->deleted)
			return true;
	return false;
}

int file_may_freeze(struct state_source *s, bool reading_too, struct err *e)
{
	struct file_table *t = s->files;
	int r;

	if (!t)
		return 0;
	r = file_locks_collect(s, e);
	for (size_t i = 0; r == 0 && i < t->n_entries; i++)
		if (t->entries[i]->seen && blocks(t->entries[i], reading_too))
			r = err_set(e, -EAGAIN,
				    "pid %d fd %d: %s is locked; a lock on a file that both hosts share cannot "
				    "move. Try again "
				    "when the program has released it",
				    s->vpid, t->entries[i]->fd, t->entries[i]->m->path);
	return r;
}

/* Does the host's list of locks show one of the job's that is in the way? */
static bool any_blocking(const struct state_source *s, const struct file_table *t, bool reading_too)
{
	_cleanup_free_ char *text = NULL;

	if (fd_slurp(-1, "/proc/locks", 16 << 20, &text) < 0)
		return true;
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		struct lock_seen l;
		uint64_t ino;
		int owner;

		line += *line == '\n';
		if (file_lock_parse(line, &l, &ino) < 0 || (!l.write && !reading_too))
			continue;
		if (l.kind == LOCK_KIND(POSIX) && sscanf(line, "%*u: %*s %*s %*s %d", &owner) == 1 &&
		    owner != s->pid)
			continue;
		for (size_t i = 0; i < t->n_entries; i++)
			if (t->entries[i]->m->ino == ino && !t->entries[i]->served)
				return true;
	}
	return false;
}

bool file_wait_unlocked(struct state_source *s, bool reading_too, uint64_t until_us)
{
	const struct timespec pause = { .tv_nsec = 10000 };
	int slack = prctl(PR_GET_TIMERSLACK);
	bool held;

	/* The moment between two transactions is short, so look often. */
	(void)prctl(PR_SET_TIMERSLACK, 1);
	while ((held = s->files && any_blocking(s, s->files, reading_too)) && now_us() < until_us)
		(void)nanosleep(&pause, NULL);
	(void)prctl(PR_SET_TIMERSLACK, slack);
	return !held;
}

/* --- destination --- */

static int take_open_file_lock(const struct file_target *f, const Godwit__Ckpt__FileLock *m)
{
	struct flock l = { .l_type = m->write ? F_WRLCK : F_RDLCK,
			   .l_start = (off_t)m->start,
			   .l_len = (off_t)m->len };

	if (m->kind == LOCK_KIND(FLOCK))
		return flock(f->fd, (m->write ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0 ? -errno : 0;
	return fcntl(f->fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
}

static int queue_posix_lock(struct state_target *d, const struct file_target *f, const Godwit__Ckpt__FileLock *m,
			    struct batch *b, struct err *e)
{
	struct flock l = { .l_type = m->write ? F_WRLCK : F_RDLCK,
			   .l_start = (off_t)m->start,
			   .l_len = (off_t)m->len };
	const Godwit__Ckpt__Process *p = d->process;
	int r = state_room(d, NULL, b, 1, sizeof l, e);

	for (size_t i = 0; r == 0 && i < p->n_descriptors; i++)
		if (p->descriptors[i]->file == f->id) {
			(void)batch_call(b, "another process has locked a file of the job", SYS_fcntl,
					 bval(p->descriptors[i]->fd), bval(F_SETLK),
					 bdata(batch_put(b, &l, sizeof l)));
			return b->error;
		}
	return r;
}

static int take_locks_of(struct state_target *d, const struct file_target *f, struct batch *b, struct err *e)
{
	const struct file_home *h = f->home ? &d->files->homes[f->home - 1] : NULL;

	for (size_t i = 0; i < f->m->n_locks; i++) {
		const Godwit__Ckpt__FileLock *m = f->m->locks[i];
		int r;

		if (m->write && h && (h->how == FILE_HOW_SHARED || h->how == FILE_HOW_NONE))
			return err_set(e, -EAGAIN,
				       "%s is locked for writing; try again when the program has released it",
				       f->m->path);
		r = m->kind == LOCK_KIND(POSIX) ? queue_posix_lock(d, f, m, b, e) : take_open_file_lock(f, m);
		if (r < 0)
			return m->kind == LOCK_KIND(POSIX) ? r : err_code(e, r, "locking %s", f->m->path);
	}
	return 0;
}

int file_locks_take(struct state_target *d, struct batch *b, struct err *e)
{
	for (size_t i = 0; i < d->files->n; i++) {
		const struct file_target *f = &d->files->v[i];
		int r = f->fd >= 0 ? take_locks_of(d, f, b, e) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}
