/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Big writes to pipes, one after the other, that are never short, by write() and by writev(): each in the middle
 * of a transfer nearly always, while a reader takes it out in odd pieces.
 */
#include "victim.h"
#include <sys/uio.h>

#define TOTAL (192 * 1024)
#define KINDS 2

static int ends[KINDS][2];
static uint8_t *sent;
static volatile bool stop;
static volatile long rounds[KINDS];

static ssize_t send_one(int kind, int to)
{
	struct iovec v[3] = { { sent, 70001 }, { sent + 70001, 0 }, { sent + 70001, TOTAL - 70001 } };

	return kind ? writev(to, v, 3) : write(to, sent, TOTAL);
}

static void *writer(void *arg)
{
	int kind = (int)(long)arg;

	for (; !stop; rounds[kind]++) {
		ssize_t n = send_one(kind, ends[kind][1]);

		check(n == TOTAL, "kind %d: round %ld sent %zd, %s", kind, rounds[kind], n, strerror(errno));
	}
	close(ends[kind][1]);
	return NULL;
}

static void *reader(void *arg)
{
	int kind = (int)(long)arg;
	uint8_t got[5000];
	size_t at = 0;
	ssize_t n;

	while ((n = read(ends[kind][0], got, sizeof got)) > 0) {
		for (ssize_t i = 0; i < n; at++)
			check(got[i++] == sent[at % TOTAL], "kind %d: byte %zu is another", kind, at);
		if (!stop)
			sleep_until(now_ns() + MS);
	}
	check(n == 0 && at % TOTAL == 0, "kind %d: %zd after %zu bytes", kind, n, at);
	return NULL;
}

int main(void)
{
	pthread_t threads[2 * KINDS];

	sent = map(TOTAL, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	pattern_fill(sent, TOTAL, 12);
	for (long i = 0; i < KINDS; i++) {
		must(pipe(ends[i]) == 0);
		must(pthread_create(&threads[2 * i], NULL, writer, (void *)i) == 0);
		must(pthread_create(&threads[2 * i + 1], NULL, reader, (void *)i) == 0);
	}
	sleep_until(now_ns() + 20 * MS);
	move();
	if (sabotaged())
		must(write(ends[0][1], "!", 1) == 1);
	for (int i = 0; i < KINDS; i++) {
		long seen = rounds[i];
		int64_t until = now_ns() + 20000 * MS;

		while (rounds[i] < seen + 2)
			check(now_ns() < until, "writer %d does not go on", i);
	}
	stop = true;
	for (int i = 0; i < 2 * KINDS; i++)
		pthread_join(threads[i], NULL);
	return done();
}
