/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module "file" at the destination. Prepare makes every description and gives the blank every descriptor, from
 * what the source said before the freeze; restore corrects offsets and flags on our own copies of the same
 * descriptions, which costs no call in the blank, and gives or closes only the descriptors that changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/file_table.h"
#include "state/file_target.h"
#include "state/kinds.h"

#define KIND(k) GODWIT__CKPT__OPEN_FILE__KIND__##k
#define O_LARGEFILE_KERNEL 0100000

static int check_descriptors(struct state_target *d, struct err *e)
{
	const Godwit__Ckpt__Process *p = d->process;

	if (p->n_descriptors > FILE_FDS_MAX)
		return err_set(e, -E2BIG, "too many descriptors");
	for (size_t i = 0; i < p->n_descriptors; i++)
		if (p->descriptors[i]->fd > INT32_MAX / 2 ||
		    (i && p->descriptors[i]->fd <= p->descriptors[i - 1]->fd))
			return err_set(e, -EBADMSG, "the list of descriptors is garbled");
	return 0;
}

static int highest_fd(const struct state_target *d)
{
	const Godwit__Ckpt__Process *p = d->process;

	return p->n_descriptors ? (int)p->descriptors[p->n_descriptors - 1]->fd : -1;
}

static const struct file_given *given_find(const struct file_targets *t, uint32_t fd)
{
	size_t low = 0, high = t->n_given;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (t->given[mid].fd == fd)
			return &t->given[mid];
		if (t->given[mid].fd < fd)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static void remember_given(struct state_target *d)
{
	struct file_targets *t = d->files;
	const Godwit__Ckpt__Process *p = d->process;
	struct file_given *list = xcalloc(p->n_descriptors + 1, sizeof *list);
	size_t n = 0;

	for (size_t i = 0; i < p->n_descriptors; i++) {
		const Godwit__Ckpt__Descriptor *m = p->descriptors[i];
		const struct file_target *f = file_targets_find(t, m->file);

		if (f && f->fd >= 0)
			list[n++] = (struct file_given) { m->fd, m->file, m->cloexec };
	}
	free(t->given);
	t->given = list;
	t->n_given = n;
}

/* Gives all descriptors that the blank does not have yet, or not as they should be. */
static int give_missing(struct state_target *d, bool late, struct err *e)
{
	struct file_targets *t = d->files;
	const Godwit__Ckpt__Process *p = d->process;
	_cleanup_free_ struct file_give *list = xcalloc(p->n_descriptors + 1, sizeof *list);
	size_t n = 0;
	int r;

	for (size_t i = 0; i < p->n_descriptors; i++) {
		const Godwit__Ckpt__Descriptor *m = p->descriptors[i];
		const struct file_target *f = file_targets_find(t, m->file);
		const struct file_given *old = given_find(t, m->fd);

		if (!f)
			return err_set(e, -EBADMSG, "descriptor %u has no file", m->fd);
		if (f->there_only || (f->fd < 0 && !late))
			continue;
		if (f->fd < 0)
			return err_set(e, -EBADMSG, "descriptor %u has no file", m->fd);
		if (old && old->file == m->file && old->cloexec == m->cloexec)
			continue;
		list[n++] = (struct file_give) { (int)m->fd, f->fd, m->cloexec };
	}
	r = n ? file_give(d, list, n, e) : 0;
	return r;
}

/* Opens one /dev/tty description in the blank, above all numbers that the job uses, and puts it at each of its
 * own. */
static int open_tty_there(struct state_target *d, const struct file_target *f, struct err *e)
{
	static const char tty[] = "/dev/tty";
	const Godwit__Ckpt__Process *p = d->process;
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	uint64_t flags = f->m->flags & (O_ACCMODE | O_NONBLOCK | O_APPEND | O_LARGEFILE_KERNEL);
	int low, high;

	batch_init(b);
	low = batch_call(b, "opening /dev/tty", SYS_openat, bval((uint64_t)AT_FDCWD),
			 bdata(batch_put(b, tty, sizeof tty)), bval(flags | O_CLOEXEC | O_NOCTTY));
	high = batch_call(b, "dup", SYS_fcntl, bres(low), bval(F_DUPFD_CLOEXEC),
			  bval((uint64_t)highest_fd(d) + 1));
	(void)batch_call(b, "close", SYS_close, bres(low));
	for (size_t i = 0; i < p->n_descriptors && batch_fits(b, 2, 0); i++)
		if (p->descriptors[i]->file == f->id)
			(void)batch_call(b, "dup3", SYS_dup3, bres(high), bval(p->descriptors[i]->fd),
					 bval(p->descriptors[i]->cloexec ? O_CLOEXEC : 0));
	(void)batch_call(b, "close", SYS_close, bres(high));
	return batch_run(d->remote, &d->remote->threads[0], b, e);
}

/* /dev/tty is whatever terminal the opener's session has, so the blank opens it itself. */
static int open_there(struct state_target *d, struct err *e)
{
	for (size_t i = 0; i < d->job->n_files; i++) {
		const struct file_target *f = file_targets_find(d->files, d->job->files[i]->id);
		int r = f && f->there_only ? open_tty_there(d, f, e) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

static int close_surplus(struct state_target *d, struct err *e)
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	struct file_targets *t = d->files;
	const Godwit__Ckpt__Process *p = d->process;
	size_t at = 0;

	batch_init(b);
	for (size_t i = 0; i < t->n_given; i++) {
		int r = 0;

		while (at < p->n_descriptors && p->descriptors[at]->fd < t->given[i].fd)
			at++;
		if (at < p->n_descriptors && p->descriptors[at]->fd == t->given[i].fd)
			continue;
		(void)batch_call(b, NULL, SYS_close, bval(t->given[i].fd));
		if (batch_fits(b, 1, 0))
			continue;
		r = batch_run(d->remote, &d->remote->threads[0], b, e);
		if (r < 0)
			return r;
		batch_init(b);
	}
	return b->n_calls ? batch_run(d->remote, &d->remote->threads[0], b, e) : 0;
}

static int pty_stream(const struct state_target *d)
{
	for (size_t i = 0; i < d->n_streams; i++)
		if (d->streams[i]->kind == GODWIT__MOVER__STREAM__KIND__PTY_SLAVE)
			return d->stream_fds[i];
	return -1;
}

/* The pty becomes the controlling terminal of the blank's session, unless the shepherd has seen to that. */
static int take_terminal(struct state_target *d, struct err *e)
{
	_cleanup_free_ struct batch *b = NULL;
	int ours = pty_stream(d), there, r;

	if (ours < 0 || !d->process->misc || !d->process->misc->has_tty)
		return 0;
	r = remote_put_fds(d->remote, &d->remote->threads[0], d->agent_sock, d->agent_sock_there, &ours, 1, &there,
			   e);
	if (r < 0)
		return r;
	b = xmalloc(sizeof *b);
	batch_init(b);
	(void)batch_call(b, NULL, SYS_setsid);
	(void)batch_call(b, "controlling terminal", SYS_ioctl, bval((uint64_t)there), bval(TIOCSCTTY), bval(0));
	(void)batch_call(b, "close", SYS_close, bval((uint64_t)there));
	return batch_run(d->remote, &d->remote->threads[0], b, e);
}

int file_prepare(struct state_target *d, struct err *e)
{
	int r = check_descriptors(d, e);

	if (r < 0)
		return r;
	file_raise_own_limit();
	(void)file_targets_get(d);
	r = file_give_begin(d, highest_fd(d), e);
	if (r < 0)
		return r;
	r = take_terminal(d, e);
	if (r < 0)
		return r;
	r = file_open_all(d, false, e);
	if (r < 0)
		return r;
	r = give_missing(d, false, e);
	if (r < 0)
		return r;
	remember_given(d);
	return 0;
}

static int check_unchanged(struct state_target *d, const struct file_target *f,
			   const Godwit__Ckpt__OpenFile *early, struct err *e)
{
	const struct file_home *h = f->home ? &d->files->homes[f->home - 1] : NULL;

	if (!h || h->how != FILE_HOW_SAME || h->writes || !early || !early->content || !f->m->content)
		return 0;
	if (early->content->mtime_ns == f->m->content->mtime_ns && early->size == f->m->size)
		return 0;
	/* One inode on both hosts that grew is one growing file; equal contents that part are two. */
	return early->ino == f->m->ino && early->content->fsid
		       ? 0
		       : err_set(e, -EAGAIN, "%s changed while the migration was prepared; try again", f->m->path);
}

/* d->early is the description: what was compared then must not have changed since. */
static int check_same(struct state_target *d, struct err *e)
{
	size_t at = 0;

	for (size_t i = 0; d->early && i < d->job->n_files; i++) {
		const Godwit__Ckpt__OpenFile *m = d->job->files[i], *early = NULL;
		const struct file_target *f = file_targets_find(d->files, m->id);
		int r;

		while (at < d->early->n_files && d->early->files[at]->id < m->id)
			at++;
		if (at < d->early->n_files && d->early->files[at]->id == m->id)
			early = d->early->files[at];
		r = f ? check_unchanged(d, f, early, e) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int set_counters(struct state_target *d, struct err *e)
{
	for (size_t i = 0; i < d->job->n_files; i++) {
		const Godwit__Ckpt__OpenFile *m = d->job->files[i];
		struct file_target *f = file_targets_find(d->files, m->id);
		int r = f && m->kind == KIND(EVENTFD) ? eventfd_target_set(f->fd, m, e) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

/* The final message's pointers replace the description's, and files nobody spoke of before are added. */
static int adopt_final(struct state_target *d, struct err *e)
{
	for (size_t i = 0; i < d->job->n_files; i++) {
		int r = file_targets_add(d, d->job->files[i], NULL, e);

		if (r < 0)
			return r;
	}
	return 0;
}

int file_restore(struct state_target *d, struct batch *b, struct err *e)
{
	int (*const steps[])(struct state_target *, struct err *) = { check_descriptors, adopt_final, check_same,
								      close_surplus };
	int r;

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		r = steps[i](d, e);
		if (r < 0)
			return r;
	}
	r = file_give_room(d, highest_fd(d), e);
	if (r == 0)
		r = file_open_all(d, true, e);
	if (r == 0)
		r = give_missing(d, true, e);
	if (r == 0)
		r = open_there(d, e);
	if (r == 0)
		r = pipe_targets_fill(d, e);
	if (r == 0)
		r = set_counters(d, e);
	if (r < 0)
		return r;
	remember_given(d);
	pipe_targets_close(d->files);
	d->files->ready = true;
	r = file_give_end(d, b, e);
	return r < 0 ? r : file_locks_take(d, b, e);
}

/* --- signals of descriptors: when the threads are there, before credentials go --- */

static pid_t owner_here(const struct state_target *d, const Godwit__Ckpt__Owner *o)
{
	if (o->pid == d->vpid)
		return d->pid;
	for (size_t i = 0; i < d->remote->n_threads; i++)
		if (d->remote->threads[i].vtid == o->pid)
			return d->remote->threads[i].tid;
	return 0;
}

/* The kernel notes who set the owner, to judge later whether a signal may be sent; so we are that user for a
 * moment. */
static int set_owner(const struct state_target *d, const struct file_target *f, struct err *e)
{
	const Godwit__Ckpt__Owner *o = f->m->owner;
	struct f_owner_ex owner = { .type = o->type, .pid = o->pid ? owner_here(d, o) : 0 };
	int r = 0;

	if (o->signal && fcntl(f->fd, F_SETSIG, o->signal) < 0)
		return err_errno(e, "signal of %s", f->m->path);
	if (!owner.pid)
		return 0;
	if (syscall(SYS_setresuid, o->uid, o->euid, 0) < 0)
		return err_errno(e, "owner of %s", f->m->path);
	if (fcntl(f->fd, F_SETOWN_EX, &owner) < 0)
		r = err_errno(e, "owner of %s", f->m->path);
	if (syscall(SYS_setresuid, 0, 0, 0) < 0)
		return err_errno(e, "becoming root again");
	return r;
}

/* The number that a signal names (si_fd) is the one through which O_ASYNC was set, so the blank sets it itself. */
static int set_async(struct state_target *d, const struct file_target *f, struct batch *b, struct err *e)
{
	const Godwit__Ckpt__Process *p = d->process;
	const uint64_t settable = O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME;

	for (size_t i = 0; i < p->n_descriptors; i++) {
		if (p->descriptors[i]->file != f->id)
			continue;
		if (!batch_fits(b, 1, 0))
			return err_set(e, -E2BIG, "too many descriptors with O_ASYNC");
		(void)batch_call(b, "O_ASYNC", SYS_fcntl, bval(p->descriptors[i]->fd), bval(F_SETFL),
				 bval(f->m->flags & settable));
		return 0;
	}
	return 0;
}

/* The job has them all; ours would keep its pipes from ending. */
static void close_ours(struct file_targets *t)
{
	for (size_t i = 0; i < t->n; i++) {
		fd_close(&t->v[i].fd);
		fd_close(&t->v[i].map_fd);
	}
}

static int owner_restore(struct state_target *d, struct batch *b, struct err *e)
{
	struct file_targets *t = d->files;

	for (size_t i = 0; t && i < t->n; i++) {
		const struct file_target *f = &t->v[i];
		int r = 0;

		if (f->fd < 0)
			continue;
		if (f->m->owner)
			r = set_owner(d, f, e);
		if (r == 0 && (f->m->flags & O_ASYNC))
			r = set_async(d, f, b, e);
		if (r < 0)
			return r;
	}
	if (t)
		close_ours(t);
	return 0;
}

const struct state_module state_file_owner = {
	.name = "file owner",
	.phase = STATE_THREADS,
	.restore = owner_restore,
};
