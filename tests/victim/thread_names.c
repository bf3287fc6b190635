/* SPDX-License-Identifier: Apache-2.0 */
/* The name of each thread. */
#include "victim.h"
#include <sys/prctl.h>

#define THREADS 4

static pthread_barrier_t both;

static void *thread_main(void *arg)
{
	int me = (int)(intptr_t)arg;
	char name[32], want[32];

	snprintf(want, sizeof(want), "thread %d \n", me);
	must(prctl(PR_SET_NAME, want) == 0);
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	if (sabotaged() && me == 1)
		prctl(PR_SET_NAME, "x");
	must(prctl(PR_GET_NAME, name) == 0);
	check(!strcmp(name, want), "'%s', was '%s'", name, want);
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
