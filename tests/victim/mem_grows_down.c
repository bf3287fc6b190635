/* SPDX-License-Identifier: Apache-2.0 */
/* A mapping of its own that grows downwards does so afterwards. */
#include "victim.h"

int main(void)
{
	uint8_t *room = map(600 * PAGE, PROT_NONE, MAP_PRIVATE), *low = room + 500 * PAGE;

	/* the kernel keeps a gap of 256 pages to whatever lies below */
	must(munmap(room, 600 * PAGE) == 0);
	must(mmap(low, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED,
		  -1, 0) == low);
	pattern_fill(low, 4 * PAGE, 1);
	move();
	if (sabotaged())
		must(mmap(low, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		     low);
	pattern_check(low, 4 * PAGE, 1);
	for (uint8_t *p = low; p > low - 100 * PAGE; p -= PAGE)
		p[-8] = 1;
	return done();
}
