/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that were interrupted by our stop. The program must see each of them go on as if nothing had been,
 * with what is left of its timeout.
 *
 * Theory of operation. What a stopped thread's rax says, and what becomes of it:
 *
 *   ERESTARTSYS, ERESTARTNOINTR,  handed over as they are: the kernel makes the call again when the thread is let
 * go, ERESTARTNOHAND                or lets it fail with EINTR if a handler runs. Timeouts of such calls are
 * absolute, or the kernel has written what is left of them to the caller's memory. EINTR of certain calls was
 * turned into ERESTARTNOHAND right after the stop (inject/interrupted.h). If they have a relative timeout, the
 * rest of it is what they are made again with: in a register that is dead after the call, or by a lingering call
 * if it lies in memory. ERESTART_RESTARTBLOCK         the kernel holds the deadline in the thread's restart block.
 * At the source it stays there. At the destination the same call is made with the time that is left and
 *                                 interrupted at once, which leaves a restart block of the same kind. Where the
 *                                 deadline is in the arguments or there is none, ERESTARTNOHAND does as well.
 *   a part of a transfer          a lingering call does the rest (call_transfer.c).
 *
 * Deadlines are read by src/inject/peek.c: those in restart blocks when the thread has stopped; those of the
 * second kind while it still sleeps, since the timer lies on the kernel's stack. Then a thread that has slept and
 * woken between the look and the stop is told by its count of context switches, and has just begun to wait: its
 * timeout is whole. Without peek (named "bpf-peek"), sleeps that asked for a remainder still go on exactly, all
 * others start again.
 */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "inject/interrupted.h"
#include "inject/linger.h"
#include "inject/peek.h"
#include "state/call.h"
#include "state/clock.h"
#include "state/thread.h"

typedef Godwit__Ckpt__SysCall call_t;
#define CALL_KIND(x) GODWIT__CKPT__SYS_CALL__KIND__##x

#define SECOND 1000000000LL
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef SYS_futex_wait
#define SYS_futex_wait 455
#endif
#define SYSCALL_SEQUENCE 7 /* mov $nr, %eax; syscall */

/* Relative timeouts: where they are, and whether only the remainder that the call wrote tells what is left of
 * them. */
static const struct {
	long nr;
	int arg;
	bool milliseconds; /* else the address of a struct timespec */
	bool from_remainder;
} timed[] = {
	{ SYS_epoll_wait, 3, true, false },	 { SYS_epoll_pwait, 3, true, false },
	{ SYS_epoll_pwait2, 3, false, false },	 { SYS_rt_sigtimedwait, 2, false, false },
	{ SYS_semtimedop, 3, false, false },	 { SYS_nanosleep, 0, false, true },
	{ SYS_clock_nanosleep, 2, false, true },
};

static int find_timed(long nr)
{
	for (size_t i = 0; i < ARRAY_LEN(timed); i++)
		if (timed[i].nr == nr)
			return (int)i;
	return -1;
}

static bool has_timeout(int row, const uint64_t arg[6])
{
	if (timed[row].from_remainder)
		return false;
	return timed[row].milliseconds ? (int)arg[timed[row].arg] > 0 : arg[timed[row].arg] != 0;
}

/* --- before the stop --- */

static int check(struct state_source *s, struct err *e)
{
	struct err why = { 0 };

	(void)e;
	if (!s->peek && peek_open(&s->peek, &why) < 0)
		log_debug("timeouts of interrupted calls may start again: %s", err_text(&why));
	return 0;
}

void call_source_done(struct state_source *s)
{
	peek_free(s->peek);
	s->peek = NULL;
}

/* *nr -1: it runs, and nobody can tell where. */
static bool looks_at(const struct state_source *s, pid_t tid, long *nr, uint64_t arg[6], uint64_t *rip)
{
	uint64_t rsp;

	char path[48];
	_cleanup_free_ char *text = NULL;

	(void)snprintf(path, sizeof path, "task/%d/syscall", tid);
	if (state_slurp(s->problems, s->proc, path, 4096, &text) <= 0)
		return false;
	*nr = -1;
	if (!strncmp(text, "running", 7))
		return true;
	return sscanf(text, "%ld %lx %lx %lx %lx %lx %lx %lx %lx", nr, &arg[0], &arg[1], &arg[2], &arg[3], &arg[4],
		      &arg[5], &rsp, rip) == 9;
}

/* When the timeout of a call ends that will not tell it later. */
static void look_at_timeout(struct state_source *s, struct remote_thread *t, long nr, const uint64_t arg[6])
{
	struct peek_restart block;
	int row = find_timed(nr);

	if (row < 0 || !has_timeout(row, arg) || peek_restart(s->peek, t->tid, &block) < 0)
		return;
	t->call_switches = block.switches;
	if (peek_sleep(s->peek, t->tid, &t->call_expires_ns) < 0)
		t->call_expires_ns = -1;
}

static bool judge_rescued(void *arg, const struct remote *r, const struct remote_thread *t, struct linger_call *l)
{
	const struct state_source *s = arg;
	uint64_t done;

	return transfer_was_cut(r, t, s->proc, &done) && transfer_rest(r, t, t->call_nr, done, l) == 0;
}

int call_before_stop(struct state_source *s, struct remote *r, bool keep_transfers, struct err *e)
{
	_cleanup_free_ pid_t *cut = xcalloc(r->n_threads, sizeof *cut);
	size_t n_cut = 0;
	int err = linger_find(r, e);

	for (size_t i = 0; i < r->n_threads && !err; i++) {
		struct remote_thread *t = &r->threads[i];
		uint64_t arg[6], rip;
		long nr;

		if (!looks_at(s, t->tid, &nr, arg, &rip))
			continue;
		if (s->peek && nr >= 0)
			look_at_timeout(s, t, nr, arg);
		if (nr < 0 || (transfer_may_be_cut(s->proc, nr, arg) && !linger_holds_at(r, rip)))
			cut[n_cut++] = t->tid;
	}
	if (err < 0 || !keep_transfers)
		return err;
	linger_arm(r);
	if (n_cut)
		linger_rescue(r, cut, n_cut, judge_rescued, s);
	return 0;
}

/* One more switch than at the look is our stop; if there are others, the thread has begun to wait anew. */
void call_after_stop(struct state_source *s, struct remote *r)
{
	for (size_t i = 0; i < r->n_threads; i++) {
		struct remote_thread *t = &r->threads[i];
		struct peek_restart block;

		if (t->call_expires_ns >= 0 &&
		    (peek_restart(s->peek, t->tid, &block) < 0 || block.switches != t->call_switches + 1))
			t->call_expires_ns = -1;
	}
}

/* --- collecting --- */

static call_t *new_call(void)
{
	call_t *c = xmalloc(sizeof *c);

	godwit__ckpt__sys_call__init(c);
	c->expires_ns = -1;
	c->clock = CLOCK_MONOTONIC;
	return c;
}

/* From the kernel's monotonic clock to the job's. */
static int64_t to_job(const struct state_source *s, int64_t ns)
{
	return ns < 0 ? -1 : ns + clock_own_offset() + s->monotonic_offset_ns;
}

/* Which call has this restart block been made by? After one restart its number is lost to us; then the code in
 * front of the system call instruction often tells. */
static long original_call(const struct state_source *s, const struct remote_thread *t)
{
	uint8_t code[SYSCALL_SEQUENCE];
	uint32_t nr;

	if (t->call_nr != SYS_restart_syscall)
		return t->call_nr;
	if (remote_read(s->remote, (raddr_t) { t->regs.rip - sizeof code }, code, sizeof code) < 0 ||
	    code[0] != 0xb8)
		return -1;
	memcpy(&nr, code + 1, sizeof nr);
	return nr;
}

/* What the kernel has written as the remainder of an interrupted sleep is exact, too. */
static int64_t from_remainder(const struct state_source *s, long nr, const struct remote_thread *t)
{
	uint64_t at = nr == SYS_nanosleep ? t->regs.rsi : nr == SYS_clock_nanosleep ? t->regs.r10 : 0;
	struct timespec left;

	if (!at || remote_read(s->remote, (raddr_t) { at }, &left, sizeof left) < 0)
		return -1;
	return (int64_t)s->remote->stopped_at_us * 1000 + s->monotonic_offset_ns + left.tv_sec * SECOND +
	       left.tv_nsec;
}

/* A deadline that is in the arguments, or none at all: to be made again as it stands. */
static bool restarts_as_it_is(long nr, const struct remote_thread *t)
{
	if (nr == SYS_futex)
		return (t->regs.rsi & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET || !t->regs.r10;
	return nr == SYS_poll && (int)t->regs.rdx < 0;
}

/* Without peek: from what the kernel has written as the remainder, else the whole time again. A restart block is
 * not used, since the number of the call would be lost to us at the next stop. */
static void examine_unseen(const struct state_source *s, const struct remote_thread *t, call_t *c)
{
	long nr = original_call(s, t);

	c->nr = (uint64_t)nr;
	if (nr < 0)
		return;
	c->expires_ns = from_remainder(s, nr, t);
	c->kind = c->expires_ns < 0 ? CALL_KIND(RESTART) : CALL_KIND(REWIND);
}

/* The kernel shall make the call again instead of looking into its restart block. */
static void forget_block(struct user_regs_struct *regs, const call_t *c)
{
	if ((int64_t)regs->rax != -ERESTART_RESTARTBLOCK || c->kind == CALL_KIND(RESTART_BLOCK))
		return;
	regs->orig_rax = c->nr;
	regs->rax = (uint64_t)-ERESTARTNOHAND;
}

static void examine_block(const struct state_source *s, const struct remote_thread *t, call_t *c)
{
	static const long by_kind[] = { [PEEK_NANOSLEEP] = SYS_clock_nanosleep,
					[PEEK_POLL] = SYS_poll,
					[PEEK_FUTEX] = SYS_futex,
					[PEEK_CPU_SLEEP] = SYS_clock_nanosleep,
					[PEEK_ALARM_SLEEP] = SYS_clock_nanosleep };
	struct peek_restart block = { .kind = PEEK_NOTHING };

	c->kind = CALL_KIND(RESTART_BLOCK);
	if (s->peek)
		(void)!peek_restart(s->peek, t->tid, &block);
	if (block.kind == PEEK_NOTHING) {
		examine_unseen(s, t, c);
		return;
	}
	c->nr = (uint64_t)by_kind[block.kind];
	c->expires_ns = block.clock == CLOCK_MONOTONIC ? to_job(s, block.expires_ns) : block.expires_ns;
	c->clock = block.clock;
	c->remainder = block.remainder;
	if (restarts_as_it_is((long)c->nr, t))
		c->kind = CALL_KIND(RESTART);
}

static void examine_timed(const struct state_source *s, const struct remote_thread *t, call_t *c)
{
	const uint64_t arg[6] = { t->regs.rdi, t->regs.rsi, t->regs.rdx, t->regs.r10, t->regs.r8, t->regs.r9 };
	int row = find_timed(t->call_nr);

	c->kind = CALL_KIND(RESTART);
	if (row < 0 || !has_timeout(row, arg) || t->call_expires_ns < 0)
		return;
	c->kind = CALL_KIND(REWIND);
	c->expires_ns = to_job(s, t->call_expires_ns);
}

static void examine(const struct state_source *s, const struct remote_thread *t, call_t *c)
{
	uint64_t done;

	if (t->call_nr < 0)
		return;
	c->nr = (uint64_t)t->call_nr;
	switch (-(int64_t)t->regs.rax) {
	case ERESTART_RESTARTBLOCK:
		examine_block(s, t, c);
		break;
	case ERESTARTNOHAND:
		examine_timed(s, t, c);
		break;
	case ERESTARTSYS:
	case ERESTARTNOINTR:
		c->kind = CALL_KIND(RESTART);
		break;
	default:
		if (!transfer_was_cut(s->remote, t, s->proc, &done))
			break;
		c->kind = CALL_KIND(TRANSFER);
		c->done = done;
	}
}

/* Runs after thread.c has put the registers into the message. */
static int take_thread(struct state_source *s, struct remote_thread *t, Godwit__Ckpt__Thread *m, struct batch *b,
		       struct err *e)
{
	struct user_regs_struct *regs = (void *)m->regs.data;
	call_t *c = new_call();

	(void)b;
	(void)e;
	examine(s, t, c);
	if (t->left_nr >= 0) {
		c->nr = (uint64_t)t->left_nr;
		c->over = true;
	}
	m->call = c;
	forget_block(regs, c);
	return 0;
}

const struct state_module state_call = {
	.name = "call",
	.phase = STATE_THREADS,
	.check = check,
	.take_thread = take_thread,
};

/* --- going on --- */

static int64_t left_of(const call_t *c, int64_t offset_ns)
{
	int64_t left;

	if (c->expires_ns < 0)
		return -1;
	left = c->expires_ns - clock_now_ns(c->clock) - (c->clock == CLOCK_MONOTONIC ? offset_ns : 0);
	return left > 0 ? left : 0;
}

static int64_t to_ms(int64_t ns)
{
	return (ns + 999999) / 1000000;
}

/* A call that waits with what is left of its timeout. 1: *l is to be entered; 0: the registers were enough. */
static int shorten(struct remote_thread *t, const call_t *c, int64_t offset_ns, struct linger_call *l)
{
	int row = find_timed((long)c->nr);
	int64_t left = left_of(c, offset_ns);
	struct timespec ts = { left / SECOND, left % SECOND };

	if (row < 0 || left < 0)
		return 0;
	if (timed[row].milliseconds) {
		t->regs.r10 = (uint64_t)to_ms(left); /* all of them have it there */
		return 0;
	}
	l->nr = (long)c->nr;
	memcpy(l->arg,
	       (uint64_t[6]) { t->regs.rdi, t->regs.rsi, t->regs.rdx, t->regs.r10, t->regs.r8, t->regs.r9 },
	       sizeof l->arg);
	l->arg[timed[row].arg] = 0;
	l->in_payload = (uint8_t)(1 << timed[row].arg);
	l->result = -ERESTARTNOHAND;
	memcpy(l->payload, &ts, sizeof ts);
	return 1;
}

/* 1: *l is to be entered. */
static int resume_one(struct remote *r, struct remote_thread *t, const call_t *c, int64_t offset_ns,
		      struct linger_call *l)
{
	switch (c->kind) {
	case CALL_KIND(REWIND):
		return shorten(t, c, offset_ns, l);
	case CALL_KIND(TRANSFER):
		return transfer_rest(r, t, (long)c->nr, c->done, l) == 0;
	default:
		return 0;
	}
}

static int resume_all(struct remote *r, const call_t *const *calls, int64_t offset_ns, struct err *e)
{
	struct linger_call *list = xcalloc(r->n_threads, sizeof(*list));
	size_t n = 0;
	int err;

	for (size_t i = 0; i < r->n_threads; i++) {
		if (!calls[i] || resume_one(r, &r->threads[i], calls[i], offset_ns, &list[n]) <= 0)
			continue;
		list[n++].thread = i;
	}
	err = n ? linger_enter(r, list, n, e) : 0;
	free(list);
	return err;
}

int call_resume_source(struct state_source *s, struct err *e)
{
	struct remote *r = s->remote;
	call_t **calls;
	int err;

	if (!r->agent.a)
		return 0;
	calls = xcalloc(r->n_threads, sizeof(*calls));
	for (size_t i = 0; i < r->n_threads; i++) {
		calls[i] = new_call();
		examine(s, &r->threads[i], calls[i]);
		if (!s->peek)
			forget_block(&r->threads[i].regs, calls[i]);
	}
	err = resume_all(r, (const call_t *const *)calls, s->monotonic_offset_ns, e);
	for (size_t i = 0; i < r->n_threads; i++)
		godwit__ckpt__sys_call__free_unpacked(calls[i], NULL);
	free(calls);
	return err ? err : remote_put_regs(r, e);
}

int call_keep_transfers(struct state_source *s, struct err *e)
{
	struct remote *r = s->remote;
	struct linger_call *list = NULL;
	size_t n = 0;
	int err;

	for (size_t i = 0; i < r->n_threads; i++) {
		const struct remote_thread *t = &r->threads[i];
		uint64_t done;

		if (!transfer_was_cut(r, t, s->proc, &done))
			continue;
		if (!list)
			list = xcalloc(r->n_threads, sizeof(*list));
		if (transfer_rest(r, t, t->call_nr, done, &list[n]) == 0)
			list[n++].thread = i;
	}
	err = n ? linger_enter(r, list, n, e) : 0;
	free(list);
	linger_disarm(r);
	return err;
}

/* --- stuns under which calls do not go on: see mover/source_stun.c --- */

/* The number of the call that the thread is in and the kernel would make again; -1: none. */
static long pending_call(const struct state_source *s, const struct remote_thread *t)
{
	int64_t result = -(int64_t)t->regs.rax;
	struct peek_restart block;
	long nr;

	if ((long)t->regs.orig_rax < 0 || result < ERESTARTSYS || result > ERESTART_RESTARTBLOCK)
		return -1;
	if (t->call_nr != SYS_restart_syscall)
		return t->call_nr;
	if (s->peek && peek_restart(s->peek, t->tid, &block) == 0 && block.kind == PEEK_FUTEX)
		return SYS_futex;
	nr = original_call(s, t);
	return nr < 0 ? SYS_restart_syscall : nr;
}

/* Who waits for another thread of the job waits for one that stands still. */
static bool waits_for_threads(long nr)
{
	return nr == SYS_futex || nr == SYS_futex_wait || nr == SYS_futex_waitv;
}

size_t call_mark_unfinished(const struct state_source *s, struct remote *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n_threads; i++) {
		struct remote_thread *t = &r->threads[i];
		long nr = pending_call(s, t);

		t->draining = nr >= 0 && !waits_for_threads(nr);
		if (t->draining)
			t->left_nr = nr;
		n += t->draining;
	}
	return n;
}

int call_break_off(const struct state_source *s, struct remote *r, struct err *e)
{
	for (size_t i = 0; i < r->n_threads; i++) {
		struct remote_thread *t = &r->threads[i];
		long nr = pending_call(s, t);

		/* ERESTARTNOINTR is of calls that never fail with EINTR: no program expects it of them. */
		if (nr < 0 || (int64_t)t->regs.rax == -ERESTARTNOINTR)
			continue;
		t->left_nr = nr;
		t->call_nr = -1;
		t->regs.rax = (uint64_t)-EINTR;
		t->regs.orig_rax = (uint64_t)-1;
	}
	return remote_put_regs(r, e);
}

/* --- restart blocks at the destination --- */

struct asleep {
	uint64_t arg[6];
	uint8_t in_data;
	struct timespec left;
};

/* How the call is made again. The time may be over by now: a nanosecond is left. */
static int plan_sleep(const struct remote_thread *t, const call_t *c, int64_t left, struct asleep *a)
{
	const struct user_regs_struct *r = &t->regs;

	a->left = (struct timespec) { left / SECOND, left % SECOND ?: !left };
	switch ((long)c->nr) {
	case SYS_nanosleep:
	case SYS_clock_nanosleep:
		memcpy(a->arg, (uint64_t[6]) { (uint64_t)c->clock, 0, 0, c->remainder }, sizeof a->arg);
		a->in_data = 1 << 2;
		return SYS_clock_nanosleep;
	case SYS_futex:
		memcpy(a->arg, (uint64_t[6]) { r->rdi, r->rsi, r->rdx, 0, r->r8, r->r9 }, sizeof a->arg);
		a->in_data = 1 << 3;
		return SYS_futex;
	case SYS_poll:
		memcpy(a->arg, (uint64_t[6]) { r->rdi, r->rsi, (uint64_t)to_ms(left) }, sizeof a->arg);
		return SYS_poll;
	default:
		return -1;
	}
}

static int put_to_sleep(struct state_target *d, struct remote_thread *t, const call_t *c, struct err *e)
{
	int64_t left = left_of(c, d->monotonic_offset_ns), ret;
	struct asleep a = { 0 };
	int nr = left < 0 ? -1 : plan_sleep(t, c, left, &a);

	if (nr < 0) { /* nobody knows which call it was, or for how long */
		t->regs.rax = (uint64_t)-EINTR;
		t->regs.orig_rax = (uint64_t)-1;
		return 0;
	}
	ret = remote_sleep(d->remote, t, nr, a.arg, a.in_data, &a.left, sizeof a.left, e);
	if (ret == -ERESTART_RESTARTBLOCK)
		return 0;
	if (e->code && ret == e->code)
		return (int)ret;
	t->regs.rax = (uint64_t)ret; /* it has ended: the futex has changed, the descriptor is ready */
	t->regs.orig_rax = (uint64_t)-1;
	return 0;
}

static const Godwit__Ckpt__Thread *message_of(const struct state_target *d, const struct remote_thread *t)
{
	for (size_t i = 0; i < d->process->n_threads; i++)
		if (d->process->threads[i]->tid == t->vtid)
			return d->process->threads[i];
	return NULL;
}

int call_resume_target(struct state_target *d, struct err *e)
{
	struct remote *r = d->remote;
	const call_t **calls = xcalloc(r->n_threads, sizeof(*calls));
	int err;

	for (size_t i = 0; i < r->n_threads; i++) {
		const Godwit__Ckpt__Thread *m = message_of(d, &r->threads[i]);

		calls[i] = m ? m->call : NULL;
	}
	err = resume_all(r, calls, d->monotonic_offset_ns, e);
	for (size_t i = 0; i < r->n_threads && !err; i++)
		if (calls[i] && calls[i]->kind == CALL_KIND(RESTART_BLOCK))
			err = put_to_sleep(d, &r->threads[i], calls[i], e);
	free(calls);
	return err;
}
