/* SPDX-License-Identifier: Apache-2.0 */
/* holder MIB: holds so much memory that does not compress and has no two pages alike, says ready, and sleeps. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	size_t words = (argc > 1 ? strtoul(argv[1], NULL, 10) << 20 : 0) / sizeof(uint64_t);
	uint64_t x = 88172645463325252ull, *area = NULL;

	if (words) {
		area = mmap(NULL, words * sizeof(*area), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);
		if (area == MAP_FAILED)
			return 1;
		/* pages of 4 KiB: what the budgets are stated for */
		(void)madvise(area, words * sizeof(*area), MADV_NOHUGEPAGE);
	}
	for (size_t i = 0; i < words; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		area[i] = x;
	}
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}
