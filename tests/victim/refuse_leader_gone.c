/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: a process whose first thread has ended while others go on. */
#include "victim.h"

static char leader_state(void)
{
	char path[64], *state;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", getpid());
	state = proc_field(path, "State:");
	return state[strspn(state, " \t")];
}

static void *survivor(void *arg)
{
	while (leader_state() != 'Z')
		sched_yield();
	move();
	check_eq(leader_state(), sabotaged() ? 'S' : 'Z');
	check(gettid() != getpid(), "the thread became the first");
	exit(done());
	return arg;
}

int main(void)
{
	pthread_t thread;

	must(pthread_create(&thread, NULL, survivor, NULL) == 0);
	pthread_exit(NULL);
}
