/* SPDX-License-Identifier: Apache-2.0 */
/* Which descriptors close on exec, seen by an exec. */
#include "victim.h"
#include <sys/wait.h>

int main(void)
{
	int kept = open("/dev/null", O_RDONLY), closed = open("/dev/null", O_RDONLY | O_CLOEXEC), status;
	char script[128];
	pid_t child;

	must(kept >= 0 && closed >= 0);
	int twin = fcntl(closed, F_DUPFD, 20);
	must(twin >= 20);
	move();
	if (sabotaged())
		must(fcntl(closed, F_SETFD, 0) == 0);
	check_eq(fcntl(kept, F_GETFD), 0);
	check_eq(fcntl(closed, F_GETFD), FD_CLOEXEC);
	check_eq(fcntl(twin, F_GETFD), 0);
	snprintf(script, sizeof(script),
		 "test -e /proc/self/fd/%d && test ! -e /proc/self/fd/%d && test -e /proc/self/fd/%d", kept,
		 closed, twin);
	child = fork();
	must(child >= 0);
	if (child == 0) {
		execl("/bin/sh", "sh", "-c", script, NULL);
		_exit(1);
	}
	must(waitpid(child, &status, 0) == child);
	check_eq(status, 0);
	return done();
}
