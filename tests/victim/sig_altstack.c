/* SPDX-License-Identifier: Apache-2.0 */
/* Each thread's alternate signal stack, used by a handler after the move. */
#include "victim.h"

#define THREADS 3
#define SIZE (64UL << 10)

static pthread_barrier_t both;
static __thread uintptr_t handler_at;

static void on_signal(int sig)
{
	(void)sig;
	handler_at = (uintptr_t)&sig;
}

static void *thread_main(void *arg)
{
	int me = (int)(intptr_t)arg;
	stack_t want = { .ss_sp = map(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE), .ss_size = SIZE }, have;

	if (me == 1)
		want.ss_size = SIZE / 2;
	must(sigaltstack(&want, NULL) == 0);
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	if (sabotaged() && me == 2)
		sigaltstack(&(stack_t) { .ss_flags = SS_DISABLE }, NULL);
	must(sigaltstack(NULL, &have) == 0);
	check_eq((uintptr_t)have.ss_sp, (uintptr_t)want.ss_sp);
	check_eq(have.ss_size, want.ss_size);
	check_eq(have.ss_flags, 0);
	pthread_kill(pthread_self(), SIGUSR1);
	check(handler_at - (uintptr_t)want.ss_sp < want.ss_size, "thread %d: the handler ran elsewhere", me);
	return NULL;
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	pthread_t threads[THREADS];
	stack_t mine;

	sigaction(SIGUSR1, &act, NULL);
	pthread_barrier_init(&both, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, thread_main, (void *)(intptr_t)i) == 0);
	pthread_barrier_wait(&both);
	move();
	must(sigaltstack(NULL, &mine) == 0);
	check_eq(mine.ss_flags, SS_DISABLE);
	pthread_barrier_wait(&both);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return done();
}
