/* SPDX-License-Identifier: Apache-2.0 */
#include "image/check_job.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define PAGE UINT64_C(4096)
#define LIMITS_N 16u
#define TIMERS_MAX 65536u
#define SIGNALS_MAX 64
#define FD_MAX (1u << 30)
#define REGION(k) GODWIT__CKPT__REGION__KIND__##k

static int bad(struct err *e, const char *what)
{
	return err_set(e, -EBADMSG, "%s", what);
}

/* --- memory --- */

static int check_region(const Godwit__Ckpt__Region *g, uint64_t floor, struct err *e)
{
	if (g->start >= g->end || (g->start | g->end | g->offset) % PAGE || g->end > CHECK_USER_END)
		return bad(e, "a mapping with impossible bounds");
	if (g->start < floor)
		return bad(e, "overlapping mappings");
	if (g->kind == REGION(NONE))
		return bad(e, "a mapping of an unknown kind");
	if (g->prot > 7)
		return bad(e, "a mapping with impossible protections");
	if (g->offset > INT64_MAX)
		return bad(e, "a mapping with a negative offset");
	return 0;
}

static int check_bounds(const Godwit__Ckpt__Memory *m, struct err *e)
{
	const uint64_t ends[] = { m->start_code, m->end_code,	m->start_data, m->end_data, m->start_stack,
				  m->arg_start,	 m->arg_end,	m->env_start,  m->env_end,  m->start_brk,
				  m->brk,	 m->vdso_start, m->vvar_start, m->home_vdso };

	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (ends[i] > CHECK_USER_END)
			return bad(e, "a boundary of memory in the kernel's half");
	if (m->brk < m->start_brk)
		return bad(e, "a heap that ends before it begins");
	if (m->arg_end < m->arg_start || m->env_end < m->env_start)
		return bad(e, "arguments that end before they begin");
	if (m->auxv.len % 16 || m->auxv.len > 4096)
		return bad(e, "an impossible auxiliary vector");
	if (m->vdso_len > (1u << 20) || m->vvar_len > (1u << 20) || m->vdso_start > CHECK_USER_END - (1u << 20) ||
	    m->vvar_start > CHECK_USER_END - (1u << 20) || m->vdso_image.len > (1u << 20) ||
	    m->home_image.len > (1u << 20))
		return bad(e, "an impossible vDSO");
	return 0;
}

static int check_memory(const Godwit__Ckpt__Memory *m, struct err *e)
{
	uint64_t floor = 0;
	int err;

	if (!m)
		return bad(e, "a process without memory");
	if (m->n_regions > CHECK_REGIONS_MAX)
		return bad(e, "too many mappings");
	err = check_bounds(m, e);
	for (size_t i = 0; i < m->n_regions && !err; i++) {
		err = check_region(m->regions[i], floor, e);
		floor = m->regions[i]->end;
		if (err < 0)
			(void)err_wrap(e, "%llx-%llx", (unsigned long long)m->regions[i]->start,
				       (unsigned long long)m->regions[i]->end);
	}
	return err;
}

/* --- what a process has --- */

static int check_actions(const Godwit__Ckpt__Process *p, struct err *e)
{
	uint64_t seen = 0;

	for (size_t i = 0; i < p->n_actions; i++) {
		int sig = p->actions[i]->signal;

		if (sig < 1 || sig > SIGNALS_MAX || sig == SIGKILL || sig == SIGSTOP)
			return bad(e, "an action for a signal that has none");
		if (seen >> (sig - 1) & 1)
			return bad(e, "two actions for one signal");
		seen |= UINT64_C(1) << (sig - 1);
	}
	return queue_check(p->pending, p->n_pending, e);
}

static int check_limits(const Godwit__Ckpt__Process *p, struct err *e)
{
	uint64_t seen = 0;

	for (size_t i = 0; i < p->n_limits; i++) {
		const Godwit__Ckpt__Limit *l = p->limits[i];

		if (l->resource >= LIMITS_N || seen >> l->resource & 1)
			return bad(e, "a resource limit that does not exist, or comes twice");
		if (l->soft > l->hard)
			return bad(e, "a resource limit above its own limit");
		seen |= UINT64_C(1) << l->resource;
	}
	return 0;
}

static int check_timers(const Godwit__Ckpt__Timers *m, struct err *e)
{
	_cleanup_free_ uint64_t *ids = NULL;
	uint64_t seen = 0;

	if (!m)
		return 0;
	if (m->n_posix > TIMERS_MAX)
		return bad(e, "too many timers");
	for (size_t i = 0; i < m->n_itimers; i++) {
		int which = m->itimers[i]->which;

		if (which < 0 || which > 2 || seen >> which & 1)
			return bad(e, "an interval timer that does not exist, or comes twice");
		seen |= UINT64_C(1) << which;
	}
	ids = xcalloc(m->n_posix + 1, sizeof *ids);
	for (size_t i = 0; i < m->n_posix; i++) {
		const Godwit__Ckpt__PosixTimer *t = m->posix[i];

		if (t->id < 0 || t->signal < 0 || t->signal > SIGNALS_MAX || t->value_ns > INT64_MAX ||
		    t->interval_ns > INT64_MAX)
			return bad(e, "an impossible timer");
		ids[i] = (uint64_t)t->id;
	}
	return numbers_repeat(ids, m->n_posix) ? bad(e, "two timers with the same number") : 0;
}

static int check_fs(const Godwit__Ckpt__FsContext *m, bool whole, struct err *e)
{
	if (!m)
		return whole ? bad(e, "a process without a current directory") : 0;
	if (!name_is_straight(m->cwd))
		return bad(e, "a current directory whose name is not absolute, or takes a detour");
	if (m->root[0] && !name_is_straight(m->root))
		return bad(e, "a root directory whose name is not absolute, or takes a detour");
	return m->umask > 0777 ? bad(e, "an impossible umask") : 0;
}

static int check_descriptors(const Godwit__Ckpt__Process *p, struct err *e)
{
	for (size_t i = 0; i < p->n_descriptors; i++) {
		uint32_t fd = p->descriptors[i]->fd;

		if (fd > FD_MAX || (i && fd <= p->descriptors[i - 1]->fd))
			return bad(e, "descriptors out of order, or one twice");
	}
	return 0;
}

int process_check(const Godwit__Ckpt__Process *p, bool whole, struct err *e)
{
	int err = threads_check(p, whole, e);

	if (!err)
		err = check_memory(p->memory, e);
	if (!err)
		err = check_actions(p, e);
	if (!err)
		err = check_limits(p, e);
	if (!err)
		err = check_timers(p->timers, e);
	if (!err)
		err = check_fs(p->fs, whole, e);
	return err ? err : check_descriptors(p, e);
}

/* --- what is shared --- */

int objects_check(const Godwit__Ckpt__Job *job, struct err *e)
{
	_cleanup_free_ uint64_t *ids = NULL;

	if (job->n_shared > CHECK_REGIONS_MAX)
		return bad(e, "too many shared objects");
	ids = xcalloc(job->n_shared + 1, sizeof *ids);
	for (size_t i = 0; i < job->n_shared; i++) {
		const Godwit__Ckpt__Region *o = job->shared[i];

		if (!o->object || o->start || !o->end || o->end % PAGE || o->end > CHECK_USER_END)
			return bad(e, "an impossible shared object");
		ids[i] = o->object;
	}
	return numbers_repeat(ids, job->n_shared) ? bad(e, "two shared objects with the same number")
						  : files_check(job, e);
}

/* --- what refers to what --- */

/* Numbers of one kind of thing, of a job and its description, ascending. */
struct known {
	uint64_t *v;
	size_t n;
};

enum thing { FILES, PIPES, SHARED };

static void know(struct known *k, const Godwit__Ckpt__Job *job, enum thing what)
{
	size_t n = what == FILES ? job->n_files : what == PIPES ? job->n_pipes : job->n_shared;

	k->v = xrealloc(k->v, (k->n + n + 1) * sizeof *k->v);
	for (size_t i = 0; i < n; i++)
		k->v[k->n++] = what == FILES   ? job->files[i]->id
			       : what == PIPES ? job->pipes[i]->id
					       : job->shared[i]->object;
}

static struct known known_of(const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Job *early, enum thing what)
{
	struct known k = { 0 };

	know(&k, job, what);
	if (early)
		know(&k, early, what);
	(void)numbers_repeat(k.v, k.n);
	return k;
}

static int by_value(const void *pa, const void *pb)
{
	const uint64_t *a = pa, *b = pb;

	return *a < *b ? -1 : *a > *b;
}

static bool is_known(const struct known *k, uint64_t id)
{
	return k->n && bsearch(&id, k->v, k->n, sizeof *k->v, by_value);
}

static int check_regions(const Godwit__Ckpt__Memory *m, const struct known *files, const struct known *shared,
			 struct err *e)
{
	for (size_t i = 0; i < m->n_regions; i++) {
		const Godwit__Ckpt__Region *g = m->regions[i];
		bool file = g->kind == REGION(FILE_PRIVATE) || g->kind == REGION(FILE_SHARED);

		if (file && !is_known(files, g->object))
			return bad(e, "a mapping of a file that the job does not have");
		if (g->kind == REGION(ANON_SHARED) && !is_known(shared, g->object))
			return bad(e, "a mapping of a shared object that the job does not have");
	}
	return m->exe_object && !is_known(files, m->exe_object)
		       ? bad(e, "an executable that the job does not have")
		       : 0;
}

int references_check(const Godwit__Ckpt__Process *p, const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Job *early,
		     struct err *e)
{
	struct known files = known_of(job, early, FILES), shared = known_of(job, early, SHARED);
	int err = check_regions(p->memory, &files, &shared, e);

	for (size_t i = 0; i < p->n_descriptors && !err; i++)
		if (!is_known(&files, p->descriptors[i]->file))
			err = err_set(e, -EBADMSG, "descriptor %u of a file that the job does not have",
				      p->descriptors[i]->fd);
	free(files.v);
	free(shared.v);
	return err;
}

static int check_ends(const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Job *early, struct err *e)
{
	struct known pipes = known_of(job, early, PIPES);
	int err = 0;

	for (size_t i = 0; i < job->n_files && !err; i++) {
		const Godwit__Ckpt__OpenFile *m = job->files[i];

		if ((m->kind == GODWIT__CKPT__OPEN_FILE__KIND__PIPE ||
		     m->kind == GODWIT__CKPT__OPEN_FILE__KIND__FIFO) &&
		    early && !is_known(&pipes, m->pipe))
			err = err_set(e, -EBADMSG, "file %u is an end of a pipe that the job does not have",
				      m->id);
	}
	free(pipes.v);
	return err;
}

int job_check(const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Job *early, struct err *e)
{
	int err;

	if (job->n_processes != 1)
		return err_set(e, -EBADMSG, "a job of %zu processes", job->n_processes);
	if (job->description.len || job->begin.len || job->n_contents || job->n_late)
		return bad(e, "what only an image has");
	if (early && job->processes[0]->pid != early->processes[0]->pid)
		return bad(e, "another process than was described");
	err = process_check(job->processes[0], early != NULL, e);
	if (!err)
		err = objects_check(job, e);
	if (!err && early)
		err = references_check(job->processes[0], job, early, e);
	return err ? err : check_ends(job, early, e);
}

int requirements_check(const Godwit__Ckpt__Requirements *q, struct err *e)
{
	if (q->n_files > CHECK_FILES_MAX || q->n_limits > LIMITS_N || q->n_probes > 4096 || q->n_kernel > 4096)
		return bad(e, "too many requirements");
	for (size_t i = 0; i < q->n_files; i++) {
		int err = file_check(q->files[i], e);

		if (err < 0)
			return err_wrap(e, "file %u", q->files[i]->id);
	}
	for (size_t i = 0; i < q->n_probes; i++)
		if (!name_is_straight(q->probes[i]->path))
			return bad(e, "a probe whose name is not absolute, or takes a detour");
	return 0;
}
