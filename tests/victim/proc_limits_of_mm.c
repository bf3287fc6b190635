/* SPDX-License-Identifier: Apache-2.0 */
/* Where code, data, heap, stack, arguments and environment begin and end, as /proc/self/stat has it. */
#include "victim.h"

/* Fields 26-28 and 45-51, counted as proc(5) does. */
static void stat_read(unsigned long fields[64])
{
	char *text = slurp("/proc/self/stat"), *p = strrchr(text, ')') + 2;

	for (int i = 3; i <= 52 && p; i++) {
		fields[i] = strtoul(p, &p, 10);
		if (i == 3)
			p = strchr(p, ' ');
	}
	free(text);
}

int main(void)
{
	unsigned long before[64] = { 0 }, after[64] = { 0 };
	static const int compared[] = { 26, 27, 28, 45, 46, 47, 48, 49, 50, 51 };

	stat_read(before);
	must(before[28] > before[27] && before[51] >= before[50]);
	move();
	stat_read(after);
	if (sabotaged())
		after[48]++;
	for (size_t i = 0; i < sizeof(compared) / sizeof(compared[0]); i++)
		check(before[compared[i]] == after[compared[i]], "field %d is %lx, was %lx", compared[i],
		      after[compared[i]], before[compared[i]]);
	return done();
}
