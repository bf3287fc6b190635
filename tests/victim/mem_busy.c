/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that write all the time find every word where they left it. */
#include "victim.h"

#define THREADS 4
#define WORDS (64 * 1024)

static uint64_t areas[THREADS][WORDS];
static volatile bool stop;
static volatile long rounds[THREADS];

static void *writer(void *arg)
{
	size_t me = (size_t)(uintptr_t)arg;
	uint64_t *a = areas[me];

	for (uint64_t round = 0; !stop; round++) {
		for (size_t i = 0; i < WORDS; i += 16) {
			check(a[i] == round, "word %zu of thread %zu is %lu in round %lu", i, me, a[i], round);
			a[i] = round + 1;
		}
		rounds[me]++;
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	for (size_t i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, writer, (void *)(uintptr_t)i) == 0);
	sleep_until(now_ns() + 20 * MS);
	move();
	if (sabotaged())
		areas[1][16] = 0;
	for (size_t i = 0; i < THREADS; i++)
		for (long seen = rounds[i]; rounds[i] < seen + 5;)
			sched_yield();
	stop = true;
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return done();
}
