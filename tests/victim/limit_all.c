/* SPDX-License-Identifier: Apache-2.0 */
/* All resource limits, soft and hard. */
#include "victim.h"
#include <sys/resource.h>

int main(void)
{
	struct rlimit before[RLIM_NLIMITS], now;

	for (int i = 0; i < RLIM_NLIMITS; i++) {
		must(getrlimit(i, &now) == 0);
		if (now.rlim_max == RLIM_INFINITY && i != RLIMIT_AS && i != RLIMIT_DATA)
			now = (struct rlimit) { .rlim_cur = 100000 + (rlim_t)i * 4096,
						.rlim_max = 200000 + (rlim_t)i * 4096 };
		else if (now.rlim_max != RLIM_INFINITY && now.rlim_max > 64)
			now = (struct rlimit) { .rlim_cur = now.rlim_max / 2,
						.rlim_max = now.rlim_max - (rlim_t)i };
		if (i == RLIMIT_STACK || i == RLIMIT_MEMLOCK || i == RLIMIT_CPU || i == RLIMIT_FSIZE)
			now.rlim_cur = now.rlim_max = 64 << 20;
		(void)setrlimit(i, &now);
		must(getrlimit(i, &before[i]) == 0);
	}
	move();
	if (sabotaged())
		must(setrlimit(RLIMIT_CORE, &(struct rlimit) { 1, 2 }) == 0);
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		must(getrlimit(i, &now) == 0);
		check(now.rlim_cur == before[i].rlim_cur && now.rlim_max == before[i].rlim_max,
		      "limit %d is %lu %lu, was %lu %lu", i, (unsigned long)now.rlim_cur,
		      (unsigned long)now.rlim_max, (unsigned long)before[i].rlim_cur,
		      (unsigned long)before[i].rlim_max);
	}
	return done();
}
