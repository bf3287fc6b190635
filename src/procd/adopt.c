/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a process that godwit did not start. It becomes a job where it is: moved into a job's cgroup, with a
 * shepherd that has nothing to hold (the process has its own files for standard streams, or the check stage
 * refuses them) and is not its parent. That comes with its first move: its old parent then sees it killed, and it
 * is the child of the shepherd on the destination.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "procd/herd.h"
#include "procd/jobs.h"
#include "procd/ops.h"
#include "procd/rpc.h"

/* PIDFD_GET_INFO with PIDFD_INFO_EXIT, Linux 6.15: the exit status of a process that is not our child. Not in the
 * headers of older systems, so the part of struct pidfd_info that is needed is here. */
struct exit_info {
	uint64_t mask;
	uint64_t cgroupid;
	uint32_t ids[11]; /* pid, tgid, ppid, uids and gids */
	int32_t exit_code;
};
#define PIDFD_EXIT_WANTED (1ull << 3)
#define PIDFD_EXIT_GET _IOWR(0xFF, 11, struct exit_info)

_Static_assert(sizeof(struct exit_info) == 64, "struct pidfd_info, its first version");

struct adopt {
	struct call *call;
	struct job *job;
	struct err e;
};

/* --- may it, can it --- */

static long status_field(const char *status, const char *key, int index)
{
	const char *at = strstr(status, key);
	long value = -1;
	char *end;

	if (!at)
		return -1;
	at += strlen(key);
	for (int i = 0; i <= index; i++) {
		value = strtol(at, &end, 10);
		if (end == at)
			return -1;
		at = end;
	}
	return value;
}

static bool same_namespace(pid_t pid, const char *kind)
{
	char ours[64], theirs[64];
	struct stat a, b;

	(void)snprintf(ours, sizeof ours, "/proc/self/ns/%s", kind);
	(void)snprintf(theirs, sizeof theirs, "/proc/%d/ns/%s", pid, kind);
	return stat(ours, &a) == 0 && stat(theirs, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* As ptrace's rules: all its ids are the caller's, and it is dumpable (else its /proc entry is root's). */
static bool is_permitted(const struct call *c, pid_t pid, const char *status)
{
	char path[32];
	struct stat st;

	if (c->uid == 0)
		return true;
	for (int i = 0; i < 3; i++)
		if (status_field(status, "\nUid:", i) != (long)c->uid)
			return false;
	(void)snprintf(path, sizeof path, "/proc/%d", pid);
	return stat(path, &st) == 0 && st.st_uid == c->uid;
}

static int check(struct procd *p, struct call *c, pid_t pid, const char *status, struct err *e)
{
	static const char *const kinds[] = { "pid", "mnt", "net", "user", "ipc", "uts" };

	if (!is_permitted(c, pid, status))
		return err_set(e, -EPERM, "process %d is not yours", pid);
	if (status_field(status, "\nTgid:", 0) != pid)
		return err_set(e, -EINVAL, "%d is a thread, not a process", pid);
	if (pid == 1 || pid == getpid() || !strstr(status, "\nVmRSS:"))
		return err_set(e, -EINVAL, "process %d is part of the system", pid);
	for (struct job *j = p->jobs; j; j = j->next)
		if (j->pid == pid || j->container.shepherd == pid)
			return err_set(e, -EEXIST, "process %d belongs to job %s", pid, j->name);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (!same_namespace(pid, kinds[i]))
			return err_set(e, -ENOTSUP, "process %d is in a container (another %s namespace)", pid,
				       kinds[i]);
	if (getsid(pid) != pid)
		return err_set(e, -ENOTSUP, "process %d shares its session with process %d (start it with setsid)",
			       pid, getsid(pid));
	return 0;
}

/* --- its end --- */

static void fill_exited(int pidfd, Godwit__Procd__Exited *x)
{
	struct exit_info info = { .mask = PIDFD_EXIT_WANTED };

	godwit__procd__exited__init(x);
	x->at_us = realtime_us();
	if (ioctl(pidfd, PIDFD_EXIT_GET, &info) < 0 || !(info.mask & PIDFD_EXIT_WANTED))
		return; /* an older kernel does not tell */
	if (WIFSIGNALED(info.exit_code)) {
		x->signal = WTERMSIG(info.exit_code);
		x->core = WCOREDUMP(info.exit_code);
	} else {
		x->status = WEXITSTATUS(info.exit_code);
	}
}

static void on_leader_gone(uv_poll_t *poll, int status, int events)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Ended ended = GODWIT__SHEPHERD__ENDED__INIT;
	struct job *j = poll->data;
	Godwit__Procd__Exited x;

	(void)status;
	(void)events;
	(void)uv_poll_stop(poll);
	fill_exited(j->pidfd, &x);
	ended.exited = &x;
	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_ENDED;
	q.ended = &ended;
	if (herd_ask(j->herd, &q, -1, NULL, NULL) < 0)
		log_warn("job %s: cannot tell its shepherd that it has ended", j->name);
	jobs_exited(j, &x);
}

static void watch_leader(struct job *j)
{
	(void)uv_poll_init(j->p->loop, &j->leader_gone, j->pidfd);
	j->leader_gone.data = j;
	j->watching = true;
	j->handles++;
	(void)uv_poll_start(&j->leader_gone, UV_READABLE, on_leader_gone);
}

void adopt_find_again(struct job *j)
{
	pid_t pid = container_any(&j->container, &j->p->cgroups);
	int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;

	if (pidfd < 0)
		return;
	(void)jobs_set_leader(j, pidfd);
	watch_leader(j);
}

/* --- taking it --- */

static Godwit__Procd__JobSpec *make_spec(struct procd *p, const Godwit__Procd__Adopt *q, const char *name,
					 const char *status)
{
	Godwit__Procd__JobSpec s = GODWIT__PROCD__JOB_SPEC__INIT;
	_cleanup_free_ char *command = NULL;
	char path[64], *words[64];
	ssize_t n;

	(void)snprintf(path, sizeof path, "/proc/%d/cmdline", q->pid);
	n = fd_slurp(AT_FDCWD, path, 4096, &command);
	s.command = words;
	for (char *at = command; n > 0 && at < command + n && s.n_command < ARRAY_LEN(words); at += strlen(at) + 1)
		words[s.n_command++] = at;
	s.name = (char *)(uintptr_t)name;
	s.uid = (uint32_t)status_field(status, "\nUid:", 0);
	s.gid = (uint32_t)status_field(status, "\nGid:", 0);
	s.started_us = realtime_us();
	s.carry = q->carry;
	s.adopted = 1;
	s.leader = q->pid;
	s.log_bytes = p->settings.log_bytes;
	return jobs_copy_spec(&s);
}

static void on_adopted(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds)
{
	Godwit__Procd__Reply reply = GODWIT__PROCD__REPLY__INIT;
	Godwit__Procd__Started started = GODWIT__PROCD__STARTED__INIT;
	struct adopt *a = arg;
	struct job *j = a->job;

	(void)fds;
	(void)n_fds;
	if (!r || r->code) {
		(void)err_set(&a->e, -EIO, "its shepherd did not start");
	} else {
		j->state = JOB_RUNNING;
		(void)jobs_save(j, &a->e);
	}
	if (!a->e.code && container_take_in(&j->container, &j->p->cgroups, j->pid) < 0)
		(void)err_set(&a->e, -ESRCH, "process %d has ended", j->pid);
	if (a->e.code) {
		if (r)
			jobs_end(j, NULL, NULL);
		call_fail(a->call, &a->e);
	} else {
		rpc_serve_job(j);
		started.name = j->name;
		reply.result_case = GODWIT__PROCD__REPLY__RESULT_STARTED;
		reply.started = &started;
		call_reply(a->call, &reply);
	}
	free(a);
}

static void take(struct procd *p, struct call *c, int pidfd, const char *name, const char *status)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Adopt ask = GODWIT__SHEPHERD__ADOPT__INIT;
	struct adopt *a = xcalloc(1, sizeof *a);

	a->call = c;
	if (jobs_new(p, make_spec(p, c->request->adopt, name, status), JOB_STARTING, &a->job, &a->e) < 0) {
		(void)close(pidfd);
		call_fail(c, &a->e);
		free(a);
		return;
	}
	(void)jobs_set_leader(a->job, pidfd);
	watch_leader(a->job);
	ask.uid = a->job->spec->uid;
	ask.gid = a->job->spec->gid;
	q.op_case = GODWIT__SHEPHERD__REQUEST__OP_ADOPT;
	q.adopt = &ask;
	if (herd_ask(a->job->herd, &q, -1, on_adopted, a) < 0) {
		jobs_end(a->job, NULL, NULL);
		call_refuse(c, -EIO, "its shepherd did not start");
		free(a);
	}
}

void adopt_start(struct procd *p, struct call *c)
{
	const Godwit__Procd__Adopt *q = c->request->adopt;
	_cleanup_fd_ int pidfd = q->pid > 0 ? (int)syscall(SYS_pidfd_open, q->pid, 0) : -1;
	_cleanup_free_ char *status = NULL;
	_cleanup_free_ char *comm = NULL;
	char path[64], name[NAME_MAX_LEN + 1];
	struct err e = { 0 };
	uint32_t random = 0;

	(void)snprintf(path, sizeof path, "/proc/%d/status", q->pid);
	if (pidfd < 0 || fd_slurp(AT_FDCWD, path, 65536, &status) < 0) {
		call_refuse(c, -ESRCH, "there is no process %d on %s", q->pid, p->settings.name);
		return;
	}
	(void)snprintf(path, sizeof path, "/proc/%d/comm", q->pid);
	if (fd_slurp(AT_FDCWD, path, 64, &comm) > 0)
		comm[strcspn(comm, "\n")] = '\0';
	(void)!getrandom(&random, sizeof random, 0);
	if (*q->name)
		(void)snprintf(name, sizeof name, "%s", q->name);
	else
		name_make(name, comm ? comm : "job", p->settings.name, random);
	if (!name_is_valid(name) || (*q->name && strlen(q->name) > NAME_MAX_LEN))
		call_refuse(c, -EINVAL, "that is no name for a job");
	else if (jobs_by_name(p, name))
		call_refuse(c, -EEXIST, "there is a job %s", name);
	else if (check(p, c, q->pid, status, &e) < 0)
		call_fail(c, &e);
	else
		take(p, c, steal_fd(&pidfd), name, status);
}
