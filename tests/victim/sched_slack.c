/* SPDX-License-Identifier: Apache-2.0 */
/* The timer slack of each thread. */
#include "victim.h"
#include <sys/prctl.h>

static pthread_barrier_t both;

static void *thread_main(void *arg)
{
	unsigned long slack = (unsigned long)(uintptr_t)arg;

	must(prctl(PR_SET_TIMERSLACK, slack) == 0);
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	if (sabotaged())
		prctl(PR_SET_TIMERSLACK, 1);
	check_eq(prctl(PR_GET_TIMERSLACK), slack);
	return NULL;
}

int main(void)
{
	pthread_t threads[2];
	long mine;

	pthread_barrier_init(&both, NULL, 3);
	must(prctl(PR_SET_TIMERSLACK, 7777) == 0);
	mine = prctl(PR_GET_TIMERSLACK);
	must(pthread_create(&threads[0], NULL, thread_main, (void *)(uintptr_t)1000000) == 0);
	must(pthread_create(&threads[1], NULL, thread_main, (void *)(uintptr_t)2000) == 0);
	pthread_barrier_wait(&both);
	move();
	check_eq(prctl(PR_GET_TIMERSLACK), mine);
	pthread_barrier_wait(&both);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	return done();
}
