/* SPDX-License-Identifier: Apache-2.0 */
/* Threads with credentials of their own, as the kernel (unlike libc) lets them have. */
#include "victim.h"
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

static const char *const keys[] = { "Uid:",    "Gid:",	  "Groups:", "CapInh:",	    "CapPrm:",
				    "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:", "Umask:" };

#define COUNT (int)(sizeof(keys) / sizeof(keys[0]))

static void status_read(char *values[COUNT])
{
	for (int i = 0; i < COUNT; i++)
		values[i] = proc_field("/proc/thread-self/status", keys[i]);
}

static void status_compare(char *before[COUNT])
{
	char *after[COUNT];

	status_read(after);
	for (int i = 0; i < COUNT; i++)
		check(!strcmp(before[i], after[i]), "%s is%s, was%s", keys[i], after[i], before[i]);
}

static void caps_set(uint64_t permitted, uint64_t effective, uint64_t inheritable)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++)
		data[i] = (struct __user_cap_data_struct) { .permitted = (uint32_t)(permitted >> 32 * i),
							    .effective = (uint32_t)(effective >> 32 * i),
							    .inheritable = (uint32_t)(inheritable >> 32 * i) };
	must(syscall(SYS_capset, &head, data) == 0);
}

#define THREADS 3

static pthread_barrier_t both;

static void *thread_main(void *arg)
{
	int me = (int)(intptr_t)arg;
	char *before[COUNT];

	if (me == 1)
		caps_set(0x3fffUL, 0x3UL, 0);
	if (me == 2)
		must(syscall(SYS_setresuid, 77, 78, 78) == 0);
	status_read(before);
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	if (sabotaged() && me == 1)
		caps_set(0x1fffUL, 0x3UL, 0);
	status_compare(before);
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	if (geteuid() != 0)
		skip("needs root");
	pthread_barrier_init(&both, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, thread_main, (void *)(intptr_t)i) == 0);
	pthread_barrier_wait(&both);
	move();
	pthread_barrier_wait(&both);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return done();
}
