/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers whose signal is queued.
 *
 * Theory of operation. A periodic timer queues one signal and then waits until somebody takes it; how many periods
 * have gone by meanwhile (si_overrun) the kernel computes when it is taken, and shows to nobody before. So at the
 * source the agent takes the signal and queues it again, in one go: the count is in its siginfo then. With other
 * signals of the same number all are taken and queued again once round, which leaves their order. The timer is
 * armed again by that, as it would be by the program; if the job goes on here, it gets the rings in two signals
 * instead of one, and none is lost.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "base/util.h"
#include "state/timer.h"

#define ROUND_MAX 64 /* queued signals of one number */
#define NS 1000000000
#define SI_KERNEL_CODE 0x80

static bool is_ring_of(const siginfo_t *info, int id)
{
	return info->si_code == SI_TIMER && info->si_timerid == id;
}

/* How many signals of that number are queued, and is one of them the timer's? */
static int count_queued(const struct remote_thread *t, bool shared, int sig, int id, unsigned *ret_count,
			bool *ret_ours)
{
	struct __ptrace_peeksiginfo_args args = { .flags = shared ? PTRACE_PEEKSIGINFO_SHARED : 0, .nr = 16 };
	siginfo_t info[16];
	long got;

	*ret_count = 0;
	*ret_ours = false;
	do {
		got = ptrace(PTRACE_PEEKSIGINFO, t->tid, &args, info);
		if (got < 0)
			return -errno;
		for (long i = 0; i < got; i++) {
			*ret_count += info[i].si_signo == sig;
			*ret_ours = *ret_ours || is_ring_of(&info[i], id);
		}
		args.off += (uint64_t)got;
	} while (got == args.nr);
	return 0;
}

static struct remote_thread *thread_of(const struct state_source *s, const Godwit__Ckpt__PosixTimer *m)
{
	if (!(m->notify & SIGEV_THREAD_ID))
		return &s->remote->threads[0];
	for (size_t i = 0; i < s->remote->n_threads; i++)
		if (s->remote->threads[i].vtid == m->tid)
			return &s->remote->threads[i];
	return NULL;
}

static void queue_round(const struct state_source *s, const struct remote_thread *t,
			const Godwit__Ckpt__PosixTimer *m, unsigned count, struct batch *b, uint32_t *infos)
{
	uint64_t set = UINT64_C(1) << (m->signal - 1);
	struct timespec none = { 0 };
	uint32_t set_at = batch_put(b, &set, sizeof set), none_at = batch_put(b, &none, sizeof none);

	for (unsigned i = 0; i < count; i++) {
		infos[i] = batch_room(b, sizeof(siginfo_t));
		(void)batch_call(b, "taking a timer's signal", SYS_rt_sigtimedwait, bdata(set_at), bdata(infos[i]),
				 bdata(none_at), bval(8));
		if (m->notify & SIGEV_THREAD_ID)
			(void)batch_call(b, "queueing a timer's signal", SYS_rt_tgsigqueueinfo,
					 bval((uint64_t)s->vpid), bval((uint64_t)t->vtid),
					 bval((uint64_t)m->signal), bdata(infos[i]));
		else
			(void)batch_call(b, "queueing a timer's signal", SYS_rt_sigqueueinfo,
					 bval((uint64_t)s->vpid), bval((uint64_t)m->signal), bdata(infos[i]));
	}
}

static uint64_t ns_at(struct batch *b, uint32_t at)
{
	struct timespec t;

	memcpy(&t, batch_at(b, at), sizeof t);
	return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

static int take_rings(struct state_source *s, struct remote_thread *t, Godwit__Ckpt__Timers *all,
		      Godwit__Ckpt__PosixTimer *m, unsigned count, struct err *e)
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	uint32_t infos[ROUND_MAX], now_at, left_at;
	unsigned rings = 0;
	int r;

	batch_init(b);
	queue_round(s, t, m, count, b, infos);
	now_at = batch_room(b, sizeof(struct timespec));
	left_at = batch_room(b, sizeof(struct itimerspec));
	(void)batch_call(b, "reading a timer", SYS_timer_gettime, bval((uint64_t)m->id), bdata(left_at));
	(void)batch_call(b, "reading the clock", SYS_clock_gettime, bval(CLOCK_MONOTONIC), bdata(now_at));
	r = batch_run(s->remote, t, b, e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < count; i++) {
		siginfo_t info;

		memcpy(&info, batch_at(b, infos[i]), sizeof info);
		if (is_ring_of(&info, m->id))
			rings += 1 + (unsigned)info.si_overrun;
	}
	m->pending = true;
	m->overrun = (int32_t)rings - 1;
	/* what is left is counted from when the other timers were read */
	m->value_ns = ns_at(b, left_at + (uint32_t)offsetof(struct itimerspec, it_value)) + ns_at(b, now_at) -
		      all->monotonic_ns;
	return 0;
}

int timer_rings_take(struct state_source *s, Godwit__Ckpt__Timers *all, Godwit__Ckpt__PosixTimer *m, struct err *e)
{
	bool shared = !(m->notify & SIGEV_THREAD_ID), ours, private_ours;
	struct remote_thread *t = thread_of(s, m);
	unsigned count, private_count = 0;
	int r;

	if (!m->interval_ns || m->notify & SIGEV_NONE || timer_counts_work(m->clock) || !t || m->signal < 1 ||
	    m->signal > 64)
		return 0;
	r = count_queued(t, shared, m->signal, m->id, &count, &ours);
	if (r == 0 && shared)
		r = count_queued(t, false, m->signal, m->id, &private_count, &private_ours);
	if (r < 0)
		return err_code(e, r, "signals of timer %d", m->id);
	/* A thread takes what is its own first; such a mixture is left alone, and the count of rings with it. */
	return ours && !private_count && count <= ROUND_MAX ? take_rings(s, t, all, m, count, e) : 0;
}

bool timer_rings_itself(const Godwit__Ckpt__Process *p, const void *siginfo)
{
	siginfo_t info;

	memcpy(&info, siginfo, sizeof info);
	for (size_t i = 0; p->timers && i < p->timers->n_posix; i++)
		if (p->timers->posix[i]->pending && is_ring_of(&info, p->timers->posix[i]->id))
			return true;
	return false;
}

bool timer_will_ring(const Godwit__Ckpt__Process *p, const void *siginfo)
{
	static const int signals[] = { SIGALRM, SIGVTALRM, SIGPROF };
	siginfo_t info;

	memcpy(&info, siginfo, sizeof info);
	for (size_t i = 0; p->timers && i < p->timers->n_posix; i++)
		if ((p->timers->posix[i]->pending || p->timers->posix[i]->value_ns) &&
		    is_ring_of(&info, p->timers->posix[i]->id))
			return true;
	for (size_t i = 0; p->timers && i < p->timers->n_itimers; i++) {
		const Godwit__Ckpt__Itimer *t = p->timers->itimers[i];

		if (t->which >= 0 && t->which < 3 && t->value_ns && info.si_code == SI_KERNEL_CODE &&
		    info.si_signo == signals[t->which])
			return true;
	}
	return false;
}
