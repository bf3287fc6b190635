/* SPDX-License-Identifier: Apache-2.0 */
/* Ten thousand mappings, no two alike. */
#include "victim.h"

#define COUNT 10000

int main(void)
{
	uint8_t *all = map(2 * COUNT * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE);
	size_t n, length;

	for (size_t i = 0; i < COUNT; i++) {
		uint8_t *p = all + 2 * i * PAGE;

		*(uint64_t *)(void *)p = pattern(1, i);
		must(mprotect(p, PAGE, i % 3 == 0 ? PROT_READ : PROT_READ | PROT_EXEC) == 0);
	}
	move();
	if (sabotaged())
		must(munmap(all, COUNT * PAGE) == 0);
	n = 0;
	for (char *text = slurp_length("/proc/self/maps", &length), *p = text; (p = strchr(p, '\n')); p++)
		n++;
	check(n > 2 * COUNT - 100, "only %zu mappings", n);
	for (size_t i = 0; i < COUNT; i++)
		check(*(uint64_t *)(void *)(all + 2 * i * PAGE) == pattern(1, i), "page %zu", i);
	return done();
}
