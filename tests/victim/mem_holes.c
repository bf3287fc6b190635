/* SPDX-License-Identifier: Apache-2.0 */
/* Every second page of an area is written: neither more nor less than those come along. */
#include "victim.h"

#define PAGES 2000

int main(void)
{
	uint8_t *area = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	unsigned char in_core[PAGES];
	long more = 0;

	must(madvise(area, PAGES * PAGE, MADV_NOHUGEPAGE) == 0 || errno == EINVAL);
	for (size_t i = 0; i < PAGES; i += 2)
		pattern_fill(area + i * PAGE, PAGE, i);
	move();
	if (sabotaged())
		memset(area, 1, PAGES * PAGE);
	must(mincore(area, PAGES * PAGE, in_core) == 0);
	for (size_t i = 1; i < PAGES; i += 2)
		more += in_core[i] & 1;
	check(more < PAGES / 20, "%ld pages that were never touched", more);
	for (size_t i = 0; i < PAGES; i++) {
		if (i % 2 == 0)
			pattern_check(area + i * PAGE, PAGE, i);
		else
			check(area[i * PAGE + 5] == 0, "page %zu is not empty", i);
	}
	return done();
}
