/* SPDX-License-Identifier: Apache-2.0 */
/* What prctl() sets for a process and its threads. */
#include "victim.h"
#include <sys/prctl.h>

#ifndef PR_GET_THP_DISABLE
#define PR_SET_THP_DISABLE 41
#define PR_GET_THP_DISABLE 42
#endif

/* Getters that return the value, and those that store it. */
static const struct {
	const char *name;
	int set, get;
	unsigned long value;
	bool stores;
} settings[] = {
	{ "pdeathsig", PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, SIGUSR1, true },
	{ "child subreaper", PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER, 1, true },
	{ "timer slack", PR_SET_TIMERSLACK, PR_GET_TIMERSLACK, 123456, false },
	{ "thp disable", PR_SET_THP_DISABLE, PR_GET_THP_DISABLE, 1, false },
	{ "tsc", PR_SET_TSC, PR_GET_TSC, PR_TSC_ENABLE, true },
	{ "mce kill", PR_MCE_KILL, PR_MCE_KILL_GET, 0, false },
	{ "io flusher", 57, 58, 1, false },
};

#define COUNT (int)(sizeof(settings) / sizeof(settings[0]))

static long get(int i)
{
	int stored = -1;
	long r = prctl(settings[i].get, settings[i].stores ? (unsigned long)&stored : 0, 0, 0, 0);

	return settings[i].stores && r == 0 ? stored : r;
}

int main(void)
{
	long before[COUNT];

	for (int i = 0; i < COUNT; i++) {
		if (settings[i].set == PR_MCE_KILL)
			prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
		else
			prctl(settings[i].set, settings[i].value, 0, 0, 0);
		before[i] = get(i);
	}
	move();
	if (sabotaged())
		prctl(PR_SET_PDEATHSIG, SIGUSR2);
	for (int i = 0; i < COUNT; i++)
		check(get(i) == before[i], "%s is %ld, was %ld", settings[i].name, get(i), before[i]);
	return done();
}
