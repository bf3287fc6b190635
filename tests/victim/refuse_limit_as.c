/* SPDX-License-Identifier: Apache-2.0 */
/* A limit of address space that is used up leaves nobody room to work in the process. */
#include "victim.h"
#include <sys/resource.h>

int main(void)
{
	must(setvbuf(stdout, NULL, _IONBF, 0) == 0);
	must(setrlimit(RLIMIT_AS, &(struct rlimit) { 4096, 4096 }) == 0);
	move();
	return done();
}
