/* SPDX-License-Identifier: Apache-2.0 */
/* A deleted file that is mapped, shared and private, and still open: one file as before. */
#include "victim.h"

#define SIZE (32 * PAGE)

int main(void)
{
	char path[64];
	int fd = temp_file(path);
	uint8_t *shared, *private, *buffer = malloc(SIZE), c = 'x';

	pattern_fill(buffer, SIZE, 1);
	must(write(fd, buffer, SIZE) == (ssize_t)SIZE);
	shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	must(shared != MAP_FAILED && private != MAP_FAILED && unlink(path) == 0);
	pattern_fill(private + 4 * PAGE, PAGE, 2);
	move();
	pattern_check(shared, SIZE, 1);
	pattern_check(private, 4 * PAGE, 1);
	pattern_check(private + 4 * PAGE, PAGE, 2);
	must(pread(fd, buffer, SIZE, 0) == (ssize_t)SIZE);
	pattern_check(buffer, SIZE, 1);
	must(pwrite(fd, &c, 1, 10) == 1);
	if (sabotaged())
		shared[10] = 'y';
	check_eq(shared[10], 'x');
	return done();
}
