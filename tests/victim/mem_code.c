/* SPDX-License-Identifier: Apache-2.0 */
/* Code that the program wrote itself runs afterwards, from a read-only and from a writable page. */
#include "victim.h"

/* mov eax, N; ret */
static void write_code(uint8_t *p, int32_t n)
{
	p[0] = 0xb8;
	memcpy(p + 1, &n, 4);
	p[5] = 0xc3;
}

static int run(uint8_t *p)
{
	int (*function)(void);

	memcpy(&function, &p, sizeof(p));
	return function();
}

int main(void)
{
	uint8_t *rx = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	uint8_t *rwx = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);

	write_code(rx, 4711);
	write_code(rwx, 815);
	must(mprotect(rx, PAGE, PROT_READ | PROT_EXEC) == 0);
	check_eq(run(rx), 4711);
	move();
	if (sabotaged())
		write_code(rwx, 1);
	check_eq(run(rx), 4711);
	check_eq(run(rwx), 815);
	write_code(rwx, 816);
	check_eq(run(rwx), 816);
	return done();
}
