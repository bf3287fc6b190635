/* SPDX-License-Identifier: Apache-2.0 */
/* Shared anonymous memory, also through a second mapping of the same pages. */
#include "victim.h"

#define SIZE (1UL << 20)

int main(void)
{
	uint64_t *one = map(SIZE, PROT_READ | PROT_WRITE, MAP_SHARED);
	/* mremap() of a shared mapping with an old size of zero maps the same pages once more */
	uint64_t *other = mremap(one, 0, SIZE / 2, MREMAP_MAYMOVE);

	must(other != MAP_FAILED && other != one);
	pattern_fill(one, SIZE, 2);
	must(mprotect(one + 1024, PAGE, PROT_READ) == 0);
	move();
	pattern_check(one, SIZE, 2);
	pattern_check(other, SIZE / 2, 2);
	one[3] = 333;
	other[5000] = 5000;
	if (sabotaged())
		must(mmap(other, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		     other);
	check_eq(other[3], 333);
	check_eq(one[5000], 5000);
	return done();
}
