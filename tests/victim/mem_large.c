/* SPDX-License-Identifier: Apache-2.0 */
/* A gigabyte (if VICTIM_LARGE is set), else 96 megabytes. */
#include "victim.h"

int main(void)
{
	size_t size = getenv("VICTIM_LARGE") ? 1UL << 30 : 96UL << 20;
	uint8_t *area = map(size, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	pattern_fill(area, size, 1);
	move();
	if (sabotaged())
		area[size - 1]++;
	pattern_check(area, size, 1);
	return done();
}
