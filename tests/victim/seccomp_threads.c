/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads with a filter in common, and others of their own. One of them asks all the time. In the end a filter is
 * given to all at once, which the kernel does only if they have the same ancestors.
 */
#include "seccomp.h"

#define THREADS 6

static volatile bool go, stop;
static volatile long rounds;

static void check_own(long i)
{
	check_fails(SYS_getppid, 70);
	if (i % 2)
		check_fails(SYS_getuid, 71 + (int)i);
	else
		must(syscall(SYS_getuid) == getuid());
}

static void *run(void *arg)
{
	long i = (long)arg;

	if (i % 2)
		forbid(SYS_getuid, SECCOMP_RET_ERRNO | (uint32_t)(71 + i), 0);
	check_own(i);
	__atomic_fetch_add(&rounds, 1, __ATOMIC_RELAXED);
	for (; !stop; rounds += i == 3) {
		if (i == 3)
			check_own(i);
		else
			sleep_until(now_ns() + 20 * MS);
	}
	check_own(i);
	return NULL;
}

static void *synced(void *arg)
{
	(void)arg;
	while (!go)
		sleep_until(now_ns() + 5 * MS);
	check_fails(SYS_getsid, 90);
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS], last;

	forbid(SYS_getppid, SECCOMP_RET_ERRNO | 70, 0);
	must(pthread_create(&last, NULL, synced, NULL) == 0);
	for (long i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, run, (void *)i) == 0);
	while (rounds < THREADS)
		sleep_until(now_ns() + MS);
	move();
	if (sabotaged())
		forbid(SYS_getppid, SECCOMP_RET_ERRNO | 80, 0);
	stop = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	check_fails(SYS_getppid, 70);
	/* Threads that have ended are no obstacle. */
	forbid(SYS_getsid, SECCOMP_RET_ERRNO | 90, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH);
	go = true;
	pthread_join(last, NULL);
	return done();
}
