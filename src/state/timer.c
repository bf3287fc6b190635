/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interval timers and POSIX timers.
 *
 * What is left of a timer is asked in the process, together with the clocks as the process reads them. At the
 * destination a timer on a clock that the time namespace continues is set to the absolute moment at which it was
 * due, so that the migration does not delay it; others get what is left, less the time that has passed where they
 * measure time and not work.
 */
#include "state/timer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "base/fd.h"
#include "base/kernel.h"
#include "base/util.h"
#include "state/kinds.h"

#define PR_TIMER_CREATE_RESTORE_IDS 77
#define NS 1000000000

/* --- source --- */

static int order_id(const void *pa, const void *pb)
{
	const struct timer_seen *a = pa, *b = pb;

	return a->id < b->id ? -1 : a->id > b->id;
}

int timers_parse(const char *text, struct timer_seen **ret, size_t *ret_n)
{
	_cleanup_free_ struct timer_seen *list = NULL;
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, "ID: "));) {
		struct timer_seen t = { 0 };
		unsigned long long value;
		char how[16], whom[8];

		if (at != text && at[-1] != '\n') { /* "ClockID: " */
			at += 4;
			continue;
		}
		if (sscanf(at, "ID: %d signal: %d/%llx notify: %15[a-z]/%7[a-z].%d ClockID: %d", &t.id, &t.signal,
			   &value, how, whom, &t.tid, &t.clock) != 7)
			return -EBADMSG;
		t.value = value;
		t.notify = strcmp(how, "none") == 0	? SIGEV_NONE
			   : strcmp(how, "thread") == 0 ? SIGEV_THREAD
							: SIGEV_SIGNAL;
		if (strcmp(whom, "tid") == 0)
			t.notify |= SIGEV_THREAD_ID;
		if (n == TIMERS_MAX)
			return -E2BIG;
		if (!(n & (n - 1)))
			list = xrealloc(list, sizeof *list * (n ? 2 * n : 1));
		list[n++] = t;
		at += 4;
	}
	/* The kernel's order is none; a kernel that only counts upwards must be asked for them upwards. */
	if (n)
		qsort(list, n, sizeof *list, order_id);
	*ret = steal_ptr(&list);
	*ret_n = n;
	return 0;
}

static int read_timers(int proc, struct timer_seen **ret, size_t *ret_n, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = fd_slurp(proc, "timers", 64 << 20, &text);
	int r = n < 0 ? (int)n : timers_parse(text, ret, ret_n);

	return r < 0 ? err_code(e, r, "POSIX timers") : 0;
}

static int timer_check(struct state_source *s, struct err *e)
{
	_cleanup_free_ struct timer_seen *list = NULL;
	size_t n;

	return read_timers(s->proc, &list, &n, e);
}

struct itimer_answers {
	struct itimerval itimer[3];
	struct timespec monotonic, boottime;
};

static int timer_ask(struct state_source *s, struct batch *b, struct err *e)
{
	uint32_t at = batch_room(b, sizeof(struct itimer_answers));

	(void)e;
	s->asked->at = at;
	for (uint32_t which = 0; which < 3; which++)
		(void)batch_call(b, "cannot read an interval timer", SYS_getitimer, bval(which),
				 bdata(at + which * (uint32_t)sizeof(struct itimerval)));
	(void)batch_call(b, "cannot read the clock", SYS_clock_gettime, bval(CLOCK_MONOTONIC),
			 bdata(at + (uint32_t)offsetof(struct itimer_answers, monotonic)));
	(void)batch_call(b, "cannot read the clock", SYS_clock_gettime, bval(CLOCK_BOOTTIME),
			 bdata(at + (uint32_t)offsetof(struct itimer_answers, boottime)));
	return b->error;
}

static uint64_t timeval_ns(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * NS + (uint64_t)t->tv_usec * 1000;
}

static uint64_t timespec_ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * NS + (uint64_t)t->tv_nsec;
}

static void add_itimer(Godwit__Ckpt__Timers *m, int which, const struct itimerval *v)
{
	Godwit__Ckpt__Itimer *t;

	if (!timeval_ns(&v->it_value) && !timeval_ns(&v->it_interval))
		return;
	t = xmalloc(sizeof *t);
	godwit__ckpt__itimer__init(t);
	t->which = which;
	t->value_ns = timeval_ns(&v->it_value);
	t->interval_ns = timeval_ns(&v->it_interval);
	m->itimers = xrealloc(m->itimers, (m->n_itimers + 1) * sizeof(*m->itimers));
	m->itimers[m->n_itimers++] = t;
}

static int as_job_counts(const struct state_source *s, int tid)
{
	for (size_t i = 0; i < s->remote->n_threads; i++)
		if (s->remote->threads[i].tid == tid)
			return s->remote->threads[i].vtid;
	return 0;
}

static Godwit__Ckpt__PosixTimer *posix_message(const struct state_source *s, const struct timer_seen *t,
					       const struct itimerspec *left, int64_t overrun)
{
	Godwit__Ckpt__PosixTimer *m = xmalloc(sizeof *m);

	godwit__ckpt__posix_timer__init(m);
	m->id = t->id;
	m->clock = t->clock;
	m->notify = t->notify;
	m->signal = t->signal;
	m->sigval = t->value;
	m->tid = t->notify & SIGEV_THREAD_ID ? as_job_counts(s, t->tid) : 0;
	m->value_ns = timespec_ns(&left->it_value);
	m->interval_ns = timespec_ns(&left->it_interval);
	m->overrun = overrun > 0 ? (int32_t)overrun : 0;
	return m;
}

/*
 * In batches of their own: a program has hundreds of timers or, mostly, none. What is left is counted from when
 * the interval timers were read, as for all of them. The clock is read last: a timer may be late by what comes
 * between, and early by nothing.
 */
static int take_posix(struct state_source *s, Godwit__Ckpt__Timers *m, struct err *e)
{
	_cleanup_free_ struct timer_seen *list = NULL;
	_cleanup_free_ struct batch *b = NULL;
	uint64_t since_ns;
	uint32_t now_at;
	size_t n, done = 0;
	int r = read_timers(s->proc, &list, &n, e);

	if (r < 0 || !n)
		return r;
	b = xmalloc(sizeof *b);
	m->posix = xcalloc(n, sizeof(*m->posix));
	while (done < n) {
		size_t first = done;

		batch_init(b);
		for (; done < n && batch_fits(b, 3, sizeof(struct itimerspec) + sizeof(struct timespec)); done++) {
			uint32_t room = batch_room(b, sizeof(struct itimerspec));

			(void)batch_call(b, "cannot read a timer", SYS_timer_gettime,
					 bval((uint64_t)list[done].id), bdata(room));
			(void)batch_call(b, NULL, SYS_timer_getoverrun, bval((uint64_t)list[done].id));
		}
		now_at = batch_room(b, sizeof(struct timespec));
		(void)batch_call(b, "cannot read the clock", SYS_clock_gettime, bval(CLOCK_MONOTONIC),
				 bdata(now_at));
		r = batch_run(s->remote, &s->remote->threads[0], b, e);
		if (r < 0)
			return r;
		since_ns = timespec_ns(batch_at(b, now_at)) - m->monotonic_ns;
		for (size_t i = first; i < done; i++) {
			const struct itimerspec *left = batch_at(b, (uint32_t)((i - first) * sizeof *left));
			Godwit__Ckpt__PosixTimer *t =
				posix_message(s, &list[i], left, batch_ret(b, (int)(2 * (i - first) + 1)));

			if (t->value_ns && !timer_counts_work(t->clock))
				t->value_ns += since_ns;
			m->posix[m->n_posix++] = t;
		}
	}
	for (size_t i = 0; i < n && r == 0; i++)
		r = timer_rings_take(s, m, m->posix[i], e);
	return r;
}

static int timer_take(struct state_source *s, struct batch *b, struct err *e)
{
	const struct itimer_answers *a = batch_at(b, s->asked->at);
	Godwit__Ckpt__Timers *m = xmalloc(sizeof *m);

	godwit__ckpt__timers__init(m);
	if (s->process->timers)
		godwit__ckpt__timers__free_unpacked(s->process->timers, NULL);
	s->process->timers = m;
	m->monotonic_ns = timespec_ns(&a->monotonic);
	m->boottime_ns = timespec_ns(&a->boottime);
	for (int which = 0; which < 3; which++)
		add_itimer(m, which, &a->itimer[which]);
	return take_posix(s, m, e);
}

/* --- destination --- */

/* How long ago the timers were read, by the job's own clock, which has gone on. */
static uint64_t elapsed_ns(const struct state_target *d, const Godwit__Ckpt__Timers *m)
{
	struct timespec now;
	int64_t passed;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	passed = (int64_t)timespec_ns(&now) + d->monotonic_offset_ns - (int64_t)m->monotonic_ns;
	return passed > 0 ? (uint64_t)passed : 0;
}

static uint64_t less(uint64_t left, uint64_t passed, uint64_t least)
{
	if (!left)
		return 0;
	return left > passed + least ? left - passed : least;
}

static struct timeval as_timeval(uint64_t ns)
{
	return (struct timeval) { .tv_sec = (time_t)(ns / NS), .tv_usec = (suseconds_t)(ns % NS / 1000) };
}

static struct timespec as_timespec(uint64_t ns)
{
	return (struct timespec) { .tv_sec = (time_t)(ns / NS), .tv_nsec = (long)(ns % NS) };
}

static int restore_itimers(struct state_target *d, const Godwit__Ckpt__Timers *m, struct batch *b, struct err *e)
{
	for (size_t i = 0; i < m->n_itimers; i++) {
		const Godwit__Ckpt__Itimer *t = m->itimers[i];
		uint64_t passed = t->which == ITIMER_REAL ? elapsed_ns(d, m) : 0;
		struct itimerval v = { .it_value = as_timeval(less(t->value_ns, passed, 1000)),
				       .it_interval = as_timeval(t->interval_ns) };
		int r = state_room(d, NULL, b, 1, sizeof v, e);

		if (r < 0)
			return r;
		(void)batch_call(b, "cannot set an interval timer", SYS_setitimer, bval((uint64_t)t->which),
				 bdata(batch_put(b, &v, sizeof v)), bval(0));
	}
	return b->error;
}

static void queue_create(struct batch *b, const Godwit__Ckpt__PosixTimer *t, uint32_t *ret_id)
{
	struct sigevent event = { .sigev_notify = t->notify, .sigev_signo = t->signal };
	int id[2] = { t->id, 0 };

	memcpy(&event.sigev_value, &t->sigval, sizeof event.sigev_value);
	if (t->notify & SIGEV_THREAD_ID)
		event._sigev_un._tid = t->tid;
	*ret_id = batch_put(b, id, sizeof id);
	(void)batch_call(b, "cannot make a timer", SYS_timer_create, bval((uint64_t)(int64_t)t->clock),
			 bdata(batch_put(b, &event, sizeof event)), bdata(*ret_id));
}

static bool is_absolute_clock(int clock)
{
	return clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME || clock == CLOCK_BOOTTIME_ALARM;
}

/* To the moment when it rang first: it does so again at once, and all periods since then count as overruns. */
static void queue_past(struct state_target *d, const Godwit__Ckpt__Timers *m, const Godwit__Ckpt__PosixTimer *t,
		       struct batch *b)
{
	uint64_t since = ((uint64_t)t->overrun + 1) * t->interval_ns, clock_ns = m->monotonic_ns;
	struct itimerspec v = { .it_interval = as_timespec(t->interval_ns) };
	struct timespec now;

	if (t->clock == CLOCK_BOOTTIME || t->clock == CLOCK_BOOTTIME_ALARM)
		clock_ns = m->boottime_ns;
	else if (t->clock != CLOCK_MONOTONIC && clock_gettime(t->clock, &now) == 0)
		clock_ns = timespec_ns(&now) - elapsed_ns(d, m);
	clock_ns += t->value_ns;
	v.it_value = as_timespec(clock_ns > since ? clock_ns - since : 1);
	(void)batch_call(b, "cannot set a timer", SYS_timer_settime, bval((uint64_t)t->id), bval(TIMER_ABSTIME),
			 bdata(batch_put(b, &v, sizeof v)), bval(0));
}

static void queue_arm(struct state_target *d, const Godwit__Ckpt__Timers *m, const Godwit__Ckpt__PosixTimer *t,
		      struct batch *b)
{
	struct itimerspec v = { .it_interval = as_timespec(t->interval_ns) };
	bool absolute = is_absolute_clock(t->clock);

	if (!t->value_ns && !t->interval_ns)
		return;
	if (t->pending) {
		queue_past(d, m, t, b);
		return;
	}
	if (absolute)
		v.it_value = as_timespec(t->value_ns +
					 (t->clock == CLOCK_MONOTONIC ? m->monotonic_ns : m->boottime_ns));
	else if (t->clock == CLOCK_REALTIME || t->clock == CLOCK_TAI || t->clock == CLOCK_REALTIME_ALARM)
		v.it_value = as_timespec(less(t->value_ns, elapsed_ns(d, m), 1));
	else
		v.it_value = as_timespec(t->value_ns);
	if (!t->value_ns)
		v.it_value = as_timespec(0);
	(void)batch_call(b, "cannot set a timer", SYS_timer_settime, bval((uint64_t)t->id),
			 bval(absolute ? TIMER_ABSTIME : 0), bdata(batch_put(b, &v, sizeof v)), bval(0));
}

/* Kernels before 6.15 number timers upwards and cannot be told: make and delete until the number comes. */
static int create_by_counting(struct state_target *d, const Godwit__Ckpt__PosixTimer *t, struct batch *b,
			      struct err *e)
{
	for (int tries = 0; tries <= INT16_MAX; tries++) {
		uint32_t at;
		int id, r;

		batch_init(b);
		queue_create(b, t, &at);
		r = state_flush(d, NULL, b, e);
		if (r < 0)
			return r;
		memcpy(&id, batch_at(b, at), sizeof id);
		batch_init(b);
		if (id == t->id)
			return 0;
		(void)batch_call(b, "cannot delete a timer", SYS_timer_delete, bval((uint64_t)id));
		r = state_flush(d, NULL, b, e);
		if (r < 0)
			return r;
		if (id > t->id)
			break;
	}
	batch_init(b);
	return err_set(e, -ENOSYS, "this kernel cannot make a timer with number %d", t->id);
}

static int restore_posix(struct state_target *d, const Godwit__Ckpt__Timers *m, struct batch *b, struct err *e)
{
	bool by_id = kernel_has(KERNEL_TIMER_RESTORE_IDS);
	int r = 0;

	if (!m->n_posix)
		return 0;
	if (m->n_posix > TIMERS_MAX)
		return err_set(e, -E2BIG, "too many timers");
	if (!by_id && (r = state_flush(d, NULL, b, e)) < 0)
		return r;
	for (size_t i = 0; i < m->n_posix; i++) {
		const Godwit__Ckpt__PosixTimer *t = m->posix[i];
		uint32_t at;

		r = state_room(d, NULL, b, 4, 256, e);
		if (r < 0)
			return r;
		if (by_id) {
			(void)batch_call(b, "cannot choose timer numbers", SYS_prctl,
					 bval(PR_TIMER_CREATE_RESTORE_IDS), bval(1));
			queue_create(b, t, &at);
			(void)batch_call(b, "cannot choose timer numbers", SYS_prctl,
					 bval(PR_TIMER_CREATE_RESTORE_IDS), bval(0));
		} else if ((r = create_by_counting(d, t, b, e)) < 0) {
			return r;
		}
		queue_arm(d, m, t, b);
		if (!by_id) {
			r = state_flush(d, NULL, b, e);
			batch_init(b);
			if (r < 0)
				return r;
		}
	}
	return b->error;
}

static int timer_restore(struct state_target *d, struct batch *b, struct err *e)
{
	const Godwit__Ckpt__Timers *m = d->process->timers;
	int r;

	if (!m)
		return 0;
	r = restore_itimers(d, m, b, e);
	return r < 0 ? r : restore_posix(d, m, b, e);
}

const struct state_module state_timer = {
	.name = "timer",
	.phase = STATE_THREADS, /* a timer may signal a thread */
	.check = timer_check,
	.ask = timer_ask,
	.take = timer_take,
	.restore = timer_restore,
};
