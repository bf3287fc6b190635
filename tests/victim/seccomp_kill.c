/* SPDX-License-Identifier: Apache-2.0 */
/* A filter that kills, but for no call that is made here or on the way. */
#include "seccomp.h"

int main(int argc, char **argv)
{
	long nr = argc > 1 ? atol(argv[1]) : SYS_getppid; /* forbid another one */

	forbid(nr, SECCOMP_RET_KILL_PROCESS, 0);
	move();
	if (sabotaged())
		(void)syscall(nr);
	must(getpid() > 0);
	return done();
}
