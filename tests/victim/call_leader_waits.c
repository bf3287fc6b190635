/* SPDX-License-Identifier: Apache-2.0 */
/* The first thread joins another; a FUTEX_WAIT on the other's tid address that its exit must end. */
#include "victim.h"

static pthread_t other;
static volatile bool joined;

static void *joiner(void *arg)
{
	must(pthread_join(other, NULL) == 0);
	joined = true;
	return arg;
}

static int ends[2];

static void *reader(void *arg)
{
	char c;

	must(read(ends[0], &c, 1) == 1);
	return arg;
}

int main(void)
{
	pthread_t thread;

	must(pipe(ends) == 0);
	must(pthread_create(&other, NULL, reader, NULL) == 0);
	must(pthread_create(&thread, NULL, joiner, NULL) == 0);
	sleep_until(now_ns() + 20 * MS);
	move();
	if (sabotaged())
		must(write(ends[1], "x", 1) == 1);
	sleep_until(now_ns() + 30 * MS);
	check(!joined, "joined a thread that still runs");
	must(write(ends[1], "x", 1) == 1);
	must(pthread_join(thread, NULL) == 0);
	check(joined, "not joined");
	return done();
}
