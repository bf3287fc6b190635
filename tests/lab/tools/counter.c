/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counter LINES MS [THREADS]: prints numbered lines, one every so many milliseconds, so that a line lost, doubled
 * or out of order shows; and keeps further threads busy with short calls and sleeps. A copy of it that ran a
 * moment where it should not would print, too.
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void *busy(void *arg)
{
	struct timespec t = { .tv_nsec = 3000000 };
	int ends[2];
	char c = 'x';

	if (pipe(ends))
		exit(2);
	for (;;) {
		if (write(ends[1], &c, 1) != 1 || read(ends[0], &c, 1) != 1 || nanosleep(&t, NULL))
			exit(3);
	}
	return arg;
}

int main(int argc, char **argv)
{
	int lines = argc > 1 ? atoi(argv[1]) : 100, ms = argc > 2 ? atoi(argv[2]) : 10;
	int threads = argc > 3 ? atoi(argv[3]) : 2;
	pthread_t thread;

	for (int i = 0; i < threads; i++)
		if (pthread_create(&thread, NULL, busy, NULL))
			return 2;
	for (int i = 0; i < lines; i++) {
		if (printf("line %d\n", i) < 0 || fflush(stdout) || poll(NULL, 0, ms))
			return 3;
	}
	return 0;
}
