/* SPDX-License-Identifier: Apache-2.0 */
#include "procd/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "procd/caps.h"
#include "procd/herd.h"
#include "procd/jobs.h"
#include "procd/migrate.h"
#include "procd/policy.h"
#include "procd/reserve.h"
#include "procd/rpc.h"

/* ANYBODY: it is only looking. USER: whom this host's policy admits. OWNER: he, or root, if admitted. SERVER: uid
 * 0 of a host of the cluster; who else may, the handler knows (only the other side of a migration may speak of
 * it). */
enum who { ANYBODY = 1, USER, OWNER, SERVER };

static bool is_admitted(struct call *c)
{
	if (policy_admits(&c->p->settings, c->host, c->uid)) {
		c->gid = policy_gid(&c->p->settings, c->host, c->uid, c->gid);
		return true;
	}
	call_refuse(c, -EPERM, "%s does not take the word of %s for %s %u (godwit.conf: %s)", c->p->settings.name,
		    c->host, c->uid ? "user" : "root, user", c->uid, c->uid ? "jobs_from" : "root_from");
	return false;
}

/* --- a job's own requests --- */

static bool is_poll(const struct call *c)
{
	return c->request->op_case == GODWIT__PROCD__REQUEST__OP_WAIT ||
	       c->request->op_case == GODWIT__PROCD__REQUEST__OP_READ ||
	       c->request->op_case == GODWIT__PROCD__REQUEST__OP_WRITE;
}

/* Polls hear `again` when the job begins to move. Callers of anything else do not expect that, and wait. */
static void answer_or_hold(struct call *c, Godwit__Procd__Reply *r)
{
	struct job *j;

	if (!r->again || is_poll(c)) {
		call_reply(c, r);
		return;
	}
	j = jobs_by_name(c->p, c->job);
	if (j && migrate_is_moving(j))
		jobs_hold(j, c);
	else if (j)
		ops_job(j, c);
	else
		call_forward(c, c->job);
}

static void on_relayed(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	struct call *c = arg;

	(void)fds;
	(void)n_fds;
	if (!r)
		call_refuse(c, -EIO, "the job's shepherd is gone");
	else if (r->result_case != GODWIT__SHEPHERD__REPLY__RESULT_RELAY)
		call_refuse(c, r->code ? r->code : -EIO, "%s", r->text);
	else
		answer_or_hold(c, r->relay);
}

static void do_relay(struct job *j, struct call *c)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	int r;

	if (j->lost) {
		lost_answer(j, c);
		return;
	}
	if (c->request->op_case == GODWIT__PROCD__REQUEST__OP_ATTACH)
		j->attached = true;
	else if (c->request->op_case == GODWIT__PROCD__REQUEST__OP_DETACH)
		j->attached = false;
	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_RELAY;
	q.relay = c->request;
	r = herd_ask(j->herd, &q, -1, on_relayed, c);
	/* Its end comes in a moment; worth asking again. */
	if (r < 0)
		call_refuse(c, r == -EPIPE ? -EIO : r, "cannot reach the job's shepherd");
}

static int signal_all(struct job *j, int number)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], cgroup[PATH_MAX], *next, *line;
	ssize_t n;

	container_job_cgroup(&j->container, &j->p->cgroups, cgroup, sizeof cgroup - 20);
	(void)snprintf(path, sizeof path, "%.*s/cgroup.procs", (int)sizeof path - 20, cgroup);
	n = fd_slurp(AT_FDCWD, path, 1u << 20, &text);
	if (n < 0)
		return (int)n;
	next = text;
	while ((line = strsep(&next, "\n"))) {
		pid_t pid = (pid_t)strtol(line, NULL, 10);

		if (pid > 0)
			(void)kill(pid, number);
	}
	return 0;
}

static void do_signal(struct job *j, struct call *c)
{
	const Godwit__Procd__Signal *q = c->request->signal;
	int r;

	if (q->signal < 0 || q->signal >= NSIG) {
		call_refuse(c, -EINVAL, "there is no signal %d", q->signal);
		return;
	}
	if (j->state == JOB_EXITED) {
		call_refuse(c, -ECHILD, "job %s has exited", j->name);
		return;
	}
	if (j->pidfd < 0) {
		call_refuse(c, -EAGAIN, "job %s has not started yet", j->name);
		return;
	}
	if (q->all)
		r = signal_all(j, q->signal);
	else
		r = syscall(SYS_pidfd_send_signal, j->pidfd, q->signal, NULL, 0) < 0 ? -errno : 0;
	if (r < 0)
		call_refuse(c, r, "cannot signal job %s: %s", j->name, strerror(-r));
	else
		call_ok(c);
}

static void do_remove(struct job *j, struct call *c)
{
	if (j->state != JOB_EXITED) {
		call_refuse(c, -EBUSY, "job %s has not exited", j->name);
		return;
	}
	call_ok(c);
	jobs_end(j, NULL, NULL);
}

static void do_destroy(struct job *j, struct call *c)
{
	if (j->state == JOB_EXITED) {
		do_remove(j, c);
		return;
	}
	container_kill(&j->container, &j->p->cgroups, true);
	call_ok(c);
}

/* The capability's rights that it takes, instead of being the owner. */
#define SEGMENT 0x80000000u /* and it must be a segment's; else the job's */
#define ANY_OBJECT 0x40000000u
#define RIGHT(x) GW_PSR_##x

static const struct job_op {
	Godwit__Procd__Request__OpCase op;
	enum who who;
	void (*handler)(struct job *j, struct call *c);
	bool always; /* also while the job stands still between two hosts */
	uint32_t rights;
} job_ops[] = {
	{ GODWIT__PROCD__REQUEST__OP_INFO, ANYBODY, ops_info, true, 0 },
	{ GODWIT__PROCD__REQUEST__OP_SIGNAL, OWNER, do_signal, false, RIGHT(KILL) },
	{ GODWIT__PROCD__REQUEST__OP_WAIT, OWNER, do_relay, false, RIGHT(OUTPUT) },
	{ GODWIT__PROCD__REQUEST__OP_ATTACH, OWNER, do_relay, false, RIGHT(ATTACH) },
	{ GODWIT__PROCD__REQUEST__OP_DETACH, OWNER, do_relay, false, RIGHT(ATTACH) },
	{ GODWIT__PROCD__REQUEST__OP_READ, OWNER, do_relay, false, RIGHT(OUTPUT) },
	{ GODWIT__PROCD__REQUEST__OP_WRITE, OWNER, do_relay, false, RIGHT(ATTACH) },
	{ GODWIT__PROCD__REQUEST__OP_WINDOW, OWNER, do_relay, false, RIGHT(ATTACH) },
	{ GODWIT__PROCD__REQUEST__OP_LOGS, OWNER, do_relay, false, RIGHT(OUTPUT) },
	{ GODWIT__PROCD__REQUEST__OP_CHECK, OWNER, migrate_check, false, RIGHT(MIGRATE) },
	{ GODWIT__PROCD__REQUEST__OP_MIGRATE, OWNER, migrate_start, true, RIGHT(MIGRATE) },
	{ GODWIT__PROCD__REQUEST__OP_CHECKPOINT, OWNER, migrate_checkpoint, false, RIGHT(CHECKPOINT) },
	{ GODWIT__PROCD__REQUEST__OP_STUN, OWNER, stun_start, false, RIGHT(STUN) },
	{ GODWIT__PROCD__REQUEST__OP_RESUME, OWNER, stun_resume, false, RIGHT(STUN) },
	{ GODWIT__PROCD__REQUEST__OP_SET_OWNER, OWNER, owner_set, false, RIGHT(OWNER) },
	{ GODWIT__PROCD__REQUEST__OP_MEM_READ, OWNER, stun_memory, false, RIGHT(READ) },
	{ GODWIT__PROCD__REQUEST__OP_MEM_WRITE, OWNER, stun_memory, false, RIGHT(WRITE) },
	{ GODWIT__PROCD__REQUEST__OP_GET_SEGMENTS, OWNER, look_segments, false, RIGHT(READ) },
	{ GODWIT__PROCD__REQUEST__OP_GET_THREADS, OWNER, look_threads, false, RIGHT(READ) },
	{ GODWIT__PROCD__REQUEST__OP_PROGRESS, OWNER, migrate_progress, true, RIGHT(MIGRATE) },
	{ GODWIT__PROCD__REQUEST__OP_CANCEL, OWNER, migrate_cancel, true, RIGHT(MIGRATE) },
	{ GODWIT__PROCD__REQUEST__OP_REMOVE, OWNER, do_remove, false, RIGHT(DELETE) },
	{ GODWIT__PROCD__REQUEST__OP_DESTROY, OWNER, do_destroy, false, RIGHT(DELETE) },
	{ GODWIT__PROCD__REQUEST__OP_RESTRICT_TO, OWNER, caps_restrict, false, ANY_OBJECT },
	{ GODWIT__PROCD__REQUEST__OP_REVOKE, OWNER, caps_revoke, false, GW_RIGHTS_ALL & ~SEGMENT & ~ANY_OBJECT },
	{ GODWIT__PROCD__REQUEST__OP_TOUCH, OWNER, caps_touch, false, ANY_OBJECT },
	{ GODWIT__PROCD__REQUEST__OP_DESCRIBE, OWNER, caps_describe, false, ANY_OBJECT },
	{ GODWIT__PROCD__REQUEST__OP_SEG_READ, OWNER, stun_segment, false, SEGMENT | RIGHT(READ) },
	{ GODWIT__PROCD__REQUEST__OP_SEG_WRITE, OWNER, stun_segment, false, SEGMENT | RIGHT(WRITE) },
	{ GODWIT__PROCD__REQUEST__OP_SEG_SIZE, OWNER, stun_segment, false, SEGMENT | RIGHT(READ) },
};

static bool is_allowed_by_cap(struct job *j, struct call *c, const struct job_op *o)
{
	uint32_t needed = o->rights & ~(SEGMENT | ANY_OBJECT);

	if (caps_rights(j, c, &c->rights) != GW_OK) {
		call_refuse(c, -EKEYREJECTED, "that is no capability of job %s, or not any more", j->name);
		return false;
	}
	if (!(o->rights & ANY_OBJECT) && !c->priv.object != !(o->rights & SEGMENT)) {
		call_refuse(c, -ENOSYS, "that is not for %s", c->priv.object ? "a segment" : "a job");
		return false;
	}
	if (needed & ~c->rights) {
		call_refuse(c, -EPERM, "the capability has not the right to do that to job %s", j->name);
		return false;
	}
	c->by_cap = true;
	/* Files are not the job's: there the caller's uid counts, if it is believed here. */
	return o->handler != migrate_checkpoint || is_admitted(c);
}

static bool is_allowed(struct job *j, struct call *c, const struct job_op *o)
{
	if (o->who == ANYBODY)
		return true;
	if (c->has_cap)
		return is_allowed_by_cap(j, c, o);
	if (!is_admitted(c))
		return false;
	c->rights = GW_RIGHTS_ALL;
	if (!jobs_is_allowed(j, c))
		call_refuse(c, -EPERM, "job %s is another user's", j->name);
	else if (o->rights & SEGMENT)
		call_refuse(c, -EINVAL, "that takes the capability of a segment");
	else
		return true;
	return false;
}

void ops_job(struct job *j, struct call *c)
{
	for (size_t i = 0; i < ARRAY_LEN(job_ops); i++) {
		const struct job_op *o = &job_ops[i];

		if (o->op != c->request->op_case)
			continue;
		if (!is_allowed(j, c, o))
			return;
		if (j->recovering)
			jobs_hold(j, c);
		else if (o->always || !migrate_is_moving(j))
			o->handler(j, c);
		else if (is_poll(c))
			call_again(c);
		else
			jobs_hold(j, c);
		return;
	}
	call_refuse(c, -ENOSYS, "not a request to a job");
}

/* --- the host's --- */

static void on_job_of_host(struct procd *p, struct call *c)
{
	bool cancel = c->request->op_case == GODWIT__PROCD__REQUEST__OP_CANCEL;
	struct job *j = jobs_by_name(p, cancel ? c->request->cancel->job : c->request->progress->job);

	if (!j)
		call_refuse(c, -ESRCH, "there is no such job on %s", p->settings.name);
	else if (!jobs_is_allowed(j, c))
		call_refuse(c, -EPERM, "job %s is another user's", j->name);
	else if (cancel)
		migrate_cancel(j, c);
	else
		migrate_progress(j, c);
}

static const struct host_op {
	Godwit__Procd__Request__OpCase op;
	enum who who;
	void (*handler)(struct procd *p, struct call *c);
} host_ops[] = {
	{ GODWIT__PROCD__REQUEST__OP_EXEC, USER, exec_start },
	{ GODWIT__PROCD__REQUEST__OP_RESTART, USER, restart_start },
	{ GODWIT__PROCD__REQUEST__OP_LIST, ANYBODY, ops_list },
	{ GODWIT__PROCD__REQUEST__OP_LOAD, ANYBODY, ops_load },
	{ GODWIT__PROCD__REQUEST__OP_ADOPT, USER, adopt_start },
	{ GODWIT__PROCD__REQUEST__OP_OUTCOME, USER, migrate_outcome },
	{ GODWIT__PROCD__REQUEST__OP_PROGRESS, USER, on_job_of_host },
	{ GODWIT__PROCD__REQUEST__OP_CANCEL, USER, on_job_of_host },
	{ GODWIT__PROCD__REQUEST__OP_RESERVE, SERVER, reserve_serve },
	{ GODWIT__PROCD__REQUEST__OP_HELLO, SERVER, migrate_hello },
	{ GODWIT__PROCD__REQUEST__OP_BEGIN, SERVER, migrate_in_begin },
	{ GODWIT__PROCD__REQUEST__OP_SPOOL, SERVER, migrate_in_spool },
	{ GODWIT__PROCD__REQUEST__OP_COMMIT, SERVER, migrate_in_commit },
	{ GODWIT__PROCD__REQUEST__OP_ABORT, SERVER, migrate_in_abort },
	{ GODWIT__PROCD__REQUEST__OP_FORGET, SERVER, migrate_in_forget },
	{ GODWIT__PROCD__REQUEST__OP_QUERY, SERVER, migrate_query },
};

void ops_host(struct procd *p, struct call *c)
{
	for (size_t i = 0; i < ARRAY_LEN(host_ops); i++) {
		const struct host_op *o = &host_ops[i];

		if (o->op != c->request->op_case)
			continue;
		if (o->who == USER && !is_admitted(c))
			return;
		if (o->who == SERVER && c->uid != 0)
			call_refuse(c, -EPERM, "only a process server may ask that");
		else
			o->handler(p, c);
		return;
	}
	call_refuse(c, -ENOSYS, "not a request to a process server");
}
