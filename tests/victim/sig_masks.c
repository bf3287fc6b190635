/* SPDX-License-Identifier: Apache-2.0 */
/* Each thread's signal mask. */
#include "victim.h"

#define THREADS 5

static pthread_barrier_t both;

static uint64_t mask_of(int i)
{
	return pattern(3, (uint64_t)i) & ~(1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1));
}

static void *thread_main(void *arg)
{
	int me = (int)(intptr_t)arg;
	uint64_t mask = mask_of(me), now;

	must(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8) == 0);
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	must(syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &now, 8) == 0);
	if (sabotaged() && me == 3)
		now ^= 4;
	check(now == mask, "thread %d: mask %lx, was %lx", me, now, mask);
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
