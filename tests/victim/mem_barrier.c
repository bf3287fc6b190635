/* SPDX-License-Identifier: Apache-2.0 */
/* A program that has registered for expedited memory barriers may go on using them. */
#include "victim.h"

#include <linux/membarrier.h>

static int barrier(int command)
{
	return (int)syscall(SYS_membarrier, command, 0, 0);
}

static const int registers[] = { MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
				 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE,
				 MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED };
static const int uses[] = { MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE,
			    MEMBARRIER_CMD_GLOBAL_EXPEDITED };

int main(void)
{
	int has = barrier(MEMBARRIER_CMD_QUERY);

	if (has < 0 || !(has & MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		skip("the kernel has no expedited memory barriers");
	for (int i = 0; i < 3; i++)
		if (has & registers[i])
			check(barrier(registers[i]) == 0, "%d cannot be registered", i);
	move();
	if (sabotaged())
		fail("asked to");
	for (int i = 0; i < 3; i++)
		if (has & uses[i])
			check(barrier(uses[i]) == 0, "barrier %d: %s", i, strerror(errno));
	return done();
}
