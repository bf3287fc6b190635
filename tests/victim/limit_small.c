/* SPDX-License-Identifier: Apache-2.0 */
/* Limits smaller than what the program already has are no hindrance. */
#include "victim.h"
#include <sys/resource.h>

/* As a daemon does that wants to open nothing more and fork no more. */
int main(void)
{
	struct rlimit none = { 0, 0 }, now;
	uint8_t *area = map(1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	int high;

	pattern_fill(area, 1 << 20, 1);
	high = fcntl(1, F_DUPFD, 40);
	must(high >= 40 && setvbuf(stdout, NULL, _IONBF, 0) == 0);
	must(setrlimit(RLIMIT_NOFILE, &(struct rlimit) { 3, 3 }) == 0);
	must(setrlimit(RLIMIT_FSIZE, &none) == 0 && setrlimit(RLIMIT_NPROC, &none) == 0);
	must(setrlimit(RLIMIT_SIGPENDING, &none) == 0 && setrlimit(RLIMIT_MEMLOCK, &none) == 0);
	must(setrlimit(RLIMIT_STACK, &(struct rlimit) { 16384, 16384 }) == 0);
	move();
	if (sabotaged())
		close(high);
	check(fcntl(high, F_GETFD) == 0, "descriptor %d is lost", high);
	check(open("/dev/null", O_RDONLY) < 0 && errno == EMFILE, "a file could be opened");
	pattern_check(area, 1 << 20, 1);
	must(getrlimit(RLIMIT_STACK, &now) == 0);
	check_eq(now.rlim_max, 16384);
	return done();
}
