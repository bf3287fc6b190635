/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopping a job, in one of three ways.
 *
 *   migrate     every thread is interrupted wherever it is. What it was doing goes on when it is let go, here or
 * at the destination, as if nothing had been (state/call.c). normal      threads that are in a system call are
 * stopped when they come out of it. To get hold of them they are interrupted once, as above, and then go on in
 * their calls under our eyes (inject/drain.c). Who waits for another thread (futexes) waits for one that stands
 * still, so that is interrupted and goes on afterwards. If the caller's patience ends first nothing has happened.
 *   emergency   every thread is interrupted and its call is over: EINTR, or the part that was done.
 *
 * A job that is stunned already is frozen in its cgroup. There nobody can work for us, so it is thawed as soon as
 * all its threads are in our hands, and frozen again before they are let go: it never runs. Should we die in
 * between, procd freezes it, and it has run for that moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crowd.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "inject/linger.h"
#include "mover/mover.h"
#include "state/file.h"
#include "state/thread.h"

#define STOP_DEADLINE_US 500000u
#define LET_GO_US 1200000u /* how long a job is waited for that holds what cannot move */
#define KIND(x) GODWIT__MOVER__STUN__KIND__##x

static int set_frozen(struct mover *m, bool frozen)
{
	_cleanup_free_ char *path = xasprintf("%s/cgroup.freeze", m->from.frozen_cgroup);

	return fd_write_file(AT_FDCWD, path, frozen ? "1" : "0");
}

void source_freeze_again(struct mover *m)
{
	if (set_frozen(m, true) < 0)
		log_error("cannot freeze %s again", m->from.frozen_cgroup);
	m->from.thawed = false;
}

static int thaw(struct mover *m, struct err *e)
{
	int err = set_frozen(m, false);

	if (err < 0)
		return err_code(e, err, "cannot thaw %s", m->from.frozen_cgroup);
	m->from.thawed = true;
	return 0;
}

static int map_agent(struct mover *m, struct err *e)
{
	/* In an emergency a transfer that was cut short stays so. */
	int err = m->from.kind == KIND(EMERGENCY) ? 0 : call_keep_transfers(&m->from.s, e);

	return err ? err : remote_agent_map(&m->remote, (raddr_t) { 0 }, e);
}

int source_stop_threads(struct mover *m, struct err *e)
{
	struct state_source *s = &m->from.s;
	int err = remote_open(&m->remote, s->pid, e);

	if (err < 0)
		return err;
	/* What is frozen was stopped with care, and cannot be put anywhere. */
	err = call_before_stop(s, &m->remote, m->from.kind != KIND(EMERGENCY) && !m->from.frozen_cgroup, e);
	if (!err)
		err = remote_stop(&m->remote, now_us() + (uint64_t)STOP_DEADLINE_US * host_crowd(), e);
	if (err < 0) {
		remote_done(&m->remote);
		return err;
	}
	call_after_stop(s, &m->remote);
	m->from.stopped = true;
	s->remote = &m->remote;
	if (m->from.frozen_cgroup)
		err = thaw(m, e);
	return err ? err : map_agent(m, e);
}

/* --- normal --- */

static void name_call(long nr, char *text, size_t size)
{
	char *name = seccomp_syscall_resolve_num_arch(AUDIT_ARCH_X86_64, (int)nr);

	if (name)
		(void)snprintf(text, size, "%s", name);
	else
		(void)snprintf(text, size, "call %ld", nr);
	free(name);
}

/* Who is still where. */
static int blame(const struct mover *m, unsigned timeout_ms, struct err *e)
{
	char names[160] = "", call[32];
	size_t len = 0, n = 0;

	for (size_t i = 0; i < m->remote.n_threads; i++) {
		const struct remote_thread *t = &m->remote.threads[i];

		if (!t->draining)
			continue;
		name_call(t->left_nr, call, sizeof call);
		if (n++ < 4)
			len += (size_t)snprintf(names + len, sizeof names - len, "%s%d in %s", len ? ", " : "",
						t->vtid, call);
	}
	return err_set(e, -ETIME,
		       "after %u ms %zu of its threads %s still in system calls: %s%s. Wait longer, or interrupt "
		       "them (emergency)",
		       timeout_ms, n, n == 1 ? "is" : "are", names, n > 4 ? ", ..." : "");
}

static int end_calls(struct mover *m, unsigned timeout_ms, struct err *e)
{
	struct state_source *s = &m->from.s;
	int err = 0;

	while (!err && call_mark_unfinished(s, &m->remote)) {
		err = source_put_back(m, e);
		if (!err)
			err = remote_drain(&m->remote, m->from.calls_until_us, m->control, e);
		if (!err) {
			err = map_agent(m, e);
			continue;
		}
		if (err == -ETIME)
			err = blame(m, timeout_ms, e);
		/* Our end sets the others free, and procd ends us now. */
		remote_release(&m->remote);
		m->from.stopped = false;
		s->remote = NULL;
	}
	return err;
}

/* --- all three --- */

static int stop_once(struct mover *m, const Godwit__Mover__Stun *ask, bool reading_too, struct err *e)
{
	int err = source_stop_threads(m, e);

	if (!err && ask->kind == KIND(NORMAL))
		err = end_calls(m, ask->timeout_ms, e);
	if (!err)
		err = file_may_freeze(&m->from.s, reading_too, e);
	return err ? err : linger_sweep(&m->remote, e);
}

/* What it holds for a moment only (a lock on a file) it lets go when it runs on; of those that it keeps, some may
 * come along. */
int source_stop(struct mover *m, const Godwit__Mover__Stun *ask, struct err *e)
{
	uint64_t until_us = now_us() + LET_GO_US;
	bool reading_too = true;
	int err;

	m->from.kind = ask->kind;
	m->from.calls_until_us = now_us() + ask->timeout_ms * 1000ull;
	if (*ask->frozen) {
		m->from.frozen_cgroup = xstrdup(ask->frozen);
		until_us = 0; /* it cannot let go of anything */
	}
	while ((err = stop_once(m, ask, reading_too, e)) == -EAGAIN && m->from.stopped && now_us() < until_us) {
		source_undo_stop(m);
		remote_done(&m->remote);
		reading_too = now_us() < until_us - LET_GO_US / 3;
		(void)file_wait_unlocked(&m->from.s, reading_too, until_us - (reading_too ? LET_GO_US / 3 : 0));
	}
	if (!err && ask->kind == KIND(EMERGENCY))
		err = call_break_off(&m->from.s, &m->remote, e);
	return err;
}
