/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: a userfaultfd. */
#include "victim.h"

int main(void)
{
	if (syscall(SYS_userfaultfd, O_CLOEXEC | 1) < 0)
		skip("no userfaultfd");
	move();
	return done();
}
