/* SPDX-License-Identifier: Apache-2.0 */
/* Restartable sequences stay registered: the kernel goes on writing the CPU number of each thread. */
#include "victim.h"

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#define THREADS 3

static pthread_barrier_t both;

static volatile struct rseq *area(void)
{
	return (volatile struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

/* Sends itself round the CPUs it may use and reads where the kernel says it is. */
static void follow(void)
{
	cpu_set_t allowed, one;

	must(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		must(sched_setaffinity(0, sizeof(one), &one) == 0);
		check_eq(area()->cpu_id, cpu);
	}
	must(sched_setaffinity(0, sizeof(allowed), &allowed) == 0);
}

static void *thread_main(void *arg)
{
	follow();
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	if (sabotaged())
		must(syscall(SYS_rseq, area(), __rseq_size, 1, RSEQ_SIG) == 0 ||
		     syscall(SYS_rseq, area(), 32, 1, RSEQ_SIG) == 0);
	follow();
	return arg;
}

int main(void)
{
	pthread_t threads[THREADS];

	if (!__rseq_size)
		skip("libc has not registered rseq");
	pthread_barrier_init(&both, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, thread_main, NULL) == 0);
	pthread_barrier_wait(&both);
	move();
	follow();
	pthread_barrier_wait(&both);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return done();
}
