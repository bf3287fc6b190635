/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: a dead child nobody has waited for. */
#include "victim.h"
#include <sys/wait.h>

int main(void)
{
	pid_t child = fork();
	siginfo_t info;

	must(child >= 0);
	if (child == 0)
		_exit(3);
	must(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
	move();
	return done();
}
