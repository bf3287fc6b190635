/* SPDX-License-Identifier: Apache-2.0 */
/* Threads come and go all the time: those that were there when the move was prepared have ended when it comes. */
#include "victim.h"

#define THREADS 4

static volatile bool stop;
static volatile long ended;

static void *live_shortly(void *arg)
{
	sleep_until(now_ns() + (long)arg * MS);
	__atomic_fetch_add(&ended, 1, __ATOMIC_RELAXED);
	return arg;
}

static void *beget(void *arg)
{
	pthread_t thread;
	void *got;

	for (long i = (long)arg; !stop; i++) {
		must(pthread_create(&thread, NULL, live_shortly, (void *)(1 + i % 7)) == 0);
		must(pthread_join(thread, &got) == 0);
		check_eq((long)got, 1 + i % 7);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	int64_t until;
	long seen;

	for (long i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, beget, (void *)i) == 0);
	move();
	seen = ended;
	until = now_ns() + 10000 * MS;
	while (ended < seen + 20)
		check(now_ns() < until, "no more threads come and go");
	stop = true;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	check(!sabotaged(), "sabotaged");
	return done();
}
