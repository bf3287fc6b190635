/* SPDX-License-Identifier: Apache-2.0 */
/* The scheduling policy, priority and nice value of each thread, and reset on fork. */
#include "victim.h"
#include <sys/resource.h>

struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static struct attr attr_of(void)
{
	struct attr a = { 0 };

	must(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) == 0);
	return a;
}

static const struct attr wanted[] = {
	{ .policy = SCHED_OTHER, .nice = 7 },
	{ .policy = SCHED_BATCH, .nice = 3 },
	{ .policy = SCHED_IDLE },
	{ .policy = SCHED_FIFO, .priority = 5 },
	{ .policy = SCHED_RR, .priority = 9, .flags = 1 /* reset on fork */ },
	{ .policy = SCHED_OTHER, .nice = -4 },
};

#define THREADS (int)(sizeof(wanted) / sizeof(wanted[0]))

static pthread_barrier_t both;

static void *thread_main(void *arg)
{
	int me = (int)(intptr_t)arg;
	struct attr before, after, set = wanted[me];

	set.size = 48;
	if (syscall(SYS_sched_setattr, 0, &set, 0) < 0)
		must(errno == EPERM);
	before = attr_of();
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	if (sabotaged() && me == 1)
		must(setpriority(PRIO_PROCESS, 0, 5) == 0);
	after = attr_of();
	check(before.policy == after.policy && before.flags == after.flags && before.nice == after.nice &&
		      before.priority == after.priority,
	      "thread %d: policy %u flags %lx nice %d priority %u, was %u %lx %d %u", me, after.policy,
	      after.flags, after.nice, after.priority, before.policy, before.flags, before.nice, before.priority);
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	pthread_barrier_init(&both, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, thread_main, (void *)(intptr_t)i) == 0);
	pthread_barrier_wait(&both);
	move();
	pthread_barrier_wait(&both);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return done();
}
