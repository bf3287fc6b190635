/* SPDX-License-Identifier: Apache-2.0 */
/* A pipe in packet mode keeps its packets apart. */
#include "victim.h"

int main(void)
{
	int ends[2];
	char got[100];

	must(pipe2(ends, O_DIRECT) == 0);
	for (int i = 1; i < 10; i++)
		must(write(ends[1], "123456789", (size_t)i) == i);
	move();
	if (sabotaged())
		must(read(ends[0], got, sizeof(got)) == 1);
	for (int i = 1; i < 10; i++)
		check_eq(read(ends[0], got, sizeof(got)), i);
	check(fcntl(ends[1], F_GETFL) & O_DIRECT, "the mode is lost");
	must(write(ends[1], "ab", 2) == 2 && write(ends[1], "c", 1) == 1);
	check_eq(read(ends[0], got, sizeof(got)), 2);
	return done();
}
