/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counter LINES MS [THREADS]: prints numbered lines, one every so many milliseconds, so that a line lost, doubled
 * or out of order shows; and keeps further threads busy with short calls and sleeps. A copy of it that ran a
 * moment where it should not would print, too. SIGTERM ends it after a line, with status 0.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t ended;

static void on_term(int sig)
{
	(void)sig;
	ended = 1;
}

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
	struct sigaction act = { .sa_handler = on_term, .sa_flags = SA_RESTART };
	pthread_t thread;
	sigset_t term;

	sigaction(SIGTERM, &act, NULL);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, NULL); /* in the others, so that this thread gets it */
	for (int i = 0; i < threads; i++)
		if (pthread_create(&thread, NULL, busy, NULL))
			return 2;
	pthread_sigmask(SIG_UNBLOCK, &term, NULL);
	for (int i = 0; i < lines && !ended; i++) {
		if (printf("line %d\n", i) < 0 || fflush(stdout))
			return 3;
		if (poll(NULL, 0, ms) && !ended)
			return 4;
	}
	return 0;
}
