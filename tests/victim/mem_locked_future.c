/* SPDX-License-Identifier: Apache-2.0 */
/* mlockall(MCL_FUTURE) still counts for what is mapped afterwards. */
#include "victim.h"

static long locked_kb(void)
{
	return atol(proc_field("/proc/self/status", "VmLck:"));
}

int main(void)
{
	long before;

	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		skip("may not lock memory");
	move();
	if (sabotaged())
		must(mlockall(MCL_CURRENT) == 0);
	before = locked_kb();
	map(64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	check_eq(locked_kb(), before + 256);
	return done();
}
