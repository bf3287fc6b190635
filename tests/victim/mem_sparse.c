/* SPDX-License-Identifier: Apache-2.0 */
/* A quarter of a terabyte of address space with few pages in it. */
#include "victim.h"

#define SIZE (256UL << 30)
#define COUNT 300

static size_t place(size_t i)
{
	return pattern(9, i) % (SIZE / PAGE) * PAGE;
}

static long resident_kb(void)
{
	return atol(proc_field("/proc/self/status", "RssAnon:"));
}

int main(void)
{
	uint8_t *area =
		mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	long before, after;

	if (area == MAP_FAILED)
		skip("no room for 256 GiB of address space");
	must(madvise(area, SIZE, MADV_NOHUGEPAGE) == 0 || errno == EINVAL);
	for (size_t i = 0; i < COUNT; i++)
		*(uint64_t *)(void *)(area + place(i)) = i;
	before = resident_kb();
	move();
	if (sabotaged())
		memset(area, 1, 32 << 20);
	after = resident_kb();
	check(after < before + 8192, "%ld kB were resident, now %ld", before, after);
	for (size_t i = 0; i < COUNT; i++)
		check_eq(*(uint64_t *)(void *)(area + place(i)), i);
	return done();
}
