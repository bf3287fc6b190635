/* SPDX-License-Identifier: Apache-2.0 */
/* Memory on transparent huge pages. */
#include "victim.h"

#define HUGE (2UL << 20)

int main(void)
{
	uint8_t *room = map(5 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	uint8_t *area = room + (HUGE - (uintptr_t)room % HUGE) % HUGE;

	if (madvise(area, 4 * HUGE, MADV_HUGEPAGE) < 0)
		skip("the kernel has no transparent huge pages");
	pattern_fill(area, 3 * HUGE, 1);
	must(madvise(area + HUGE, 16 * PAGE, MADV_DONTNEED) == 0);
	move();
	if (sabotaged())
		area[HUGE + 5] = 1;
	pattern_check(area, HUGE, 1);
	for (size_t i = 0; i < 16 * PAGE; i++)
		check(area[HUGE + i] == 0, "byte %zu of what was thrown away", i);
	check_eq(*(uint64_t *)(void *)(area + 2 * HUGE), pattern(1, 2 * HUGE / 8));
	for (size_t i = 3 * HUGE; i < 4 * HUGE; i++)
		check(area[i] == 0, "byte %zu", i);
	return done();
}
