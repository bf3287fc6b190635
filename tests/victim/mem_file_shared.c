/* SPDX-License-Identifier: Apache-2.0 */
/* A shared file mapping: what is written in it is in the file, and the other way round. */
#include "victim.h"

#define SIZE (64 * PAGE)

int main(void)
{
	char path[64];
	int fd = temp_file(path), again;
	uint64_t *area, word;

	must(ftruncate(fd, SIZE) == 0);
	area = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(area != MAP_FAILED);
	close(fd); /* the mapping alone keeps the file */
	pattern_fill(area, SIZE, 3);
	move();
	pattern_check(area, SIZE, 3);
	if (sabotaged())
		must(mmap(area, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
		     area);
	again = open(path, O_RDWR);
	must(again >= 0);
	area[11] = 1111;
	must(pread(again, &word, 8, 88) == 8);
	check_eq(word, 1111);
	word = 2222;
	must(pwrite(again, &word, 8, 800) == 8);
	check_eq(area[100], 2222);
	unlink(path);
	return done();
}
