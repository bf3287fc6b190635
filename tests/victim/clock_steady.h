/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks of the list `clocks`, which the including file defines, never go back and never jump further than the
 * move took. */

#define COUNT (int)(sizeof(clocks) / sizeof(clocks[0]))

static volatile bool stop;
static int64_t worst[COUNT];

/* What a program sees that does nothing but look at the clock. */
static void *watcher(void *arg)
{
	int which = (int)(intptr_t)arg;
	int64_t last = clock_ns(clocks[which]), now;

	while (!stop) {
		now = clock_ns(clocks[which]);
		check(now >= last, "clock %d went back by %ld ns", clocks[which], last - now);
		if (now - last > worst[which])
			worst[which] = now - last;
		last = now;
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[COUNT];
	int64_t began[COUNT], real, passed;

	for (int i = 0; i < COUNT; i++)
		began[i] = clock_ns(clocks[i]);
	real = clock_ns(CLOCK_REALTIME);
	for (int i = 0; i < COUNT; i++)
		must(pthread_create(&threads[i], NULL, watcher, (void *)(intptr_t)i) == 0);
	sleep_until(now_ns() + 50 * MS);
	move();
	sleep_until(now_ns() + 50 * MS);
	stop = true;
	for (int i = 0; i < COUNT; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < COUNT; i++) {
		passed = clock_ns(clocks[i]) - began[i] - (sabotaged() ? 1000 * MS : 0);
		check(llabs(passed - (clock_ns(CLOCK_REALTIME) - real)) < 50 * MS,
		      "clock %d advanced %ld us in %ld us", clocks[i], passed / 1000,
		      (clock_ns(CLOCK_REALTIME) - real) / 1000);
		check(worst[i] < 2 * slack_ns(), "clock %d jumped by %ld us", clocks[i], worst[i] / 1000);
	}
	return done();
}
