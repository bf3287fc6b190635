/* SPDX-License-Identifier: Apache-2.0 */
/* A filter that kills, but for no call that is made here or on the way. */
#include <sys/wait.h>

#include "seccomp.h"

int main(int argc, char **argv)
{
	long nr = argc > 1 ? atol(argv[1]) : SYS_getppid; /* forbid another one */

	forbid(nr, SECCOMP_RET_KILL_PROCESS, 0);
	move();
	must(getpid() > 0);
	if (sabotaged()) { /* a child does it, so that somebody is left to say so */
		pid_t child = fork();
		int status = 0;

		if (!child) {
			(void)syscall(nr);
			_exit(0);
		}
		must(waitpid(child, &status, 0) == child);
		must(!WIFSIGNALED(status));
	}
	return done();
}
