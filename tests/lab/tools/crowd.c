/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crowd THREADS ROUNDS: threads that hand work to each other through a bounded queue under one mutex and two
 * condition variables, and meet at a barrier after each round. Whatever the order they run in, each round prints
 * the same line; a lost wake-up is a program that stands still.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ROOM 16
#define ITEMS 40 /* a round, for each thread that makes some */

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	uint64_t items[ROOM];
	int have, first;
};

struct crowd {
	struct queue queue;
	pthread_barrier_t meeting;
	pthread_mutex_t sum_lock;
	uint64_t sum;
	int threads, rounds;
};

struct member {
	struct crowd *crowd;
	pthread_t thread;
	int number;
};

static void queue_put(struct queue *q, uint64_t item)
{
	pthread_mutex_lock(&q->lock);
	while (q->have == ROOM)
		pthread_cond_wait(&q->emptied, &q->lock);
	q->items[(q->first + q->have++) % ROOM] = item;
	pthread_cond_signal(&q->filled);
	pthread_mutex_unlock(&q->lock);
}

static uint64_t queue_take(struct queue *q)
{
	uint64_t item;

	pthread_mutex_lock(&q->lock);
	while (!q->have)
		pthread_cond_wait(&q->filled, &q->lock);
	item = q->items[q->first];
	q->first = (q->first + 1) % ROOM;
	q->have--;
	pthread_cond_signal(&q->emptied);
	pthread_mutex_unlock(&q->lock);
	return item;
}

/* Even members make items, odd ones take as many. */
static void *member_main(void *arg)
{
	struct member *me = arg;
	struct crowd *c = me->crowd;

	for (int round = 0; round < c->rounds; round++) {
		for (uint64_t i = 0; i < ITEMS; i++) {
			uint64_t x;

			if (me->number % 2 == 0) {
				queue_put(&c->queue, (uint64_t)me->number * 1000003 + (uint64_t)round * 7919 + i);
				continue;
			}
			x = queue_take(&c->queue);
			pthread_mutex_lock(&c->sum_lock);
			c->sum += x * x;
			pthread_mutex_unlock(&c->sum_lock);
		}
		pthread_barrier_wait(&c->meeting);
		if (me->number == 0) {
			printf("round %d sum %016lx\n", round, (unsigned long)c->sum);
			fflush(stdout);
		}
		pthread_barrier_wait(&c->meeting);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct crowd c = { .queue = { .lock = PTHREAD_MUTEX_INITIALIZER,
					     .filled = PTHREAD_COND_INITIALIZER,
					     .emptied = PTHREAD_COND_INITIALIZER },
				  .sum_lock = PTHREAD_MUTEX_INITIALIZER };
	struct member *members;

	c.threads = argc > 1 ? atoi(argv[1]) / 2 * 2 : 200;
	c.rounds = argc > 2 ? atoi(argv[2]) : 100;
	members = calloc((size_t)c.threads, sizeof(*members));
	pthread_barrier_init(&c.meeting, NULL, (unsigned int)c.threads);
	for (int i = 0; i < c.threads; i++) {
		members[i] = (struct member) { .crowd = &c, .number = i };
		if (pthread_create(&members[i].thread, NULL, member_main, &members[i])) {
			perror("pthread_create");
			return 1;
		}
	}
	for (int i = 0; i < c.threads; i++)
		pthread_join(members[i].thread, NULL);
	free(members);
	return 0;
}
