/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counter LINES MS [THREADS [spin | talk CALLED WHO SERVED]]: prints numbered lines, one every so many
 * milliseconds, so that a line lost, doubled or out of order shows; and keeps further threads busy with short
 * calls and sleeps. With `spin` all of them pass their time in user code. With `talk` it is in conversations:
 * before each line it calls the server of one secret, as caller WHO, and a thread of its own serves another. They
 * must all be executed once. A copy of it that ran a moment where it should not would print, too. SIGTERM ends it
 * after a line, with status 0.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "talking.h"

static volatile sig_atomic_t ended;

static void on_term(int sig)
{
	(void)sig;
	ended = 1;
}

static double spin(int ms)
{
	struct timespec from, now;
	double x = 1;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do {
		for (int i = 0; i < 1000; i++)
			x = x * 1.0000001 + 0.1;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (!ended && (now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < ms);
	return x;
}

static void *busy_spinning(void *arg)
{
	while (spin(1000) > 0)
		;
	return arg;
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

static void *serve(void *arg)
{
	struct gw *gw = connect_or_die();
	const char *secret = arg;
	uint64_t n = 0;

	for (;;) {
		struct gw_hdr hdr = { .port = get_port(secret) };
		ssize_t len = gw_getreq(gw, &hdr, NULL, 0);
		struct gw_hdr rep = { .offset = hdr.offset, .extra = ++n };

		if (len < 0 || gw_putrep(gw, &rep, NULL, 0) != GW_OK) {
			fprintf(stderr, "FAILED: serving: %ld\n", (long)len);
			exit(5);
		}
	}
	return NULL;
}

/* One transaction; it is broken off if we have been told to end. */
static bool talks(struct gw *gw, char **argv, int i)
{
	const char *wrong = gw ? count_once(gw, argv[5], strtoul(argv[6], NULL, 0), (uint64_t)i + 1) : NULL;

	if (wrong && !ended)
		fprintf(stderr, "FAILED: call %d: %s\n", i + 1, wrong);
	return !wrong || ended;
}

int main(int argc, char **argv)
{
	int lines = argc > 1 ? atoi(argv[1]) : 100, ms = argc > 2 ? atoi(argv[2]) : 10;
	int threads = argc > 3 ? atoi(argv[3]) : 2;
	int spins = argc == 5;
	struct gw *gw = NULL;
	struct sigaction act = { .sa_handler = on_term, .sa_flags = SA_RESTART };
	pthread_t thread;
	sigset_t term;

	sigaction(SIGTERM, &act, NULL);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &term, NULL); /* in the others, so that this thread gets it */
	for (int i = 0; i < threads; i++)
		if (pthread_create(&thread, NULL, spins ? busy_spinning : busy, NULL))
			return 2;
	if (argc == 8) {
		if (sodium_init() < 0 || pthread_create(&thread, NULL, serve, argv[7]))
			return 2;
		gw = connect_or_die();
	}
	pthread_sigmask(SIG_UNBLOCK, &term, NULL);
	for (int i = 0; i < lines && !ended; i++) {
		if (!talks(gw, argv, i))
			return 5;
		if (ended && gw)
			break;
		if (printf("line %d\n", i) < 0 || fflush(stdout))
			return 3;
		if (spins ? spin(ms) < 0 : poll(NULL, 0, ms) && !ended)
			return 4;
	}
	return 0;
}
