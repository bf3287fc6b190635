/* SPDX-License-Identifier: Apache-2.0 */
/* Locked memory, at once and on fault. */
#include "victim.h"

int main(void)
{
	uint8_t *now = map(16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	uint8_t *fault = map(16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	unsigned char in_core[16];
	char *before, *after;

	pattern_fill(now, 8 * PAGE, 1);
	if (mlock(now, 16 * PAGE) < 0)
		skip("may not lock memory");
	if (mlock2(fault, 16 * PAGE, MLOCK_ONFAULT) < 0)
		skip("the kernel has no mlock2");
	fault[3 * PAGE] = 3;
	before = proc_field("/proc/self/status", "VmLck:");
	move();
	if (sabotaged())
		munlock(fault, 16 * PAGE);
	after = proc_field("/proc/self/status", "VmLck:");
	check(!strcmp(before, after), "VmLck was %s, is %s", before, after);
	must(mincore(now, 16 * PAGE, in_core) == 0);
	for (int i = 0; i < 16; i++)
		check(in_core[i] & 1, "page %d is locked and absent", i);
	pattern_check(now, 8 * PAGE, 1);
	check_eq(fault[3 * PAGE], 3);
	return done();
}
