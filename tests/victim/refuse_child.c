/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: a child process. */
#include "victim.h"
#include <sys/prctl.h>

int main(void)
{
	pid_t parent = getpid(), child = fork();

	must(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (getppid() == parent) /* it may have died before it could be watched */
			pause();
		_exit(0);
	}
	move();
	return done();
}
