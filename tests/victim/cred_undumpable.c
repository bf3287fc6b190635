/* SPDX-License-Identifier: Apache-2.0 */
/* A program that is not dumpable moves and is not dumpable afterwards. */
#include "victim.h"
#include <sys/prctl.h>

int main(void)
{
	must(prctl(PR_SET_DUMPABLE, 0) == 0);
	move();
	if (sabotaged())
		must(prctl(PR_SET_DUMPABLE, 1) == 0);
	check_eq(prctl(PR_GET_DUMPABLE), 0);
	return done();
}
