/* SPDX-License-Identifier: Apache-2.0 */
/* Cannot move yet: a pidfd. */
#include "victim.h"

int main(void)
{
	must(syscall(SYS_pidfd_open, getpid(), 0) >= 0);
	move();
	return done();
}
