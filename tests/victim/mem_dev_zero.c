/* SPDX-License-Identifier: Apache-2.0 */
/* Mappings of /dev/zero, private and shared. */
#include "victim.h"

#define SIZE (256UL << 10)

int main(void)
{
	int fd = open("/dev/zero", O_RDWR);
	uint64_t *private, *shared;

	must(fd >= 0);
	private = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(private != MAP_FAILED && shared != MAP_FAILED);
	pattern_fill(private, SIZE / 2, 5);
	pattern_fill(shared, SIZE / 2, 6);
	move();
	if (sabotaged())
		shared[SIZE / 8 - 1] = 1;
	pattern_check(private, SIZE / 2, 5);
	pattern_check(shared, SIZE / 2, 6);
	for (size_t i = SIZE / 16; i < SIZE / 8; i++)
		check(!private[i] && !shared[i], "word %zu", i);
	return done();
}
