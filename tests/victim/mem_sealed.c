/* SPDX-License-Identifier: Apache-2.0 */
/* A sealed mapping stays one. */
#include "victim.h"

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

int main(void)
{
	uint8_t *area = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	pattern_fill(area, 4 * PAGE, 1);
	if (syscall(SYS_mseal, area, 4 * PAGE, 0) < 0)
		skip("the kernel has no mseal");
	move();
	if (sabotaged())
		area = map(4 * PAGE, PROT_READ, MAP_PRIVATE);
	check(munmap(area, PAGE) < 0 && errno == EPERM, "the seal is off");
	pattern_check(area, 4 * PAGE, 1);
	return done();
}
