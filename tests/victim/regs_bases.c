/* SPDX-License-Identifier: Apache-2.0 */
/* The fs and gs bases, one pair a thread, and what is reached through them. */
#include "victim.h"
#include <asm/prctl.h>

#define THREADS 3

static __thread uint64_t local = 17;
static uint64_t blocks[THREADS][64];
static pthread_barrier_t both;

static uint64_t base_of(int which)
{
	uint64_t base = 0;

	must(syscall(SYS_arch_prctl, which, &base) == 0);
	return base;
}

static void *thread_main(void *arg)
{
	uint64_t *block = arg, fs, through;

	local = block[5];
	must(syscall(SYS_arch_prctl, ARCH_SET_GS, block) == 0);
	fs = base_of(ARCH_GET_FS);
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	check_eq(base_of(ARCH_GET_FS), fs);
	check_eq(base_of(ARCH_GET_GS), (uintptr_t)block);
	__asm__ volatile("mov %%gs:40, %0" : "=r"(through));
	check_eq(through, block[5]);
	check_eq(local, block[5]);
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	pthread_barrier_init(&both, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++) {
		pattern_fill(blocks[i], sizeof(blocks[i]), (uint64_t)i);
		must(pthread_create(&threads[i], NULL, thread_main, blocks[i]) == 0);
	}
	pthread_barrier_wait(&both);
	move();
	if (sabotaged())
		blocks[1][5]++;
	pthread_barrier_wait(&both);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	check_eq(local, 17);
	return done();
}
