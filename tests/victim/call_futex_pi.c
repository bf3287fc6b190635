/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that waits for a priority-inheriting mutex gets it when the owner lets go after the move. */
#include "victim.h"

static pthread_mutex_t lock;

static long do_lock(void *arg)
{
	(void)arg;
	return pthread_mutex_lock(&lock);
}

int main(void)
{
	struct caller c = { .call = do_lock };
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	must(pthread_mutex_init(&lock, &attr) == 0);
	must(pthread_mutex_lock(&lock) == 0);
	caller_start(&c, SYS_futex);
	move();
	check(!c.ended, "the lock was given away, %ld", c.ret);
	await_call(c.tid, SYS_futex, NULL);
	check_eq(pthread_mutex_trylock(&lock), EBUSY);
	must(pthread_mutex_unlock(&lock) == 0);
	caller_join(&c);
	check_eq(c.ret, 0);
	check_eq(pthread_mutex_trylock(&lock), sabotaged() ? 0 : EBUSY);
	return done();
}
