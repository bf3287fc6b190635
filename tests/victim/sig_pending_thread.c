/* SPDX-License-Identifier: Apache-2.0 */
/* Signals pending for single threads stay with them, with their values. */
#include "victim.h"

#define THREADS 4

static pthread_barrier_t both;
static pid_t tids[THREADS];

/* Not libc's, which makes SI_USER of SI_TKILL. */
static int take(const sigset_t *set, siginfo_t *info)
{
	struct timespec none = { 0 };

	return (int)syscall(SYS_rt_sigtimedwait, set, info, &none, 8);
}

static void *thread_main(void *arg)
{
	int me = (int)(intptr_t)arg;
	siginfo_t info;
	sigset_t set;

	tids[me] = gettid();
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	sigfillset(&set);
	if (sabotaged() && me == 1)
		take(&set, &info);
	for (int i = 0; i < 3; i++) {
		check(take(&set, &info) == SIGRTMIN + 1, "thread %d, signal %d", me, i);
		check_eq(info.si_value.sival_int, me * 100 + i);
	}
	check(take(&set, &info) == SIGRTMIN + 2 + me, "thread %d: the signal by tgkill", me);
	check_eq(info.si_code, SI_TKILL);
	check(take(&set, &info) < 0, "thread %d: signal %d too many", me, info.si_signo);
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	sigset_t set;

	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pthread_barrier_init(&both, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, thread_main, (void *)(intptr_t)i) == 0);
	pthread_barrier_wait(&both);
	for (int i = 0; i < THREADS; i++) {
		for (int k = 0; k < 3; k++)
			must(pthread_sigqueue(threads[i], SIGRTMIN + 1,
					      (union sigval) { .sival_int = i * 100 + k }) == 0);
		must(syscall(SYS_tgkill, getpid(), tids[i], SIGRTMIN + 2 + i) == 0);
	}
	move();
	pthread_barrier_wait(&both);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return done();
}
