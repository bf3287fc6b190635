/* SPDX-License-Identifier: Apache-2.0 */
/* A private file mapping: dirtied pages stay its own, clean ones are the file's. */
#include "victim.h"

#define SIZE (64 * PAGE)

int main(void)
{
	char path[64];
	int fd = temp_file(path);
	uint8_t *area, *buffer = malloc(SIZE);

	pattern_fill(buffer, SIZE, 1);
	must(write(fd, buffer, SIZE) == (ssize_t)SIZE);
	area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	must(area != MAP_FAILED);
	for (size_t i = 0; i < 64; i += 3)
		pattern_fill(area + i * PAGE, PAGE, 100 + i);
	must(mprotect(area, 8 * PAGE, PROT_READ) == 0); /* as a linker does with RELRO */
	move();
	if (sabotaged())
		area[9 * PAGE]++;
	for (size_t i = 0; i < 64; i++) {
		if (i % 3 == 0)
			pattern_check(area + i * PAGE, PAGE, 100 + i);
		else
			check(!memcmp(area + i * PAGE, buffer + i * PAGE, PAGE), "page %zu", i);
	}
	must(pread(fd, buffer, SIZE, 0) == (ssize_t)SIZE);
	pattern_check(buffer, SIZE, 1);
	unlink(path);
	return done();
}
