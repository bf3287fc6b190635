/* SPDX-License-Identifier: Apache-2.0 */
/* All the numbers by which a process and its threads are known. */
#include "victim.h"

#define THREADS 6

static pthread_barrier_t both;
static pid_t tids[THREADS];

static void *thread_main(void *arg)
{
	int me = (int)(intptr_t)arg;

	tids[me] = (pid_t)syscall(SYS_gettid);
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	if (sabotaged() && me == 2)
		tids[me]++;
	check_eq(syscall(SYS_gettid), tids[me]);
	return NULL;
}

int main(void)
{
	pid_t pid = getpid(), parent = getppid(), group = getpgrp(), session = getsid(0);
	pthread_t threads[THREADS];
	char *count;

	pthread_barrier_init(&both, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, thread_main, (void *)(intptr_t)i) == 0);
	pthread_barrier_wait(&both);
	move();
	check_eq(syscall(SYS_getpid), pid);
	check_eq(syscall(SYS_gettid), pid);
	check_eq(getppid(), parent);
	check_eq(getpgrp(), group);
	check_eq(getsid(0), session);
	count = proc_field("/proc/self/status", "Threads:");
	check_eq(atoi(count), THREADS + 1);
	check_eq(kill(pid, 0), 0);
	pthread_barrier_wait(&both);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return done();
}
