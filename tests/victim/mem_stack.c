/* SPDX-License-Identifier: Apache-2.0 */
/* The stack of the first thread: what is on it, and that it still grows by megabytes. */
#include "victim.h"

static uint64_t __attribute__((noinline)) deep(int level, int middle)
{
	uint64_t here[2000];
	uint64_t below = 0;

	pattern_fill(here, sizeof(here), (uint64_t)level);
	if (level == middle) {
		move();
		if (sabotaged())
			here[9]++;
	}
	if (level > 0)
		below = deep(level - 1, middle);
	pattern_check(here, sizeof(here), (uint64_t)level);
	return below + here[level % 2000];
}

int main(void)
{
	/* 16 kB a level: 1 MB down when ready is said, 6 MB at the end */
	check(deep(384, 384 - 64) != 0, "sum");
	return done();
}
