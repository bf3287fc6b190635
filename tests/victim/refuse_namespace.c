/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: namespaces of its own. */
#include "victim.h"

int main(void)
{
	if (unshare(CLONE_NEWUTS) < 0)
		skip("may not unshare");
	move();
	return done();
}
