/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes with something in them: part of a page, many writes, all they can hold. */
#include "victim.h"

static int part[2], many[2], full[2];

int main(void)
{
	static uint8_t buffer[1 << 20], got[1 << 20];
	ssize_t held, n;
	char c;

	must(pipe(part) == 0 && pipe(many) == 0 && pipe2(full, O_NONBLOCK) == 0);
	must(write(part[1], "first", 5) == 5 && read(part[0], &c, 1) == 1);
	for (int i = 0; i < 16; i++)
		must(dprintf(many[1], "<%d>", i) > 0);
	pattern_fill(buffer, sizeof(buffer), 1);
	held = write(full[1], buffer, sizeof(buffer));
	must(held > 0);
	move();
	if (sabotaged())
		must(read(full[0], got, 1) == 1);
	n = read(part[0], got, sizeof(got));
	check(n == 4 && !memcmp(got, "irst", 4), "%zd bytes, %.4s", n, got);
	n = read(many[0], got, sizeof(got));
	check(n == 54 && !memcmp(got, "<0><1><2>", 9) && !memcmp(got + 50, "<15>", 4), "%zd bytes, %.54s", n, got);
	check(write(full[1], &c, 1) < 0 && errno == EAGAIN, "there is room in a full pipe");
	n = 0;
	for (ssize_t m; (m = read(full[0], got + n, sizeof(got) - (size_t)n)) > 0;)
		n += m;
	check_eq(n, held);
	check(!memcmp(got, buffer, (size_t)held), "other bytes");
	return done();
}
