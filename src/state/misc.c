/* SPDX-License-Identifier: Apache-2.0 */
/* What else a process has set for itself, and its place in the session. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "state/kinds.h"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif
#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#define PR_GET_IO_FLUSHER 58
#endif

/* --- source --- */

static int read_number(int proc, const char *name, int base, long long *ret)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = fd_slurp(proc, name, 4096, &text);

	if (n < 0)
		return (int)n;
	*ret = strtoll(text, NULL, base);
	return 0;
}

struct session {
	int pgrp, session, tty, tty_pgrp;
};

static int read_session(const struct state_source *s, struct session *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = fd_slurp(s->proc, "stat", 65536, &text);
	const char *at = n > 0 ? strrchr(text, ')') : NULL;

	if (n < 0)
		return err_code(e, (int)n, "reading the stat of pid %d", s->vpid);
	/* pid (comm) state ppid pgrp session tty tpgid */
	if (!at ||
	    sscanf(at + 1, " %*c %*d %d %d %d %d", &ret->pgrp, &ret->session, &ret->tty, &ret->tty_pgrp) != 4)
		return err_set(e, -EBADMSG, "pid %d: a strange stat", s->vpid);
	return 0;
}

static int misc_check(struct state_source *s, struct err *e)
{
	struct session session;
	int r = read_session(s, &session, e);

	if (r < 0)
		return r;
	if (session.session != s->pid)
		problem_add(s->problems, s->vpid, -1, "session", "start it with godwit run, or with setsid",
			    "its session is led by another process (%d), outside the job", session.session);
	else if (session.pgrp != s->pid)
		problem_add(s->problems, s->vpid, -1, "process group", "start it with godwit run",
			    "its process group is led by another process (%d)", session.pgrp);
	return 0;
}

static int misc_describe(struct state_source *s, struct err *e)
{
	Godwit__Ckpt__ProcessMisc *m = s->process->misc;
	struct session session;
	long long number = 0;
	int r = read_session(s, &session, e);

	if (r < 0)
		return r;
	if (!m) {
		m = xmalloc(sizeof *m);
		godwit__ckpt__process_misc__init(m);
		s->process->misc = m;
	}
	m->sid = (uint32_t)s->vpid;
	m->pgid = (uint32_t)s->vpid;
	m->has_tty = session.tty != 0;
	r = read_number(s->proc, "personality", 16, &number);
	m->personality = (uint64_t)number;
	if (r == 0)
		r = read_number(s->proc, "oom_score_adj", 10, &number);
	m->oom_score_adj = (int32_t)number;
	if (r == 0)
		r = read_number(s->proc, "coredump_filter", 16, &number);
	m->coredump_filter = (uint64_t)number;
	return r < 0 ? err_code(e, r, "pid %d: process state", s->vpid) : 0;
}

enum { ASK_DUMPABLE, ASK_SUBREAPER, ASK_THP, ASK_MDWE, ASK_KSM };

static int misc_ask(struct state_source *s, struct batch *b, struct err *e)
{
	(void)e;
	s->asked->at = batch_room(b, sizeof(int));
	s->asked->call = batch_call(b, "cannot ask whether it is dumpable", SYS_prctl, bval(PR_GET_DUMPABLE));
	(void)batch_call(b, "cannot ask whether it is a subreaper", SYS_prctl, bval(PR_GET_CHILD_SUBREAPER),
			 bdata(s->asked->at));
	(void)batch_call(b, NULL, SYS_prctl, bval(PR_GET_THP_DISABLE));
	(void)batch_call(b, NULL, SYS_prctl, bval(PR_GET_MDWE));
	(void)batch_call(b, NULL, SYS_prctl, bval(PR_GET_MEMORY_MERGE));
	return b->error;
}

static uint32_t answer(struct batch *b, int call)
{
	return batch_ret(b, call) > 0 ? (uint32_t)batch_ret(b, call) : 0;
}

static int misc_take(struct state_source *s, struct batch *b, struct err *e)
{
	int first = s->asked->call, subreaper, r = misc_describe(s, e);
	Godwit__Ckpt__ProcessMisc *m = s->process->misc;

	if (r < 0)
		return r;
	memcpy(&subreaper, batch_at(b, s->asked->at), sizeof subreaper);
	/* 2, "only root may read the core", comes of a change of credentials and cannot be asked for: as good as 0
	 */
	m->dumpable = batch_ret(b, first + ASK_DUMPABLE) == 1;
	m->child_subreaper = subreaper != 0;
	/* 6.18: 1 disabled, 3 disabled except where advised */
	m->thp_disable = answer(b, first + ASK_THP) & 1;
	m->thp_flags = answer(b, first + ASK_THP) & ~1u;
	m->mdwe = answer(b, first + ASK_MDWE);
	m->ksm = answer(b, first + ASK_KSM) == 1;
	return 0;
}

static int misc_ask_thread(struct state_source *s, struct remote_thread *t, struct batch *b, struct err *e)
{
	(void)t;
	(void)e;
	s->asked->at = batch_room(b, sizeof(int));
	s->asked->call = batch_call(b, NULL, SYS_prctl, bval(PR_MCE_KILL_GET));
	(void)batch_call(b, NULL, SYS_prctl, bval(PR_GET_IO_FLUSHER));
	(void)batch_call(b, NULL, SYS_prctl, bval(PR_GET_TSC), bdata(s->asked->at));
	return b->error;
}

static int misc_take_thread(struct state_source *s, struct remote_thread *t, Godwit__Ckpt__Thread *m,
			    struct batch *b, struct err *e)
{
	(void)t;
	(void)e;
	m->mce_kill = (int32_t)batch_ret(b, s->asked->call);
	m->io_flusher = answer(b, s->asked->call + 1);
	memcpy(&m->tsc, batch_at(b, s->asked->at), sizeof m->tsc);
	return 0;
}

/* --- destination --- */

static int misc_prepare(struct state_target *d, struct err *e)
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);

	batch_init(b);
	/* Fails if it leads its session already: as it should be. */
	(void)batch_call(b, NULL, SYS_setsid);
	return state_flush(d, NULL, b, e);
}

static int write_number(int proc, const char *name, long long value)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%lld", value);
	return fd_write_file(proc, name, text);
}

static int set_oom_score(struct state_target *d, int wanted, struct err *e)
{
	long long now = 0;
	int r = read_number(d->proc, "oom_score_adj", 10, &now);

	if (d->confined.on)
		wanted = MAX(wanted, 0);
	if (r == 0 && now != wanted)
		r = write_number(d->proc, "oom_score_adj", wanted);
	if (r == -EACCES || r == -EPERM) {
		log_info("oom_score_adj stays at %lld: %d needs CAP_SYS_RESOURCE", now, wanted);
		r = 0;
	}
	return r < 0 ? err_code(e, r, "oom_score_adj") : 0;
}

static int misc_restore(struct state_target *d, struct batch *b, struct err *e)
{
	const Godwit__Ckpt__ProcessMisc *m = d->process->misc;
	int r;

	if (!m)
		return err_set(e, -EBADMSG, "the message lacks the process's settings");
	r = state_room(d, NULL, b, 4, 0, e);
	if (r < 0)
		return r;
	(void)batch_call(b, "cannot set the personality", SYS_personality, bval(m->personality & UINT32_MAX));
	if (m->child_subreaper)
		(void)batch_call(b, "cannot become a subreaper", SYS_prctl, bval(PR_SET_CHILD_SUBREAPER), bval(1));
	(void)batch_call(b, m->thp_disable ? "cannot switch huge pages off" : NULL, SYS_prctl,
			 bval(PR_SET_THP_DISABLE), bval(m->thp_disable), bval(m->thp_disable ? m->thp_flags : 0));
	if (m->ksm)
		(void)batch_call(b, "cannot switch merging of pages on", SYS_prctl, bval(PR_SET_MEMORY_MERGE),
				 bval(1));
	r = set_oom_score(d, m->oom_score_adj, e);
	if (r < 0)
		return r;
	r = write_number(d->proc, "coredump_filter", (long long)m->coredump_filter);
	return r < 0 ? err_code(e, r, "coredump_filter") : b->error;
}

static int misc_restore_thread(struct state_target *d, struct remote_thread *t, const Godwit__Ckpt__Thread *m,
			       struct batch *b, struct err *e)
{
	int r = state_room(d, t, b, 3, 0, e);

	if (r < 0)
		return r;
	if (m->mce_kill == PR_MCE_KILL_EARLY || m->mce_kill == PR_MCE_KILL_LATE)
		(void)batch_call(b, "cannot set the policy for memory errors", SYS_prctl, bval(PR_MCE_KILL),
				 bval(PR_MCE_KILL_SET), bval((uint64_t)m->mce_kill));
	if (m->io_flusher)
		(void)batch_call(b, "cannot become an I/O flusher", SYS_prctl, bval(PR_SET_IO_FLUSHER), bval(1));
	if (m->tsc == PR_TSC_SIGSEGV)
		(void)batch_call(b, "cannot forbid the time stamp counter", SYS_prctl, bval(PR_SET_TSC),
				 bval(PR_TSC_SIGSEGV));
	return b->error;
}

const struct state_module state_misc = {
	.name = "misc",
	.phase = STATE_PROCESS,
	.check = misc_check,
	.describe = misc_describe,
	.ask = misc_ask,
	.take = misc_take,
	.ask_thread = misc_ask_thread,
	.take_thread = misc_take_thread,
	.prepare = misc_prepare,
	.restore = misc_restore,
	.restore_thread = misc_restore_thread,
};

/* What a change of credentials sets anew, or what forbids further changes. */
static int dumpable_restore_thread(struct state_target *d, struct remote_thread *t,
				   const Godwit__Ckpt__Thread *thread, struct batch *b, struct err *e)
{
	const Godwit__Ckpt__ProcessMisc *m = d->process->misc;
	int r;

	(void)thread;
	if (t != &d->remote->threads[0] || !m)
		return 0;
	r = state_room(d, t, b, 2, 0, e);
	if (r < 0)
		return r;
	(void)batch_call(b, "cannot set whether it is dumpable", SYS_prctl, bval(PR_SET_DUMPABLE),
			 bval(m->dumpable));
	if (m->mdwe)
		(void)batch_call(b, "cannot deny writable and executable memory", SYS_prctl, bval(PR_SET_MDWE),
				 bval(m->mdwe));
	return b->error;
}

const struct state_module state_dumpable = {
	.name = "dumpable",
	.phase = STATE_LAST,
	.restore_thread = dumpable_restore_thread,
};
