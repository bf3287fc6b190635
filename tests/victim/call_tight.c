/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that do nothing but short system calls never see one of them fail. */
#include "victim.h"

static volatile bool stop;
static volatile long rounds[4];

/* Two threads play a byte to and fro, so that half of their reads block for a moment. */
static int there[2], back[2];

static void *ping(void *arg)
{
	char c = 'p', d = 0;

	(void)arg;
	for (; !stop; rounds[0]++) {
		must(write(there[1], &c, 1) == 1);
		must(read(back[0], &d, 1) == 1);
		check(d == (char)(c + 1), "sent %d, got %d", c, d);
		c++;
	}
	close(there[1]);
	return NULL;
}

static void *pong(void *arg)
{
	char c;
	ssize_t n;

	(void)arg;
	for (; (n = read(there[0], &c, 1)) == 1; rounds[1]++) {
		c++;
		must(write(back[1], &c, 1) == 1);
	}
	must(n == 0);
	return NULL;
}

static void *sleeper(void *arg)
{
	struct timespec t = { .tv_nsec = 50000 };

	(void)arg;
	for (; !stop; rounds[2]++)
		must(nanosleep(&t, NULL) == 0);
	return NULL;
}

static void *asker(void *arg)
{
	pid_t pid = getpid(), tid = gettid();

	(void)arg;
	for (; !stop; rounds[3]++) {
		check(syscall(SYS_getpid) == pid, "another pid");
		check(syscall(SYS_gettid) == tid, "another tid");
		must(syscall(SYS_futex, &stop, 1 /* wake */, 1, NULL, NULL, 0) == 0);
	}
	return NULL;
}

int main(void)
{
	void *(*mains[4])(void *) = { ping, pong, sleeper, asker };
	pthread_t threads[4];

	must(pipe(there) == 0 && pipe(back) == 0);
	for (int i = 0; i < 4; i++)
		must(pthread_create(&threads[i], NULL, mains[i], NULL) == 0);
	sleep_until(now_ns() + 20 * MS);
	move();
	if (sabotaged())
		must(write(back[1], "!", 1) == 1);
	for (int i = 0; i < 4; i++) {
		long seen = rounds[i];
		int64_t until = now_ns() + 10000 * MS;

		while (rounds[i] < seen + 10)
			check(now_ns() < until, "thread %d does not go on", i);
	}
	stop = true;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	return done();
}
