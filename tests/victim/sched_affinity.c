/* SPDX-License-Identifier: Apache-2.0 */
/* The processors each thread may use. */
#include "victim.h"

#define THREADS 3

static pthread_barrier_t both;

static void *thread_main(void *arg)
{
	int me = (int)(intptr_t)arg;
	cpu_set_t before, after;

	must(sched_getaffinity(0, sizeof(before), &before) == 0);
	for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &before) && me < 2 && seen++ != me)
			CPU_CLR(cpu, &before);
	must(CPU_COUNT(&before) == 0 || sched_setaffinity(0, sizeof(before), &before) == 0);
	must(sched_getaffinity(0, sizeof(before), &before) == 0);
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	must(sched_getaffinity(0, sizeof(after), &after) == 0);
	if (sabotaged())
		CPU_SET(999, &after);
	check(CPU_EQUAL(&before, &after), "thread %d: other processors", me);
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
