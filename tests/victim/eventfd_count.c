/* SPDX-License-Identifier: Apache-2.0 */
/* Event counters, plain and as semaphores, shared by two descriptors. */
#include "victim.h"
#include <sys/eventfd.h>

int main(void)
{
	int plain = eventfd(7, EFD_NONBLOCK), semaphore = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
	int twin = dup(plain);
	uint64_t n = 5;

	must(plain >= 0 && semaphore >= 0 && twin >= 0);
	move();
	if (sabotaged())
		must(read(semaphore, &n, 8) == 8);
	n = 5;
	must(write(twin, &n, 8) == 8);
	must(read(plain, &n, 8) == 8);
	check_eq(n, 12);
	check(read(twin, &n, 8) < 0 && errno == EAGAIN, "the twin is another counter");
	for (int i = 0; i < 3; i++) {
		check(read(semaphore, &n, 8) == 8, "round %d: %s", i, strerror(errno));
		check_eq(n, 1);
	}
	check(read(semaphore, &n, 8) < 0 && errno == EAGAIN, "the semaphore counts too far");
	check_eq(fcntl(semaphore, F_GETFD), FD_CLOEXEC);
	return done();
}
