/* SPDX-License-Identifier: Apache-2.0 */
/* Cancelling a thread that was blocked before the move. */
#include "victim.h"

static int ends[2];
static volatile bool cleaned;

static void cleanup(void *arg)
{
	(void)arg;
	cleaned = true;
}

static void *reader(void *arg)
{
	char c;

	pthread_cleanup_push(cleanup, NULL);
	must(read(ends[0], &c, 1) == 1);
	pthread_cleanup_pop(0);
	return arg;
}

int main(void)
{
	pthread_t thread;
	void *result;

	must(pipe(ends) == 0);
	must(pthread_create(&thread, NULL, reader, NULL) == 0);
	sleep_until(now_ns() + 20 * MS);
	move();
	if (sabotaged())
		must(write(ends[1], "x", 1) == 1 && pthread_join(thread, &result) == 0);
	else
		must(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0);
	check(result == PTHREAD_CANCELED && cleaned, "the thread was not cancelled");
	return done();
}
