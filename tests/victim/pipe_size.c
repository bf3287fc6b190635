/* SPDX-License-Identifier: Apache-2.0 */
/* Pipes made larger and smaller. */
#include "victim.h"

int main(void)
{
	int large[2], small[2], before[2];

	must(pipe(large) == 0 && pipe2(small, O_NONBLOCK) == 0);
	must(fcntl(large[0], F_SETPIPE_SZ, 512 << 10) > 0 && fcntl(small[0], F_SETPIPE_SZ, 4096) > 0);
	before[0] = fcntl(large[0], F_GETPIPE_SZ);
	before[1] = fcntl(small[1], F_GETPIPE_SZ);
	move();
	if (sabotaged())
		must(fcntl(large[0], F_SETPIPE_SZ, 65536) > 0);
	check_eq(fcntl(large[0], F_GETPIPE_SZ), before[0]);
	check_eq(fcntl(small[1], F_GETPIPE_SZ), before[1]);
	return done();
}
