/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tracer. Daemons and shepherds have one thread. A shepherd of the destination is born in the middle of the
 * migration: its procd is traced until then, and the child that is in the shepherd's cgroup is the target, from
 * its first instruction on.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "journal.pb-c.h"
#include "strike.h"

#define GRACE_US 40000u /* after the end of a migration: FORGET, and whatever else comes late */
#define CLIENT_US 90000000u
#define PATIENCE_US 15000000u /* procd's with a mover that should go by itself, and more */
#define BORN_FLAGS (PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE)

static bool seize(pid_t pid, long options)
{
	return ptrace(PTRACE_SEIZE, pid, 0, options) == 0 && ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0;
}

static bool is_shepherd(const struct strike *s, pid_t pid)
{
	_cleanup_free_ char *text = NULL, *wanted = xasprintf("/godwit/%s/shepherd\n", s->job);
	char path[64];

	(void)snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
	return fd_slurp(-1, path, 1 << 16, &text) > 0 && strstr(text, wanted);
}

/* Is that child of procd what is to be struck? */
static bool is_wanted(const struct strike *s, pid_t pid)
{
	return is_shepherd(s, pid) == !strcmp(s->program, "shepherd");
}

static bool is_mover(const struct strike *s)
{
	return !strcmp(s->program, "mover");
}

static void strike_now(struct strike *s, long nr)
{
	(void)view_stage(s);
	s->struck = true;
	s->instants++;
	s->by_stage[stage_number(s->stage)]++;
	fprintf(s->log, "%ld %s %s %s call %ld %s\n", s->k, s->program, s->at_source ? "source" : "destination",
		s->stage, nr, s->hang ? "stands" : "died");
	(void)fflush(s->log);
	s->standing = s->hang && is_mover(s);
	if (s->standing)
		return;
	if (s->hang)
		judge_while_standing(s);
	(void)kill(s->target, SIGKILL);
}

static void at_call(struct strike *s)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, s->target, sizeof info, &info) < 0 ||
	    info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return;
	if (!s->counting)
		s->counting = is_mover(s) ? view_is(s->target, "mover") : view_stage(s);
	if (s->counting && !s->struck && s->count++ == s->k)
		strike_now(s, (long)info.entry.nr);
}

/* What is to be delivered to a process that has stopped. */
static int signal_of(int status)
{
	return status >> 16 || WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
}

/* A stop of the target or of its parent, or the first one of a child of that. */
static void on_stop(struct strike *s, pid_t pid, int status)
{
	int deliver = signal_of(status);

	if (!s->target && pid != s->parent && !s->struck && is_wanted(s, pid)) {
		s->target = pid;
		/* procd waits in uv_spawn() until its child has become a mover: what stands still there is procd.
		 */
		s->counting = !s->hang || !is_mover(s);
		(void)ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD);
	}
	if (pid == s->target && WSTOPSIG(status) == (SIGTRAP | 0x80))
		at_call(s);
	if (pid == s->target && s->standing)
		return; /* until somebody kills it */
	if (pid == s->target)
		(void)ptrace(PTRACE_SYSCALL, pid, 0, deliver);
	else if (pid == s->parent)
		(void)ptrace(PTRACE_CONT, pid, 0, deliver);
	else
		(void)ptrace(PTRACE_DETACH, pid, 0, deliver);
}

static void on_end(struct strike *s, pid_t pid, int status)
{
	if (pid == s->client) {
		s->client_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
		s->client_over_us = now_us();
		s->client = 0;
	} else if (pid == s->front) {
		s->front = 0;
	} else if (pid == s->target) {
		s->dead = true;
		s->target = 0;
	} else if (pid == s->parent) {
		s->parent = 0;
	}
}

/* Everything that has happened; then waits a moment for more. */
static void turn(struct strike *s)
{
	struct timespec moment = { .tv_nsec = 5000000 };
	sigset_t chld;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
		if (WIFSTOPPED(status))
			on_stop(s, pid, status);
		else
			on_end(s, pid, status);
	}
	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	(void)sigtimedwait(&chld, NULL, &moment);
}

static void let_go_of(struct strike *s, pid_t *pid)
{
	int status;

	if (!*pid || ptrace(PTRACE_INTERRUPT, *pid, 0, 0) < 0) {
		*pid = 0;
		return;
	}
	/* Whatever it stops for: any stop takes the place of the one that was asked for. */
	if (waitpid(*pid, &status, __WALL) == *pid) {
		if (WIFSTOPPED(status))
			(void)ptrace(PTRACE_DETACH, *pid, 0, signal_of(status));
		else
			on_end(s, *pid, status);
	}
	*pid = 0;
}

/* A child of procd that was born at the last moment is stopped, and has nobody else. */
static void let_go(struct strike *s)
{
	struct timespec moment = { .tv_nsec = 1000000 };

	do {
		let_go_of(s, &s->parent);
		let_go_of(s, &s->target);
		(void)nanosleep(&moment, NULL);
		turn(s);
	} while (s->target);
}

static bool attach(struct strike *s)
{
	int host = s->at_source ? s->from : s->to;

	s->target = s->parent = 0;
	if (!strcmp(s->program, "procd") || !strcmp(s->program, "flipd")) {
		s->target = view_daemon(s, host, s->program);
		return s->target && seize(s->target, PTRACE_O_TRACESYSGOOD);
	}
	if (s->at_source && !strcmp(s->program, "shepherd")) {
		s->target = view_shepherd(s, host);
		return s->target && seize(s->target, PTRACE_O_TRACESYSGOOD);
	}
	s->parent = view_daemon(s, host, "procd");
	return s->parent && seize(s->parent, BORN_FLAGS);
}

static void wait_for_client(struct strike *s)
{
	uint64_t began = now_us();

	while (s->client && now_us() - began < CLIENT_US)
		turn(s);
	if (!s->client)
		return;
	bad(s, "`godwit migrate` does not come to an end");
	(void)kill(s->client, SIGKILL);
	while (s->client)
		turn(s);
}

bool trace_migration(struct strike *s)
{
	s->count = 0;
	s->counting = s->struck = s->dead = s->standing = false;
	s->client_over_us = 0;
	(void)snprintf(s->stage, sizeof s->stage, "before");
	s->log_offset = view_log_size(s, s->from);
	for (int h = 1; h <= HOSTS; h++)
		s->journal_offset[h] = view_journal_size(s, h);
	if (!attach(s)) {
		bad(s, "cannot trace %s: %s", s->program, strerror(errno));
		return false;
	}
	s->client = act_migrate(s, s->to);
	while (!s->dead && (s->client || now_us() - s->client_over_us < (s->standing ? PATIENCE_US : GRACE_US)))
		turn(s);
	if (s->standing && !s->dead) {
		bad(s, "nobody minds a mover that stands still");
		(void)kill(s->target, SIGKILL);
	}
	s->standing = false;
	let_go(s);
	if (s->dead && (!strcmp(s->program, "procd") || !strcmp(s->program, "flipd")))
		act_restart(s, s->at_source ? s->from : s->to, s->program);
	wait_for_client(s);
	return true;
}
