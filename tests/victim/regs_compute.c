/* SPDX-License-Identifier: Apache-2.0 */
/* A long floating-point computation that a move may cut anywhere gives the same last bit. */
#include "victim.h"
#include <math.h>

static volatile bool stop;
static volatile long turns;
static double state_seen;

/* Expands errors some twenty times a step, so that one wrong bit is never forgotten. */
static double step(double x, long i)
{
	long double y = sinl((long double)x * 37 + (long double)(i % 7) / 3);

	return (double)y * 0.75 + sin(x * 41 + (double)(float)x) / 4;
}

static void *compute(void *arg)
{
	double x = 0.5;
	long i = 0;

	(void)arg;
	while (!stop) {
		x = step(x, i++);
		turns = i;
	}
	state_seen = x;
	return NULL;
}

int main(void)
{
	pthread_t thread;
	double x = 0.5;

	must(pthread_create(&thread, NULL, compute, NULL) == 0);
	while (turns < 1000)
		sched_yield();
	move();
	sleep_until(now_ns() + 5 * MS);
	stop = true;
	pthread_join(thread, NULL);
	if (sabotaged())
		x = nextafter(x, 1);
	for (long i = 0; i < turns; i++)
		x = step(x, i);
	check(!memcmp(&x, &state_seen, sizeof(x)), "after %ld turns %a, should be %a", turns, state_seen, x);
	return done();
}
