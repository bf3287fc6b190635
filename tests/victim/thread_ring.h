/* SPDX-License-Identifier: Apache-2.0 */
/* THREADS threads, which the including file defines, with mutexes and condition variables. */
#include "victim.h"

/*
 * The threads stand in a ring. Whoever has the token, protected by a mutex and a condition variable of its own,
 * counts and hands it on; the sum is known.
 */
struct place {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool token;
	long turns;
};

static struct place places[THREADS];
static volatile bool stop;
static volatile long total;

static void hand_to(struct place *p)
{
	pthread_mutex_lock(&p->lock);
	p->token = true;
	pthread_cond_signal(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

static void *thread_main(void *arg)
{
	struct place *me = arg, *next = me + 1 == places + THREADS ? places : me + 1;

	for (bool go_on = true; go_on;) {
		pthread_mutex_lock(&me->lock);
		while (!me->token)
			pthread_cond_wait(&me->changed, &me->lock);
		me->token = false;
		pthread_mutex_unlock(&me->lock);
		go_on = !stop;
		if (go_on) {
			me->turns++;
			total++;
		}
		hand_to(next);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	long sum = 0, seen;

	for (int i = 0; i < THREADS; i++) {
		pthread_mutex_init(&places[i].lock, NULL);
		pthread_cond_init(&places[i].changed, NULL);
		must(pthread_create(&threads[i], NULL, thread_main, &places[i]) == 0);
	}
	hand_to(&places[0]);
	while (total < 3 * THREADS)
		sched_yield();
	move();
	if (sabotaged())
		places[1].turns += 2;
	for (seen = total; total < seen + 3 * THREADS;)
		sched_yield();
	stop = true;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		sum += places[i].turns;
		check(labs(places[i].turns - places[0].turns) <= 1, "thread %d had %ld turns, the first %ld", i,
		      places[i].turns, places[0].turns);
	}
	check_eq(sum, total);
	return done();
}
