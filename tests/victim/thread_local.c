/* SPDX-License-Identifier: Apache-2.0 */
/* Thread-local variables, errno among them. */
#include "victim.h"

#define THREADS 8

static pthread_barrier_t both;
static __thread uint64_t block[1000];
static pthread_key_t key;

static void *thread_main(void *arg)
{
	int me = (int)(intptr_t)arg;

	pattern_fill(block, sizeof(block), (uint64_t)me);
	pthread_setspecific(key, &block[me]);
	pthread_barrier_wait(&both);
	errno = 1000 + me;
	pthread_barrier_wait(&both);
	check_eq(errno, 1000 + me);
	if (sabotaged() && me == 5)
		block[999]++;
	pattern_check(block, sizeof(block), (uint64_t)me);
	check(pthread_getspecific(key) == &block[me], "thread %d", me);
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	pthread_key_create(&key, NULL);
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
