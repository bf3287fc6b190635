/* SPDX-License-Identifier: Apache-2.0 */
/* Private anonymous memory: written, written with zeros, only read, never touched. */
#include "victim.h"

#define SIZE (2UL << 20)

int main(void)
{
	uint64_t *areas[4], sum = 0;

	for (int i = 0; i < 4; i++)
		areas[i] = map(SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	pattern_fill(areas[0], SIZE, 1);
	memset(areas[1], 0, SIZE);
	for (size_t i = 0; i < SIZE / 8; i += 512)
		sum += areas[2][i];
	must(sum == 0);
	move();
	if (sabotaged())
		areas[2][77] = 1;
	pattern_check(areas[0], SIZE, 1);
	for (int a = 1; a < 4; a++)
		for (size_t i = 0; i < SIZE / 8; i++)
			check(!areas[a][i], "word %zu of area %d", i, a);
	pattern_fill(areas[3], SIZE, 4);
	pattern_check(areas[3], SIZE, 4);
	return done();
}
