/* SPDX-License-Identifier: Apache-2.0 */
/* Scheduling, thread by thread: all of it can be read and set from outside, but for the timer slack and the
 * parent's death signal. */
#include <errno.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "state/confine.h"
#include "state/kinds.h"

#define CPUS_BYTES_MAX 1024 /* 8192 CPUs */
#define FLAG_RESET_ON_FORK 0x01
#define FLAG_RECLAIM 0x02
#define FLAG_DL_OVERRUN 0x04
#define FLAG_UTIL_CLAMP_MIN 0x20
#define FLAG_UTIL_CLAMP_MAX 0x40
#define UTIL_MAX 1024

/* The kernel's struct sched_attr, second version (5.3). */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

static int sched_ask_thread(struct state_source *s, struct remote_thread *t, struct batch *b, struct err *e)
{
	(void)t;
	(void)e;
	s->asked->at = batch_room(b, sizeof(int));
	s->asked->call = batch_call(b, NULL, SYS_prctl, bval(PR_GET_TIMERSLACK));
	(void)batch_call(b, "cannot ask for the parent's death signal", SYS_prctl, bval(PR_GET_PDEATHSIG),
			 bdata(s->asked->at));
	return b->error;
}

static int take_affinity(pid_t tid, Godwit__Ckpt__Sched *m, struct err *e)
{
	uint8_t cpus[CPUS_BYTES_MAX];
	long n = syscall(SYS_sched_getaffinity, tid, sizeof cpus, cpus);

	if (n < 0)
		return err_errno(e, "CPU affinity of thread %d", tid);
	m->affinity.data = xmalloc((size_t)n);
	m->affinity.len = (size_t)n;
	memcpy(m->affinity.data, cpus, (size_t)n);
	return 0;
}

static int sched_take_thread(struct state_source *s, struct remote_thread *t, Godwit__Ckpt__Thread *thread,
			     struct batch *b, struct err *e)
{
	Godwit__Ckpt__Sched *m = xmalloc(sizeof *m);
	struct attr a = { 0 };
	long prio;

	godwit__ckpt__sched__init(m);
	thread->sched = m;
	thread->timer_slack_ns = batch_ret(b, s->asked->call) > 0 ? (uint64_t)batch_ret(b, s->asked->call) : 0;
	memcpy(&thread->pdeath_signal, batch_at(b, s->asked->at), sizeof(int));
	if (syscall(SYS_sched_getattr, t->tid, &a, sizeof a, 0) < 0)
		return err_errno(e, "scheduling of thread %d", t->vtid);
	errno = 0;
	prio = getpriority(PRIO_PROCESS, (id_t)t->tid);
	if (prio < 0 && errno)
		return err_errno(e, "priority of thread %d", t->vtid);
	m->policy = (int32_t)a.policy;
	m->nice = (int32_t)prio;
	m->priority = a.priority;
	m->flags = a.flags;
	m->runtime = a.runtime;
	m->deadline = a.deadline;
	m->period = a.period;
	m->util_min = a.util_min;
	m->util_max = a.util_max;
	prio = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, t->tid);
	m->ioprio = prio > 0 ? (uint32_t)prio : 0;
	return take_affinity(t->tid, m, e);
}

/* As far as there are such CPUs here; if there is none, wherever it may run. */
static int set_affinity(pid_t tid, const Godwit__Ckpt__Sched *m, struct err *e)
{
	uint8_t cpus[CPUS_BYTES_MAX], want[CPUS_BYTES_MAX] = { 0 };
	long n = syscall(SYS_sched_getaffinity, tid, sizeof cpus, cpus);
	bool any = false, same = true;

	if (n < 0)
		return err_errno(e, "CPU affinity");
	for (size_t i = 0; i < (size_t)n; i++) {
		want[i] = i < m->affinity.len ? m->affinity.data[i] & cpus[i] : 0;
		any = any || want[i];
		same = same && want[i] == cpus[i];
	}
	if (!any)
		log_info("none of the CPUs that the job's thread was bound to is here");
	if (any && !same && syscall(SYS_sched_setaffinity, tid, (size_t)n, want) < 0)
		return err_errno(e, "CPU affinity");
	return 0;
}

static int set_policy(pid_t tid, const Godwit__Ckpt__Sched *m, struct err *e)
{
	struct attr a = { .size = sizeof a,
			  .policy = (uint32_t)m->policy,
			  .flags = m->flags & (FLAG_RESET_ON_FORK | FLAG_RECLAIM | FLAG_DL_OVERRUN),
			  .nice = m->nice,
			  .priority = m->priority,
			  .runtime = m->runtime,
			  .deadline = m->deadline,
			  .period = m->period,
			  .util_min = m->util_min,
			  .util_max = m->util_max };

	if ((m->util_max || m->util_min) && (m->util_min || m->util_max != UTIL_MAX))
		a.flags |= FLAG_UTIL_CLAMP_MIN | FLAG_UTIL_CLAMP_MAX;
	/* The blank was hurried along by the mover: nice is never what it was. The rest is left alone where it is
	 * the default: a job without privilege needs none here. */
	if (setpriority(PRIO_PROCESS, (id_t)tid, m->nice) < 0)
		return err_errno(e, "priority %d", m->nice);
	if (m->policy == SCHED_OTHER && !a.flags)
		return 0;
	if (syscall(SYS_sched_setattr, tid, &a, 0) == 0)
		return 0;
	if (errno != EBUSY)
		return err_errno(e, "scheduling policy %d", m->policy);
	return err_set(e, -EBUSY, "no processor time is left here for a deadline of %llu in %llu ns",
		       (unsigned long long)m->runtime, (unsigned long long)m->period);
}

static int sched_restore_thread(struct state_target *d, struct remote_thread *t,
				const Godwit__Ckpt__Thread *thread, struct batch *b, struct err *e)
{
	const Godwit__Ckpt__Sched *m = thread->sched;
	int r;

	if (!m)
		return err_set(e, -EBADMSG, "thread %d: no scheduling", thread->tid);
	r = confine_judge_sched(d, m, e);
	if (!r)
		r = state_room(d, t, b, 1, 0, e);
	if (r < 0)
		return r;
	if (thread->timer_slack_ns)
		(void)batch_call(b, "cannot set the timer slack", SYS_prctl, bval(PR_SET_TIMERSLACK),
				 bval(thread->timer_slack_ns));
	r = set_affinity(t->tid, m, e);
	if (r < 0)
		return err_wrap(e, "thread %d", thread->tid);
	if (m->ioprio && syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, t->tid, m->ioprio) < 0)
		return err_errno(e, "thread %d: I/O priority", thread->tid);
	return b->error;
}

const struct state_module state_sched = {
	.name = "sched",
	.phase = STATE_THREADS,
	.ask_thread = sched_ask_thread,
	.take_thread = sched_take_thread,
	.restore_thread = sched_restore_thread,
};

/* The policy comes last: a real-time thread has no timer slack to set, and an idle one should not delay its own
 * restoring. */
static int policy_restore_thread(struct state_target *d, struct remote_thread *t,
				 const Godwit__Ckpt__Thread *thread, struct batch *b, struct err *e)
{
	int r = state_room(d, t, b, 1, 0, e);

	if (r < 0)
		return r;
	/* A change of credentials clears it. */
	if (thread->pdeath_signal)
		(void)batch_call(b, "cannot set the parent's death signal", SYS_prctl, bval(PR_SET_PDEATHSIG),
				 bval((uint64_t)thread->pdeath_signal));
	r = thread->sched ? set_policy(t->tid, thread->sched, e) : 0;
	return r < 0 ? err_wrap(e, "thread %d", thread->tid) : b->error;
}

const struct state_module state_policy = {
	.name = "policy",
	.phase = STATE_LAST,
	.restore_thread = policy_restore_thread,
};
