/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a job: check who asks for what, make sure that the name is free in the whole cluster (reserve.h), make
 * a container, tell its shepherd to start the program, answer.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "procd/herd.h"
#include "procd/jobs.h"
#include "procd/ops.h"
#include "procd/policy.h"
#include "procd/reserve.h"
#include "procd/rpc.h"

#define ARGS_MAX 4096u
#define ARGS_BYTES_MAX (1u << 20)
#define GROUPS_MAX 256
#define LOG_BYTES_MAX (256u << 20)
#define COMMAND_SHOWN_MAX 4096u

struct exec {
	struct procd *p;
	struct call *call;
	Godwit__Procd__Exec *x; /* the call's */
	char name[NAME_MAX_LEN + 1];
	struct reservation *reservation;
	struct job *job;
	struct err e;
};

/* --- checking --- */

static int check_strings(char **list, size_t n, size_t *total, struct err *e)
{
	if (n > ARGS_MAX)
		return err_set(e, -E2BIG, "more than %u arguments or variables", ARGS_MAX);
	for (size_t i = 0; i < n; i++)
		*total += strlen(list[i]) + 1;
	return *total > ARGS_BYTES_MAX ? err_set(e, -E2BIG, "arguments and environment are too long") : 0;
}

/* The caller's own gid is NULL if his kernel's word for it does not count here; then he has an account (check).
 * A user gets, of the groups he asks for, those that this host or his own kernel knows him to be in. */
static void restrict_groups(Godwit__Procd__Exec *x, const gid_t *callers_gid)
{
	gid_t known[GROUPS_MAX];
	struct passwd *pw = getpwuid(x->uid);
	int n = GROUPS_MAX;
	size_t kept = 0;
	bool gid_ok = callers_gid && x->gid == *callers_gid;

	if (!pw || getgrouplist(pw->pw_name, pw->pw_gid, known, &n) < 0)
		n = 0;
	for (int i = 0; i < n; i++)
		gid_ok |= known[i] == x->gid;
	if (!gid_ok)
		x->gid = callers_gid ? *callers_gid : pw->pw_gid;
	for (size_t i = 0; i < x->n_groups; i++) {
		bool ok = callers_gid && x->groups[i] == *callers_gid;

		for (int k = 0; k < n; k++)
			ok |= known[k] == x->groups[i];
		if (ok)
			x->groups[kept++] = x->groups[i];
	}
	x->n_groups = kept;
}

static void restrict_limits(Godwit__Procd__Exec *x)
{
	for (size_t i = 0; i < x->n_limits; i++) {
		struct rlimit ours;

		if (getrlimit((__rlimit_resource_t)x->limits[i]->resource, &ours) < 0)
			continue;
		x->limits[i]->hard = MIN(x->limits[i]->hard, ours.rlim_max);
		x->limits[i]->soft = MIN(x->limits[i]->soft, x->limits[i]->hard);
	}
	x->nice = MAX(x->nice, 0);
}

static int check(struct exec *o, struct err *e)
{
	Godwit__Procd__Exec *x = o->x;
	bool trusted = policy_trusts(&o->p->settings, o->call->host);
	size_t total = 0;
	int r;

	if (*x->name && !name_is_valid(x->name))
		return err_set(e, -EINVAL,
			       "`%.80s' is no name for a job (letters, digits, `.', `_', `-', at most %u)",
			       x->name, NAME_MAX_LEN);
	if (!x->n_argv || !*x->argv[0])
		return err_set(e, -EINVAL, "no command");
	if (owner_why_not(x->owner))
		return err_set(e, -EINVAL, "its owner: %s", owner_why_not(x->owner));
	r = check_strings(x->argv, x->n_argv, &total, e);
	if (!r)
		r = check_strings(x->env, x->n_env, &total, e);
	if (r < 0)
		return r;
	if (x->n_groups > GROUPS_MAX || x->n_limits > RLIM_NLIMITS)
		return err_set(e, -E2BIG, "too many groups or limits");
	if (o->call->uid != 0) {
		if (x->uid != o->call->uid)
			return err_set(e, -EPERM, "only root may run jobs as another user");
		if (!trusted && !getpwuid(x->uid))
			return err_set(e, -EPERM, "%s knows no user %u", o->p->settings.name, x->uid);
		restrict_groups(x, trusted ? &o->call->gid : NULL);
		restrict_limits(x);
	}
	x->log_bytes = x->log_bytes ? MIN(x->log_bytes, LOG_BYTES_MAX) : o->p->settings.log_bytes;
	return 0;
}

/* --- the end of it --- */

static void exec_free(struct exec *o)
{
	reserve_drop(o->reservation);
	free(o);
}

static void fail(struct exec *o)
{
	if (o->job)
		jobs_end(o->job, NULL, NULL);
	call_fail(o->call, &o->e);
	exec_free(o);
}

static void succeed(struct exec *o, Godwit__Procd__Attached *attached)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Started started = GODWIT__PROCD__STARTED__INIT;

	started.name = o->job->name;
	started.attached = attached;
	r.result_case = GODWIT__PROCD__REPLY__RESULT_STARTED;
	r.started = &started;
	call_reply(o->call, &r);
	exec_free(o);
}

/* --- starting --- */

static void on_attached(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	struct exec *o = arg;

	(void)fds;
	(void)n_fds;
	if (!o->e.code && r && r->relay && r->result_case == GODWIT__SHEPHERD__REPLY__RESULT_RELAY &&
	    r->relay->attached && r->relay->result_case == GODWIT__PROCD__REPLY__RESULT_ATTACHED) {
		o->job->attached = true;
		succeed(o, r->relay->attached);
		return;
	}
	if (!o->e.code)
		(void)err_set(&o->e, -EIO, "the shepherd did not take the front-end on");
	fail(o);
}

static void on_started(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	struct exec *o = arg;
	bool attach = o->x->attach; /* then on_attached comes next, and ends it */

	if (!r) {
		o->job = NULL;
		(void)err_set(&o->e, -EIO, "the shepherd died (procd's log may say why)");
	} else if (r->result_case != GODWIT__SHEPHERD__REPLY__RESULT_STARTED || !n_fds) {
		(void)err_set(&o->e, r->code ? r->code : -EIO, "%s", r->text);
	} else {
		(void)jobs_set_leader(o->job, steal_fd(&fds[0]));
		o->job->spec->leader = r->started->pid;
		o->job->state = JOB_RUNNING;
		(void)jobs_save(o->job, &o->e);
	}
	if (attach)
		return;
	if (o->e.code)
		fail(o);
	else
		succeed(o, NULL);
}

static int spec_memfd(const Godwit__Procd__Exec *x, struct err *e)
{
	Godwit__Shepherd__Spec spec = GODWIT__SHEPHERD__SPEC__INIT;
	_cleanup_fd_ int fd = memfd_create("godwit-spec", MFD_CLOEXEC);
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;
	int r;

	if (fd < 0)
		return err_errno(e, "cannot make a memfd");
	spec.exec = (Godwit__Procd__Exec *)(uintptr_t)x;
	len = godwit__shepherd__spec__get_packed_size(&spec);
	bytes = xmalloc(len);
	(void)godwit__shepherd__spec__pack(&spec, bytes);
	r = fd_write_full(fd, bytes, len);
	return r < 0 ? err_code(e, r, "cannot fill a memfd") : steal_fd(&fd);
}

static int tell_shepherd(struct exec *o, struct err *e)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT, aq = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Procd__Request relay = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Attach attach = GODWIT__PROCD__ATTACH__INIT;
	Godwit__Shepherd__Start start = GODWIT__SHEPHERD__START__INIT;
	_cleanup_fd_ int fd = spec_memfd(o->x, e);
	int r;

	if (fd < 0)
		return fd;
	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_START;
	q.start = &start;
	r = herd_ask(o->job->herd, &q, fd, on_started, o);
	if (r < 0)
		return err_code(e, r, "cannot reach the shepherd");
	if (!o->x->attach)
		return 0;
	/* Right behind: the answer comes after that to the start, and nobody can come in between. */
	relay.op_case = GODWIT__PROCD__REQUEST__OP_ATTACH;
	relay.attach = &attach;
	aq.op_case = GODWIT__SHEPHERD__REQUEST__OP_RELAY;
	aq.relay = &relay;
	if (herd_ask(o->job->herd, &aq, -1, on_attached, o) < 0)
		o->x->attach = 0; /* on_started is on its way and ends it */
	return 0;
}

static Godwit__Procd__JobSpec *make_spec(struct exec *o)
{
	Godwit__Procd__JobSpec s = GODWIT__PROCD__JOB_SPEC__INIT;
	const Godwit__Procd__Exec *x = o->x;
	size_t shown = 0;

	s.name = o->name;
	s.uid = x->uid;
	s.gid = x->gid;
	s.groups = x->groups;
	s.n_groups = x->n_groups;
	s.command = x->argv;
	while (s.n_command < x->n_argv && (shown += strlen(x->argv[s.n_command]) + 1) <= COMMAND_SHOWN_MAX)
		s.n_command++;
	s.started_us = realtime_us();
	s.terminal = x->terminal != NULL;
	s.carry = x->carry;
	s.log_bytes = x->log_bytes;
	s.owner = x->owner;
	return jobs_copy_spec(&s);
}

static void start(struct exec *o)
{
	if (!o->e.code && jobs_by_name(o->p, o->name))
		(void)err_set(&o->e, -EEXIST, "there is a job %s", o->name);
	if (o->e.code || jobs_new(o->p, make_spec(o), JOB_STARTING, &o->job, &o->e) < 0 ||
	    tell_shepherd(o, &o->e) < 0) {
		fail(o);
		return;
	}
	rpc_serve_job(o->job);
}

static void on_reserved(void *arg, const struct err *e)
{
	struct exec *o = arg;

	o->e = *e;
	start(o);
}

void exec_start(struct procd *p, struct call *c)
{
	struct exec *o = xcalloc(1, sizeof *o);
	uint32_t random = 0;

	o->p = p;
	o->call = c;
	o->x = c->request->exec;
	if (check(o, &o->e) < 0) {
		fail(o);
		return;
	}
	if (!*o->x->name) {
		(void)!getrandom(&random, sizeof random, 0);
		name_make(o->name, o->x->argv[0], p->settings.name, random);
		start(o);
		return;
	}
	(void)snprintf(o->name, sizeof o->name, "%s", o->x->name);
	reserve_name(p, o->name, c, o->x->uid, on_reserved, o, &o->reservation);
}
