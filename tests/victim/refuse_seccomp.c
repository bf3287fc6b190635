/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move: seccomp's strict mode, where a process that was left alone could not find its way back. */
#include "victim.h"
#include <linux/seccomp.h>
#include <sys/prctl.h>

int main(void)
{
	static const char ready[] = "ready\n", ok[] = "ok\n";
	char c = 0;

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
		skip("no seccomp");
	if (write(1, ready, sizeof ready - 1) == (ssize_t)sizeof ready - 1)
		while (read(0, &c, 1) == 1 && c != '\n')
			;
	(void)!write(1, ok, sizeof ok - 1);
	(void)syscall(SYS_exit, 0);
	return 1;
}
