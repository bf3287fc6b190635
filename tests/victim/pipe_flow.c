/* SPDX-License-Identifier: Apache-2.0 */
/* Two threads, one pipe, megabytes in pieces of odd sizes: every byte once and in order. */
#include "victim.h"

static int ends[2];
static volatile bool stop;
static volatile uint64_t sent, received;

static void *writer(void *arg)
{
	static uint64_t piece[3000];

	for (size_t words = 1; !stop; words = words * 7 % 2999 + 1) {
		for (size_t i = 0; i < words; i++)
			piece[i] = sent + i;
		must(write(ends[1], piece, words * 8) == (ssize_t)words * 8);
		sent += words;
	}
	close(ends[1]);
	return arg;
}

static void *reader(void *arg)
{
	static uint8_t buffer[8192];
	size_t have = 0;
	ssize_t n;

	while ((n = read(ends[0], buffer + have, 5003 - have)) > 0) {
		have += (size_t)n;
		for (size_t i = 0; i < have / 8; i++)
			check(((uint64_t *)(void *)buffer)[i] == received++, "word %lu", received);
		memmove(buffer, buffer + have / 8 * 8, have % 8);
		have %= 8;
	}
	must(n == 0 && have == 0);
	return arg;
}

int main(void)
{
	pthread_t threads[2];

	must(pipe(ends) == 0);
	must(pthread_create(&threads[0], NULL, writer, NULL) == 0);
	must(pthread_create(&threads[1], NULL, reader, NULL) == 0);
	while (received < 10000)
		sched_yield();
	move();
	if (sabotaged())
		sent++;
	for (uint64_t seen = received; received < seen + 100000;)
		sched_yield();
	stop = true;
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	check_eq(received, sent);
	return done();
}
