/* SPDX-License-Identifier: Apache-2.0 */
/* The heap: its contents, its end, and its growth afterwards. */
#include "victim.h"

#define BLOCKS 3000

int main(void)
{
	uint64_t *blocks[BLOCKS];
	char *end, *more;

	for (size_t i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(64 + i % 400 * 8);
		pattern_fill(blocks[i], 64 + i % 400 * 8, i);
	}
	for (size_t i = 0; i < BLOCKS; i += 5) {
		free(blocks[i]);
		blocks[i] = NULL;
	}
	end = sbrk(0);
	move();
	if (sabotaged())
		must(sbrk(PAGE) == end);
	check_eq((uintptr_t)sbrk(0), (uintptr_t)end);
	for (size_t i = 0; i < BLOCKS; i++)
		if (blocks[i])
			pattern_check(blocks[i], 64 + i % 400 * 8, i);
	more = sbrk(2 << 20);
	check_eq((uintptr_t)more, (uintptr_t)end);
	memset(more, 7, 2 << 20);
	for (size_t i = 0; i < BLOCKS; i++) {
		blocks[i] = realloc(blocks[i], 5000);
		memset(blocks[i], 1, 5000);
	}
	for (size_t i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	check(brk(end) == 0 || errno == ENOMEM, "the heap cannot shrink");
	return done();
}
