/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that dies after the move with a robust mutex in its hands: the next owner is told. */
#include "victim.h"

static pthread_mutex_t lock, other;
static int ends[2];

static void *owner(void *arg)
{
	char c;

	must(pthread_mutex_lock(&lock) == 0 && pthread_mutex_lock(&other) == 0);
	must(read(ends[0], &c, 1) == 1);
	return arg;
}

int main(void)
{
	pthread_mutexattr_t attr;
	pthread_t thread;

	must(pipe(ends) == 0);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	must(pthread_mutex_init(&lock, &attr) == 0 && pthread_mutex_init(&other, &attr) == 0);
	must(pthread_create(&thread, NULL, owner, NULL) == 0);
	while (pthread_mutex_trylock(&other) != EBUSY)
		must(pthread_mutex_unlock(&other) == 0);
	move();
	check_eq(pthread_mutex_trylock(&lock), EBUSY);
	if (sabotaged())
		pthread_mutex_init(&lock, &attr);
	must(write(ends[1], "x", 1) == 1);
	must(pthread_join(thread, NULL) == 0);
	check_eq(pthread_mutex_lock(&lock), EOWNERDEAD);
	check_eq(pthread_mutex_lock(&other), EOWNERDEAD);
	return done();
}
