/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation.
 *
 * The job may have dup'ed a descriptor or inherited two of them from one open(): they share an offset and flags,
 * and must do so at the destination. Which do is found with kcmp(KCMP_FILE), which orders open file descriptions,
 * so that n descriptors sort in n log n comparisons; since sharers have the same inode, only descriptors of one
 * inode are compared at all, and the usual job needs none.
 *
 * Everything is read from outside, through a short-lived copy of each descriptor (pidfd_getfd): 2 us apiece.
 * Copies are never kept while the job runs: a copy of the last write end of a pipe would delay an end of file, a
 * copy of a locked file its unlocking. So nothing seen while the job runs is more than a forecast, and
 * file_table_look() is simply done once more at the freeze: only what differs from the forecast is classified
 * again.
 */
#include "state/file_table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/file.h"

static int open_root(const struct state_source *s)
{
	char link[8], path[64];
	ssize_t n = readlinkat(s->proc, "root", link, sizeof link);
	_cleanup_free_ char *status = NULL;
	const char *at;
	int fd;

	/* Names are those of the mount namespace's root, where the parent (the shepherd) is when the job has
	 * chroot()ed. */
	if (n == 1 && link[0] == '/')
		return openat(s->proc, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (state_slurp(s->problems, s->proc, "status", 65536, &status) > 0 && (at = strstr(status, "\nPPid:"))) {
		(void)snprintf(path, sizeof path, "/proc/%d/root", atoi(at + 6));
		fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 || problem_scarce(s->problems, -errno, "cannot open %s", path))
			return fd;
	}
	return open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

struct file_table *file_table_get(struct state_source *s)
{
	if (!s->files) {
		s->files = xcalloc(1, sizeof *s->files);
		s->files->root = open_root(s);
		if (s->files->root < 0)
			(void)problem_scarce(s->problems, -errno, "cannot open the job's root directory");
		s->files->ask_first = -1;
	}
	return s->files;
}

static void entry_free(struct file_entry *f)
{
	godwit__ckpt__open_file__free_unpacked(f->m, NULL);
	fd_close(&f->here);
	free(f->why);
	free(f->help);
	free(f);
}

void file_table_free(struct file_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n_entries; i++)
		entry_free(t->entries[i]);
	for (size_t i = 0; i < t->n_pipes; i++)
		free(t->pipes[i].path);
	for (size_t i = 0; i < t->n_probes; i++) {
		free(t->probes[i].path);
		fd_close(&t->probes[i].dir);
	}
	fd_close(&t->root);
	free(t->entries);
	free(t->fds);
	free(t->pipes);
	free(t->probes);
	free(t);
}

struct file_entry *file_table_add(struct file_table *t)
{
	struct file_entry *f = xcalloc(1, sizeof *f);

	f->m = xmalloc(sizeof *f->m);
	godwit__ckpt__open_file__init(f->m);
	f->m->id = (uint32_t)t->n_entries + 1;
	f->fd = -1;
	f->here = -EBADF;
	if (!(t->n_entries & (t->n_entries - 1)))
		t->entries = xrealloc(t->entries, sizeof(*t->entries) * (t->n_entries ? 2 * t->n_entries : 1));
	t->entries[t->n_entries++] = f;
	return f;
}

static int list_fds(const struct state_source *s, struct fd_seen **ret, size_t *ret_n, struct err *e)
{
	_cleanup_free_ struct fd_seen *list = NULL;
	size_t n = 0, room = 0;
	int fd = openat(s->proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *d;
	DIR *dir;

	if (fd < 0)
		return err_errno(e, "descriptors of process %d", s->vpid);
	dir = fdopendir(fd);
	if (!dir) {
		(void)close(fd);
		return err_set(e, -ENOMEM, "out of memory");
	}
	while ((d = readdir(dir))) {
		if (d->d_name[0] < '0' || d->d_name[0] > '9')
			continue;
		if (n == room)
			list = xrealloc(list, (room = room ? 2 * room : 64) * sizeof *list);
		memset(&list[n], 0, sizeof *list);
		list[n++].fd = atoi(d->d_name);
		if (n > FILE_FDS_MAX)
			break;
	}
	(void)closedir(dir);
	if (n > FILE_FDS_MAX)
		return err_set(e, -E2BIG, "more than %d open descriptors", FILE_FDS_MAX);
	*ret = steal_ptr(&list);
	*ret_n = n;
	return 0;
}

static int seen_getfd(const struct state_source *s, int fd)
{
	int here = (int)syscall(SYS_pidfd_getfd, s->pidfd, fd, 0);

	return here < 0 ? -errno : here;
}

static int seen_read(const struct state_source *s, struct fd_seen *seen)
{
	_cleanup_fd_ int here = seen_getfd(s, seen->fd);
	struct f_owner_ex owner = { 0 };
	off_t pos;

	if (here < 0)
		return here;
	if (fstat(here, &seen->st) < 0)
		return -errno;
	seen->flags = fcntl(here, F_GETFL);
	if (seen->flags < 0)
		return -errno;
	pos = lseek(here, 0, SEEK_CUR);
	seen->pos = pos < 0 ? 0 : pos;
	seen->signal = fcntl(here, F_GETSIG);
	if (fcntl(here, F_GETOWN_EX, &owner) == 0 && owner.pid) {
		seen->owner_type = owner.type;
		seen->owner_pid = owner.pid;
		(void)fcntl(here, 17 /* F_GETOWNER_UIDS */, seen->owner_ids);
	}
	return 0;
}

/* Reads all of the list; what vanished meanwhile (the job runs) is dropped. */
static int seen_read_all(const struct state_source *s, struct fd_seen *list, size_t *n, bool stopped,
			 struct err *e)
{
	size_t kept = 0;

	for (size_t i = 0; i < *n; i++) {
		int r = seen_read(s, &list[i]);

		if (r == -EBADF && !stopped)
			continue;
		if (r < 0)
			return err_code(e, r, "pid %d fd %d", s->vpid, list[i].fd);
		list[kept++] = list[i];
	}
	*n = kept;
	return 0;
}

static int order_seen(const void *pa, const void *pb, void *ctx)
{
	const struct fd_seen *a = pa, *b = pb;
	const pid_t *pid = ctx;
	long r;

	if (a->st.st_dev != b->st.st_dev)
		return a->st.st_dev < b->st.st_dev ? -1 : 1;
	if (a->st.st_ino != b->st.st_ino)
		return a->st.st_ino < b->st.st_ino ? -1 : 1;
	/* 0: the same, 1: a is less, 2: a is greater, 3 or an error (it was closed): no order, so any */
	r = syscall(SYS_kcmp, *pid, *pid, KCMP_FILE, a->fd, b->fd);
	if (r == 1)
		return -1;
	if (r == 2)
		return 1;
	return a->fd < b->fd ? -1 : a->fd > b->fd;
}

static int order_fd(const void *pa, const void *pb)
{
	const struct fd_seen *a = pa, *b = pb;

	return a->fd < b->fd ? -1 : a->fd > b->fd;
}

static int order_rank(const void *pa, const void *pb)
{
	const struct fd_seen *a = pa, *b = pb;

	if (a->st.st_dev != b->st.st_dev)
		return a->st.st_dev < b->st.st_dev ? -1 : 1;
	if (a->st.st_ino != b->st.st_ino)
		return a->st.st_ino < b->st.st_ino ? -1 : 1;
	return a->rank < b->rank ? -1 : a->rank > b->rank;
}

/* Compares neighbours, which says who is the same as whom. False if they are not in the kernel's order. */
static bool mark_same(const struct state_source *s, struct fd_seen *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		long r;

		list[i].same = false;
		if (!i || list[i].st.st_dev != list[i - 1].st.st_dev || list[i].st.st_ino != list[i - 1].st.st_ino)
			continue;
		r = syscall(SYS_kcmp, s->pid, s->pid, KCMP_FILE, list[i - 1].fd, list[i].fd);
		if (r != 0 && r != 1)
			return false;
		list[i].same = r == 0;
	}
	return true;
}

/* At the freeze the order is, most likely, what it was at the last look, and n comparisons show that. */
static void sort_seen(struct state_source *s, struct fd_seen *list, size_t n)
{
	const struct file_table *t = s->files;

	for (size_t i = 0; i < n; i++) {
		const struct fd_seen *old =
			t->n_fds ? bsearch(&list[i], t->fds, t->n_fds, sizeof *t->fds, order_fd) : NULL;

		list[i].rank = old ? old->rank : UINT32_MAX;
	}
	if (n)
		qsort(list, n, sizeof *list, order_rank);
	if (!mark_same(s, list, n)) {
		qsort_r(list, n, sizeof *list, order_seen, &s->pid);
		(void)mark_same(s, list, n);
	}
	for (size_t i = 0; i < n; i++)
		list[i].rank = (uint32_t)i;
}

/* The entry that stood at one of these numbers, if it still says the truth about them. */
static struct file_entry *known_entry(const struct file_table *t, const struct fd_seen *group, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct fd_seen *old =
			t->n_fds ? bsearch(&group[i], t->fds, t->n_fds, sizeof *t->fds, order_fd) : NULL;
		struct file_entry *f = old ? old->entry : NULL;

		if (!f || f->seen || f->why)
			continue;
		/* All anonymous inodes are one: what it is, only a fresh classification says. */
		if (!(group->st.st_mode & S_IFMT) || old->st.st_mode != group->st.st_mode)
			continue;
		if (old->st.st_dev == group->st.st_dev && old->st.st_ino == group->st.st_ino &&
		    old->st.st_rdev == group->st.st_rdev &&
		    ((old->flags ^ group->flags) & (O_ACCMODE | O_PATH)) == 0 &&
		    !!old->st.st_nlink == !!group->st.st_nlink)
			return f;
	}
	return NULL;
}

/* An anonymous inode keeps its id if it is still of the kind it was. */
static struct file_entry *reuse_entry(const struct file_table *t, const struct fd_seen *seen,
				      const Godwit__Ckpt__OpenFile *m)
{
	const struct fd_seen *old = t->n_fds ? bsearch(seen, t->fds, t->n_fds, sizeof *t->fds, order_fd) : NULL;
	struct file_entry *f = old ? old->entry : NULL;

	if (!f || f->seen || f->m->kind != m->kind || m->kind != GODWIT__CKPT__OPEN_FILE__KIND__EVENTFD)
		return NULL;
	return f->m->semaphore == m->semaphore ? f : NULL;
}

static int new_entry(struct state_source *s, const struct fd_seen *seen, struct file_entry **ret, struct err *e)
{
	struct file_table *t = s->files;
	_cleanup_fd_ int here = seen_getfd(s, seen->fd);
	struct file_entry *f = NULL, *old;
	int r;

	if (here < 0)
		return here;
	f = file_table_add(t);
	f->fd = seen->fd;
	r = file_classify(s, seen, here, f, e);
	if (r < 0)
		return r;
	old = f->why ? NULL : reuse_entry(t, seen, f->m);
	if (old) {
		old->m->counter = f->m->counter;
		entry_free(f);
		t->n_entries--;
		f = old;
	}
	*ret = f;
	return 0;
}

/* A process, thread or group of the job by the job's own number; 0 if it is not of the job. */
static int owner_as_job(const struct state_source *s, const struct fd_seen *seen)
{
	char path[48];
	_cleanup_free_ char *status = NULL;
	const char *at;
	int own = 0, next, used;

	if (seen->owner_pid == s->pid)
		return s->vpid;
	(void)snprintf(path, sizeof path, "task/%d/status", seen->owner_pid);
	if (state_slurp(s->problems, s->proc, path, 65536, &status) <= 0 || !(at = strstr(status, "\nNSpid:")))
		return 0;
	/* "NSpid: outer inner innermost" */
	for (at += 7; sscanf(at, " %d%n", &next, &used) == 1 && used > 0 && at[used]; at += used) {
		own = next;
		if (at[used] == '\n')
			break;
	}
	return own;
}

static void update_owner(struct state_source *s, struct file_entry *f, const struct fd_seen *seen)
{
	Godwit__Ckpt__Owner *o = f->m->owner;
	int pid = seen->owner_pid ? owner_as_job(s, seen) : 0;

	if (seen->owner_pid && !pid && (seen->flags & O_ASYNC) && !f->why)
		file_refuse(f, "let the program own the descriptor (F_SETOWN)",
			    "its signals go to process %d, which is not in the job", seen->owner_pid);
	if (!pid && seen->signal <= 0) {
		if (o)
			godwit__ckpt__owner__free_unpacked(o, NULL);
		f->m->owner = NULL;
		return;
	}
	if (!o) {
		o = xmalloc(sizeof *o);
		godwit__ckpt__owner__init(o);
		f->m->owner = o;
	}
	o->type = seen->owner_type;
	o->pid = pid;
	o->signal = seen->signal > 0 ? seen->signal : 0;
	o->uid = seen->owner_ids[0];
	o->euid = seen->owner_ids[1];
}

static void entry_update(struct state_source *s, struct file_table *t, struct file_entry *f,
			 const struct fd_seen *seen)
{
	f->seen = true;
	f->fd = seen->fd;
	f->m->flags = (uint64_t)(unsigned)seen->flags;
	f->m->pos = (uint64_t)seen->pos;
	update_owner(s, f, seen);
	f->m->size = (uint64_t)seen->st.st_size;
	if (f->m->content) {
		f->m->content->mtime_ns = file_time_ns(&seen->st.st_mtim);
		f->m->content->ctime_ns = file_time_ns(&seen->st.st_ctim);
	}
	pipe_count_end(t, f);
}

static int group_entries(struct state_source *s, struct fd_seen *list, size_t *n, bool stopped, struct err *e)
{
	struct file_table *t = s->files;
	size_t len, kept = 0;

	for (size_t i = 0; i < *n; i += len) {
		struct file_entry *f;
		int r;

		for (len = 1; i + len < *n && list[i + len].same;)
			len++;
		f = known_entry(t, &list[i], len);
		if (!f) {
			r = new_entry(s, &list[i], &f, e);
			if (r == -EBADF && !stopped)
				continue;
			if (r < 0)
				return e && e->code ? r : err_code(e, r, "pid %d fd %d", s->vpid, list[i].fd);
		}
		entry_update(s, t, f, &list[i]);
		for (size_t k = 0; k < len; k++) {
			list[kept] = list[i + k];
			list[kept++].entry = f;
		}
	}
	*n = kept;
	return 0;
}

int file_table_look(struct state_source *s, bool stopped, struct err *e)
{
	struct file_table *t = file_table_get(s);
	_cleanup_free_ struct fd_seen *list = NULL;
	size_t n = 0;
	int r = list_fds(s, &list, &n, e);

	if (r < 0)
		return r;
	r = seen_read_all(s, list, &n, stopped, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < t->n_entries; i++)
		t->entries[i]->seen = t->entries[i]->fd < 0;
	pipe_forget_ends(t);
	sort_seen(s, list, n);
	r = group_entries(s, list, &n, stopped, e);
	if (r < 0)
		return r;
	if (n)
		qsort(list, n, sizeof *list, order_fd);
	free(t->fds);
	t->fds = steal_ptr(&list);
	t->n_fds = n;
	return 0;
}

static Godwit__Ckpt__OpenFile *copy_open_file(const Godwit__Ckpt__OpenFile *m)
{
	size_t len = godwit__ckpt__open_file__get_packed_size(m);
	_cleanup_free_ uint8_t *buf = xmalloc(len + 1);

	(void)godwit__ckpt__open_file__pack(m, buf);
	return godwit__ckpt__open_file__unpack(NULL, len, buf);
}

void file_table_emit_entry(struct state_source *s, struct file_entry *f)
{
	Godwit__Ckpt__Job *job = s->job;

	if (!job)
		return;
	if (f->emitted_in == job && f->emitted_at < job->n_files && job->files[f->emitted_at]->id == f->m->id) {
		godwit__ckpt__open_file__free_unpacked(job->files[f->emitted_at], NULL);
	} else {
		f->emitted_in = job;
		f->emitted_at = job->n_files++;
		if (!(f->emitted_at & (f->emitted_at - 1)))
			job->files = xrealloc(job->files,
					      sizeof(*job->files) * (f->emitted_at ? 2 * f->emitted_at : 1));
	}
	job->files[f->emitted_at] = copy_open_file(f->m);
}

static void emit_descriptors(struct state_source *s)
{
	const struct file_table *t = s->files;
	Godwit__Ckpt__Process *p = s->process;

	for (size_t i = 0; i < p->n_descriptors; i++)
		godwit__ckpt__descriptor__free_unpacked(p->descriptors[i], NULL);
	free(p->descriptors);
	p->n_descriptors = t->n_fds;
	p->descriptors = t->n_fds ? xcalloc(t->n_fds, sizeof(*p->descriptors)) : NULL;
	for (size_t i = 0; i < t->n_fds; i++) {
		Godwit__Ckpt__Descriptor *d = xmalloc(sizeof *d);

		godwit__ckpt__descriptor__init(d);
		d->fd = (uint32_t)t->fds[i].fd;
		d->cloexec = t->fds[i].cloexec;
		d->file = t->fds[i].entry->m->id;
		p->descriptors[i] = d;
	}
}

void file_table_emit(struct state_source *s)
{
	struct file_table *t = file_table_get(s);
	Godwit__Ckpt__Job *job = s->job;

	for (size_t i = 0; i < job->n_files; i++)
		godwit__ckpt__open_file__free_unpacked(job->files[i], NULL);
	free(job->files);
	job->files = NULL;
	job->n_files = 0;
	for (size_t i = 0; i < t->n_entries; i++) {
		t->entries[i]->emitted_in = NULL;
		if (t->entries[i]->seen)
			file_table_emit_entry(s, t->entries[i]);
	}
	emit_descriptors(s);
	pipe_emit(s);
}

int file_entry_open(struct state_source *s, const struct file_entry *f, struct err *e)
{
	int fd = f->fd >= 0 ? seen_getfd(s, f->fd) : fcntl(f->here, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return err_code(e, f->fd >= 0 ? fd : -errno, "pid %d fd %d", s->vpid, f->fd);
	return fd;
}

/* --- mapped files --- */

static struct file_entry *find_mapped(const struct file_table *t, const struct stat *st, bool writes)
{
	for (size_t i = 0; i < t->n_entries; i++) {
		struct file_entry *f = t->entries[i];

		if (f->fd < 0 && f->m->dev == st->st_dev && f->m->ino == st->st_ino && f->m->writes == writes)
			return f;
	}
	return NULL;
}

int file_add_mapped(struct state_source *s, int fd, bool writes, struct err *e)
{
	struct file_table *t = file_table_get(s);
	struct fd_seen seen = { .fd = -1, .flags = writes ? O_RDWR : O_RDONLY };
	struct file_entry *f;
	int r;

	if (fstat(fd, &seen.st) < 0)
		return err_errno(e, "a mapped file of pid %d", s->vpid);
	f = find_mapped(t, &seen.st, writes);
	if (!f) {
		f = file_table_add(t);
		f->m->mapped_only = true;
		f->m->writes = writes;
		f->m->flags = (uint64_t)(unsigned)seen.flags;
		f->here = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (f->here < 0)
			return err_errno(e, "a mapped file of pid %d", s->vpid);
		r = file_classify(s, &seen, f->here, f, e);
		if (r < 0)
			return r;
	}
	f->seen = true;
	f->m->size = (uint64_t)seen.st.st_size;
	if (f->m->content) {
		f->m->content->mtime_ns = file_time_ns(&seen.st.st_mtim);
		f->m->content->ctime_ns = file_time_ns(&seen.st.st_ctim);
	}
	if (f->why && !s->problems)
		return err_set(e, -EOPNOTSUPP, "pid %d: a mapping of %s: %s", s->vpid, f->m->path, f->why);
	file_table_emit_entry(s, f);
	return (int)f->m->id;
}
