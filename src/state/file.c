/* SPDX-License-Identifier: Apache-2.0 */
/* The module "file": open files of the job, in the order of a migration; the work is done in the files beside. */
#include "state/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/file_table.h"
#include "state/file_target.h"
#include "state/kinds.h"

/* A job may have more descriptors than a mover starts with. */
void file_raise_own_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &l);
	}
}

/* CLOEXEC belongs to the number, which a copy does not show. */
static int read_cloexec(struct state_source *s, struct err *e)
{
	struct file_table *t = s->files;

	for (size_t i = 0; i < t->n_fds; i++) {
		struct fdinfo info;
		int r = file_fdinfo_read(s->proc, t->fds[i].fd, &info);

		if (r == -ENOENT)
			continue;
		if (r < 0)
			return err_code(e, r, "pid %d fd %d: fdinfo", s->vpid, t->fds[i].fd);
		t->fds[i].cloexec = info.flags & O_CLOEXEC;
	}
	return 0;
}

static void report(struct state_source *s)
{
	const struct file_table *t = s->files;
	char object[32];

	for (size_t i = 0; i < t->n_entries; i++) {
		const struct file_entry *f = t->entries[i];

		if (!f->seen || !f->why)
			continue;
		if (f->fd >= 0)
			(void)snprintf(object, sizeof object, "fd %d", f->fd);
		else
			(void)snprintf(object, sizeof object, "a mapped file");
		problem_add(s->problems, s->vpid, f->fd, object, f->help, "%s", f->why);
	}
}

static void require_files(struct state_source *s)
{
	const struct file_table *t = s->files;
	Godwit__Ckpt__Requirements *q = s->requirements;
	Godwit__Ckpt__Job copies = GODWIT__CKPT__JOB__INIT, *job = s->job;

	/* Emitting into a message of our own gives exactly what the description will say. */
	s->job = &copies;
	for (size_t i = 0; i < t->n_entries; i++)
		if (t->entries[i]->seen && !t->entries[i]->why)
			file_table_emit_entry(s, t->entries[i]);
	s->job = job;
	for (size_t i = 0; i < t->n_entries; i++)
		t->entries[i]->emitted_in = NULL;
	q->files = copies.files;
	q->n_files = copies.n_files;
	q->fds = t->n_fds ? (uint32_t)t->fds[t->n_fds - 1].fd + 1 : 0;
}

#define LOCK_PATIENCE_US 1000000

/* A lock that is only held now and then does not keep a job from moving: one look without it will do. */
static int look_for_unlocked(struct state_source *s, struct err *e)
{
	uint64_t until_us = now_us() + LOCK_PATIENCE_US;

	if (file_wait_unlocked(s, false, until_us))
		return 0; /* not worth telling the destination of */
	return file_locks_collect(s, e);
}

static int file_check(struct state_source *s, struct err *e)
{
	int r;

	file_raise_own_limit();
	r = file_table_look(s, false, e);
	if (r < 0)
		return r;
	r = pipe_check_ends(s, false, e);
	if (r < 0)
		return r;
	r = look_for_unlocked(s, e);
	if (r < 0)
		return r;
	report(s);
	if (!s->requirements)
		return 0;
	r = file_probe_make(s, e);
	if (r < 0)
		return r;
	file_lineage_give(s);
	require_files(s);
	return 0;
}

/* Between check and here the job went on, and may have opened what cannot move. */
static int refuse_late(struct state_source *s, struct err *e)
{
	const struct file_table *t = s->files;

	for (size_t i = 0; i < t->n_entries; i++)
		if (t->entries[i]->seen && t->entries[i]->why)
			return err_set(e, -EOPNOTSUPP, "pid %d fd %d: %s", s->vpid, t->entries[i]->fd,
				       t->entries[i]->why);
	return 0;
}

static int file_describe(struct state_source *s, struct err *e)
{
	int r;

	file_probe_done(s); /* the destination has given its answer */
	r = file_table_look(s, false, e);
	if (r < 0)
		return r;
	r = read_cloexec(s, e);
	if (r < 0)
		return r;
	r = refuse_late(s, e);
	if (r < 0)
		return r;
	r = file_sync(s, e);
	if (r < 0)
		return r;
	file_lineage_give(s);
	file_table_emit(s);
	return 0;
}

/* As many as fit beside the others' calls; the rest gets batches of its own in take. */
static int file_ask(struct state_source *s, struct batch *b, struct err *e)
{
	struct file_table *t = file_table_get(s);

	(void)e;
	t->ask_n = 0;
	while (t->ask_n < t->n_fds && t->ask_n < 128 && batch_fits(b, 24, 2048)) {
		int call = batch_call(b, NULL, SYS_fcntl, bval((uint64_t)t->fds[t->ask_n].fd), bval(F_GETFD));

		if (!t->ask_n++)
			t->ask_first = call;
	}
	return 0;
}

struct cloexec_answer {
	int fd;
	int64_t ret;
};

static int order_answer(const void *a, const void *b)
{
	const struct cloexec_answer *x = a, *y = b;

	return x->fd < y->fd ? -1 : x->fd > y->fd;
}

static int ask_rest(struct state_source *s, const struct cloexec_answer *known, size_t n_known, struct err *e)
{
	struct file_table *t = s->files;
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	size_t first = 0;

	while (first < t->n_fds) {
		size_t i = first;
		int r;

		batch_init(b);
		for (; i < t->n_fds && batch_fits(b, 1, 0); i++)
			if (!bsearch(&(struct cloexec_answer) { .fd = t->fds[i].fd }, known, n_known,
				     sizeof *known, order_answer))
				(void)batch_call(b, "F_GETFD", SYS_fcntl, bval((uint64_t)t->fds[i].fd),
						 bval(F_GETFD));
		if (b->n_calls) {
			r = batch_run(s->remote, &s->remote->threads[0], b, e);
			if (r < 0)
				return r;
		}
		for (size_t call = 0; first < i; first++)
			if (!bsearch(&(struct cloexec_answer) { .fd = t->fds[first].fd }, known, n_known,
				     sizeof *known, order_answer))
				t->fds[first].cloexec = batch_ret(b, (int)call++) & FD_CLOEXEC;
	}
	return 0;
}

static int file_take(struct state_source *s, struct batch *b, struct err *e)
{
	struct file_table *t = s->files;
	_cleanup_free_ struct cloexec_answer *known = xcalloc(t->ask_n + 1, sizeof *known);
	size_t n_known = t->ask_n;
	int r;

	for (size_t i = 0; i < n_known; i++)
		known[i] = (struct cloexec_answer) { t->fds[i].fd, batch_ret(b, t->ask_first + (int)i) };
	r = file_table_look(s, true, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < t->n_fds; i++) {
		const struct cloexec_answer *a = bsearch(&(struct cloexec_answer) { .fd = t->fds[i].fd }, known,
							 n_known, sizeof *known, order_answer);

		if (a)
			t->fds[i].cloexec = a->ret > 0 && (a->ret & FD_CLOEXEC);
	}
	r = ask_rest(s, known, n_known, e);
	if (r < 0)
		return r;
	r = pipe_check_ends(s, true, e);
	if (r < 0)
		return r;
	r = file_locks_collect(s, e);
	if (r < 0)
		return r;
	r = refuse_late(s, e);
	if (r < 0)
		return r;
	r = file_sync(s, e);
	if (r < 0)
		return r;
	file_lineage_give(s);
	file_table_emit(s);
	return pipe_peek_all(s, e);
}

void file_source_done(struct state_source *s)
{
	file_probe_done(s);
	file_table_free(s->files);
	s->files = NULL;
}

const struct state_module state_file = {
	.name = "file",
	.phase = STATE_FILES,
	.check = file_check,
	.describe = file_describe,
	.ask = file_ask,
	.take = file_take,
	.admit = file_admit,
	.prepare = file_prepare,
	.restore = file_restore,
};
