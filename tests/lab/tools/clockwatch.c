/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clockwatch TICKS: sleeps in steps of 20 ms by turns in different calls, measures each with CLOCK_MONOTONIC, and
 * prints what must be the same in every run: whether the clock went back, a sleep was short, or one was longer
 * than two seconds; and at the end whether the whole took as long as CLOCK_REALTIME says.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <time.h>

#define STEP_NS 20000000LL

static int64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int sleep_somehow(int way, int64_t began)
{
	int64_t end = began + STEP_NS;
	struct timespec step = { .tv_nsec = STEP_NS }, until = { end / 1000000000, end % 1000000000 };
	struct timeval tv = { .tv_usec = STEP_NS / 1000 };

	switch (way % 4) {
	case 0:
		return nanosleep(&step, NULL);
	case 1:
		return poll(NULL, 0, STEP_NS / 1000000);
	case 2:
		return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
	default:
		return select(0, NULL, NULL, NULL, &tv);
	}
}

int main(int argc, char **argv)
{
	int ticks = argc > 1 ? atoi(argv[1]) : 500;
	int64_t start = now(CLOCK_MONOTONIC), real = now(CLOCK_REALTIME), last = start, began, took;

	for (int i = 0; i < ticks; i++) {
		began = now(CLOCK_MONOTONIC);
		if (began < last)
			printf("tick %d: the clock went back by %ld ns\n", i, (long)(last - began));
		if (sleep_somehow(i, began) != 0)
			printf("tick %d: error %d\n", i, errno);
		last = now(CLOCK_MONOTONIC);
		took = last - began;
		if (took < STEP_NS - 1000000)
			printf("tick %d: slept %ld ns only\n", i, (long)took);
		else if (took > 2000000000)
			printf("tick %d: slept %ld ns\n", i, (long)took);
		printf("tick %d\n", i);
		fflush(stdout);
	}
	took = (now(CLOCK_MONOTONIC) - start) - (now(CLOCK_REALTIME) - real);
	if (llabs(took) > 100000000)
		printf("%ld ns more passed than CLOCK_REALTIME says\n", (long)took);
	return 0;
}
