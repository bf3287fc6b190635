/* SPDX-License-Identifier: Apache-2.0 */
/* The umask. */
#include "victim.h"

int main(void)
{
	umask(0153);
	move();
	if (sabotaged())
		umask(022);
	check_eq(umask(0), 0153);
	return done();
}
