/* SPDX-License-Identifier: Apache-2.0 */
#include "procd/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "procd/caps.h"
#include "procd/herd.h"
#include "procd/migrate.h"
#include "procd/ops.h"
#include "procd/quota.h"
#include "procd/rpc.h"

#define SETTLE_AGAIN_MS 100u

struct job *jobs_by_name(struct procd *p, const char *name)
{
	for (struct job *j = p->jobs; j; j = j->next)
		if (j->state != JOB_ENDING && !strcmp(j->name, name))
			return j;
	return NULL;
}

struct job *jobs_by_endpoint(struct procd *p, uint32_t endpoint)
{
	for (struct job *j = p->jobs; j; j = j->next)
		if (j->endpoint == endpoint && j->state != JOB_ENDING)
			return j;
	return NULL;
}

Godwit__Procd__JobSpec *jobs_copy_spec(const Godwit__Procd__JobSpec *s)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;

	if (!s)
		return NULL;
	len = godwit__procd__job_spec__get_packed_size(s);
	bytes = xmalloc(len);
	(void)godwit__procd__job_spec__pack(s, bytes);
	return godwit__procd__job_spec__unpack(NULL, len, bytes);
}

bool jobs_is_allowed(const struct job *j, const struct call *c)
{
	return c->uid == 0 || c->uid == j->spec->uid;
}

bool jobs_may_look(const struct job *j, const struct call *c)
{
	char path[32];
	struct stat st;

	/* Of a process that is not dumpable all files are root's. */
	(void)snprintf(path, sizeof path, "/proc/%d/mem", j->pid);
	/* A capability stands for the user whose job it is. */
	return (!c->uid && !c->by_cap) ||
	       (j->pid && stat(path, &st) == 0 && st.st_uid == (c->by_cap ? j->spec->uid : c->uid));
}

/* --- the end --- */

static void unlink_job(struct job *j)
{
	for (struct job **at = &j->p->jobs; *at; at = &(*at)->next) {
		if (*at != j)
			continue;
		*at = j->next;
		j->p->n_jobs--;
		return;
	}
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct job *j = handle->data;

	if (--j->handles)
		return;
	godwit__procd__job_spec__free_unpacked(j->spec, NULL);
	if (j->last_move)
		godwit__procd__report__free_unpacked(j->last_move, NULL);
	free(j);
}

/* The job is elsewhere, or nowhere: let whoever has it answer. */
static void forward_held(struct job *j)
{
	for (size_t i = 0; i < j->n_held; i++)
		call_forward(j->held[i], j->name);
	j->n_held = 0;
}

void jobs_hold(struct job *j, struct call *c)
{
	if (j->n_held == ARRAY_LEN(j->held))
		call_refuse(c, -EAGAIN, "job %s is being moved, and too many wait for it", j->name);
	else
		j->held[j->n_held++] = c;
}

void jobs_release(struct job *j)
{
	struct call *held[ARRAY_LEN(j->held)];
	size_t n = j->n_held;

	owner_decided(j);
	memcpy(held, j->held, n * sizeof *held);
	j->n_held = 0;
	for (size_t i = 0; i < n; i++)
		ops_job(j, held[i]);
}

static void remove_job(struct job *j)
{
	owner_forget(j);
	rpc_unserve_job(j);
	herd_close(j->herd);
	j->herd = NULL;
	(void)uv_timer_stop(&j->linger);
	migrate_job_freed(j);
	forward_held(j);
	uv_close((uv_handle_t *)&j->gone, on_handle_closed);
	uv_close((uv_handle_t *)&j->linger, on_handle_closed);
	uv_close((uv_handle_t *)&j->patience, on_handle_closed);
	if (j->watching)
		uv_close((uv_handle_t *)&j->leader_gone, on_handle_closed);
	container_remove(&j->container, &j->p->cgroups);
	fd_close(&j->pidfd);
	unlink_job(j);
	if (j->on_end)
		j->on_end(j->on_end_arg);
}

void jobs_end(struct job *j, void (*fn)(void *arg), void *arg)
{
	if (j->state == JOB_ENDING)
		return;
	j->state = JOB_ENDING;
	j->on_end = fn;
	j->on_end_arg = arg;
	if (j->lost) {
		remove_job(j);
		return;
	}
	container_kill(&j->container, &j->p->cgroups, false);
}

static void on_linger(uv_timer_t *timer)
{
	jobs_end(timer->data, NULL, NULL);
}

/* Nothing runs any more, and nobody else has the job. */
static void bury(struct job *j)
{
	if (j->watching)
		(void)uv_poll_stop(&j->leader_gone);
	fd_close(&j->pidfd);
	j->pid = 0;
	herd_close(j->herd);
	j->herd = NULL;
	container_remove(&j->container, &j->p->cgroups);
	lost_keep(j);
	(void)uv_timer_start(&j->linger, on_linger, j->p->settings.keep_exited_s * 1000, 0);
	owner_exited(j);
	quota_limit_exited(j->p, j->spec->uid);
}

/* PID 1 of a namespace is gone last: nothing of the job runs any more. */
static void on_shepherd_gone(uv_poll_t *poll, int status, int events)
{
	struct job *j = poll->data;
	bool only_copy = false;

	(void)status;
	(void)events;
	(void)uv_poll_stop(poll);
	if (j->state != JOB_ENDING) {
		log_warn("job %s: its shepherd is gone", j->name);
		only_copy = j->state == JOB_RUNNING || j->state == JOB_EXITED;
		migrate_job_lost(j, true);
	}
	if (only_copy) {
		bury(j);
	} else {
		j->state = JOB_ENDING;
		remove_job(j);
	}
}

void jobs_exited(struct job *j, const Godwit__Procd__Exited *x)
{
	j->exited = *x;
	j->exited_us = now_us();
	if (j->watching)
		(void)uv_poll_stop(&j->leader_gone);
	fd_close(&j->pidfd);
	j->pid = 0;
	if (j->state == JOB_ENDING)
		return;
	if (j->state == JOB_LEAVING || j->state == JOB_ARRIVING) {
		/* A frozen copy was killed. What follows is a matter of the migration. */
		migrate_job_lost(j, false);
		return;
	}
	migrate_job_lost(j, false);
	/* Whatever it left behind: a job is over when its leader is. */
	container_kill(&j->container, &j->p->cgroups, true);
	j->state = JOB_EXITED;
	(void)uv_timer_start(&j->linger, on_linger, j->p->settings.keep_exited_s * 1000, 0);
	owner_exited(j);
	quota_limit_exited(j->p, j->spec->uid);
}

void jobs_superseded(struct job *j, uint32_t incarnation)
{
	if (j->state == JOB_LEAVING || j->state == JOB_ENDING)
		return; /* as it should be; the endpoint is closed when the copy here goes */
	log_warn("job %s: another host serves incarnation %u; ours is %llu", j->name, incarnation,
		 (unsigned long long)j->incarnation);
	rpc_unserve_job(j);
}

void jobs_serve_again(struct job *j)
{
	switch (j->state) {
	case JOB_RUNNING:
	case JOB_EXITED:
		rpc_serve_job(j);
		owner_again(j);
		break;
	case JOB_LEAVING:
		migrate_busy_again(j);
		break;
	case JOB_STARTING:
		/* Whoever looks for it waits, instead of being told that there is no such job. */
		if (j->recovering)
			rpc_serve_job(j);
		break;
	default:
		break;
	}
}

/* --- the beginning --- */

static void on_event(void *arg, const Godwit__Shepherd__Reply *r)
{
	struct job *j = arg;

	if (r->result_case == GODWIT__SHEPHERD__REPLY__RESULT_EXITED)
		jobs_exited(j, r->exited);
}

static void on_herd_gone(void *arg)
{
	struct job *j = arg;

	/* The pidfd tells the rest. A shepherd that lives and hangs up has been taken over by another procd. */
	herd_close(j->herd);
	j->herd = NULL;
}

static const struct herd_ops herd_ops = { .event = on_event, .gone = on_herd_gone };

static struct job *job_alloc(struct procd *p, Godwit__Procd__JobSpec *spec, enum job_state state)
{
	struct job *j = xcalloc(1, sizeof *j);

	j->p = p;
	j->spec = spec;
	caps_init(spec);
	j->state = state;
	j->incarnation = 1;
	j->pidfd = -EBADF;
	(void)snprintf(j->name, sizeof j->name, "%s", spec->name);
	godwit__procd__exited__init(&j->exited);
	container_init(&j->container);
	return j;
}

static void adopt_container(struct job *j)
{
	struct procd *p = j->p;

	(void)uv_timer_init(p->loop, &j->linger);
	(void)uv_poll_init(p->loop, &j->gone, j->container.pidfd);
	(void)uv_timer_init(p->loop, &j->patience);
	j->linger.data = j;
	j->gone.data = j;
	j->patience.data = j;
	j->handles = 3;
	(void)uv_poll_start(&j->gone, UV_READABLE, on_shepherd_gone);
	if (j->container.sock >= 0)
		j->herd = herd_new(p->loop, steal_fd(&j->container.sock), &herd_ops, j);
	j->next = p->jobs;
	p->jobs = j;
	p->n_jobs++;
}

int jobs_new(struct procd *p, Godwit__Procd__JobSpec *spec, enum job_state state, struct job **ret, struct err *e)
{
	struct job *j = job_alloc(p, spec, state);
	int r;

	if (p->n_jobs >= PROCD_JOBS_MAX)
		r = err_set(e, -EAGAIN, "this host has %u jobs already", PROCD_JOBS_MAX);
	else
		r = quota_admits_job(p, spec->uid, e);
	if (!r)
		r = container_create(&j->container, &p->cgroups, p->jobs_dir, j->name, p->programs, e);
	if (r < 0) {
		godwit__procd__job_spec__free_unpacked(spec, NULL);
		free(j);
		return r;
	}
	adopt_container(j);
	*ret = j;
	return 0;
}

/* Negative: -errno. */
static pid_t pid_of(int pidfd)
{
	_cleanup_free_ char *text = NULL;
	char path[64];
	const char *at;
	ssize_t n;

	(void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
	n = fd_slurp(AT_FDCWD, path, 4096, &text);
	if (n < 0)
		return (pid_t)n;
	at = strstr(text, "\nPid:");
	return at ? (pid_t)MAX(strtol(at + 5, NULL, 10), 0) : 0;
}

/* A job is one process: if the descriptor cannot be asked, its cgroup can. */
int jobs_set_leader(struct job *j, int pidfd)
{
	pid_t pid = pid_of(pidfd);

	fd_close(&j->pidfd);
	j->pidfd = pidfd;
	j->pid = pid > 0 ? pid : container_any(&j->container, &j->p->cgroups);
	return j->pid > 0 || !pid ? 0 : pid;
}

static void on_settle_again(uv_timer_t *timer)
{
	struct job *j = timer->data;

	if (j->state == JOB_RUNNING && migrate_is_moving(j)) /* which settles it when it is over */
		(void)uv_timer_start(&j->linger, on_settle_again, SETTLE_AGAIN_MS, 0);
	else if (j->state == JOB_RUNNING)
		(void)jobs_settle(j);
}

/* Even a write of one byte into a cgroup's file may fail for want of memory; and a job that nobody thaws is none.
 */
int jobs_settle(struct job *j)
{
	int r = container_freeze(&j->container, &j->p->cgroups, j->spec->stunned);

	if (r < 0) {
		log_error("job %s: cannot be %s: %s", j->name, j->spec->stunned ? "frozen" : "thawed",
			  strerror(-r));
		(void)uv_timer_start(&j->linger, on_settle_again, SETTLE_AGAIN_MS, 0);
	}
	return r;
}

int jobs_save(struct job *j, struct err *e)
{
	Godwit__Journal__JobFile f = GODWIT__JOURNAL__JOB_FILE__INIT;
	_cleanup_free_ char *path = xasprintf("%s/job", j->container.dir);
	_cleanup_free_ char *fresh = xasprintf("%s/job.new", j->container.dir);
	_cleanup_free_ uint8_t *bytes = NULL;
	_cleanup_fd_ int fd = -EBADF;
	size_t len;
	int r;

	if (j->lost)
		return 0; /* nothing of it outlives us */
	f.spec = j->spec;
	f.incarnation = j->incarnation;
	f.owner_pending = j->owner_pending;
	f.owner_knows_end = j->owner_knows_end;
	if (j->in)
		migrate_describe_arrival(j, &f);
	len = godwit__journal__job_file__get_packed_size(&f);
	bytes = xmalloc(len);
	(void)godwit__journal__job_file__pack(&f, bytes);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, "cannot create %s", fresh);
	r = fd_write_full(fd, bytes, len);
	if (r < 0)
		return err_code(e, r, "cannot write %s", fresh);
	return rename(fresh, path) < 0 ? err_errno(e, "cannot replace %s", path) : 0;
}

/* --- after a restart --- */

static Godwit__Journal__JobFile *read_job_file(struct procd *p, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s/job", p->jobs_dir, name);
	_cleanup_free_ char *bytes = NULL;
	ssize_t n = fd_slurp(AT_FDCWD, path, 1u << 20, &bytes);
	Godwit__Journal__JobFile *f;

	if (n <= 0)
		return NULL;
	f = godwit__journal__job_file__unpack(NULL, (size_t)n, (const uint8_t *)bytes);
	if (f && f->spec && !strcmp(f->spec->name, name))
		return f;
	if (f)
		godwit__journal__job_file__free_unpacked(f, NULL);
	return NULL;
}

static void on_state(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	struct job *j = arg;

	/* The shepherd's word that a blank has died may come before its answer; with that an arrival is over. */
	if (j->state == JOB_ENDING)
		return;
	if (!r || r->result_case != GODWIT__SHEPHERD__REPLY__RESULT_STATE) {
		if (r)
			jobs_end(j, NULL, NULL);
		return;
	}
	if (n_fds)
		(void)jobs_set_leader(j, steal_fd(&fds[0]));
	j->attached = r->state->attached;
	if (j->spec->adopted && j->pidfd < 0)
		adopt_find_again(j);
	migrate_recover_job(j, r->state);
}

/* What an earlier procd was writing when it died (jobs_save). */
static void forget_half_file(struct procd *p, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s/job.new", p->jobs_dir, name);

	(void)unlink(path);
}

static void load_job(struct procd *p, const char *name)
{
	Godwit__Journal__JobFile *f = read_job_file(p, name);
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__GetState get = GODWIT__SHEPHERD__GET_STATE__INIT;
	Godwit__Procd__JobSpec empty = GODWIT__PROCD__JOB_SPEC__INIT;
	struct err e = { 0 };
	struct job *j;
	int r;

	empty.name = (char *)(uintptr_t)name;
	j = job_alloc(p, jobs_copy_spec(f ? f->spec : &empty), JOB_STARTING);
	if (f) {
		j->incarnation = f->incarnation;
		j->owner_pending = f->owner_pending;
		j->owner_knows_end = f->owner_knows_end;
	}
	forget_half_file(p, name);
	r = container_reopen(&j->container, &p->cgroups, p->jobs_dir, name, &e);
	if (r == -ESRCH) {
		log_info("job %s: %s", name, err_text(&e));
		container_remove(&j->container, &p->cgroups);
		godwit__procd__job_spec__free_unpacked(j->spec, NULL);
		free(j);
	} else {
		adopt_container(j);
		j->found_us = now_us();
		j->recovering = f && !*f->migration;
		if (f)
			migrate_recover_arrival(j, f);
		q.op_case = GODWIT__SHEPHERD__REQUEST__OP_GET_STATE;
		q.get_state = &get;
		if (r < 0 || !f || herd_ask(j->herd, &q, -1, on_state, j) < 0)
			jobs_end(j, NULL, NULL);
	}
	if (f)
		godwit__journal__job_file__free_unpacked(f, NULL);
}

int jobs_load(struct procd *p, struct err *e)
{
	uv_fs_t scan;
	uv_dirent_t entry;
	int r;

	if (mkdir(p->jobs_dir, 0700) < 0 && errno != EEXIST)
		return err_errno(e, "cannot make %s", p->jobs_dir);
	r = uv_fs_scandir(p->loop, &scan, p->jobs_dir, 0, NULL);
	if (r < 0)
		return err_code(e, r, "cannot read %s", p->jobs_dir);
	while (uv_fs_scandir_next(&scan, &entry) != UV_EOF)
		if (name_is_valid(entry.name))
			load_job(p, entry.name);
	uv_fs_req_cleanup(&scan);
	return 0;
}
