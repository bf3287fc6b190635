/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks as the vDSO gives them, at the address the program remembers, agree with the system calls. */
#include "victim.h"
#include <sys/auxv.h>

static void compare(clockid_t clock)
{
	struct timespec a, b, c;

	must(syscall(SYS_clock_gettime, clock, &a) == 0);
	must(clock_gettime(clock, &b) == 0);
	must(syscall(SYS_clock_gettime, clock, &c) == 0);
	check((b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec)) &&
		      (c.tv_sec > b.tv_sec || (c.tv_sec == b.tv_sec && c.tv_nsec >= b.tv_nsec)),
	      "clock %d: %ld.%09ld, %ld.%09ld, %ld.%09ld", clock, a.tv_sec, a.tv_nsec, b.tv_sec, b.tv_nsec,
	      c.tv_sec, c.tv_nsec);
}

int main(void)
{
	uintptr_t base = getauxval(AT_SYSINFO_EHDR);
	char label[64], *maps;

	if (!base)
		skip("there is no vDSO");
	compare(CLOCK_MONOTONIC);
	move();
	check_eq(getauxval(AT_SYSINFO_EHDR), base);
	if (sabotaged())
		base += PAGE;
	for (int i = 0; i < 1000; i++) {
		compare(CLOCK_MONOTONIC);
		compare(CLOCK_BOOTTIME);
		compare(CLOCK_REALTIME);
	}
	check(!memcmp((void *)base, "\177ELF", 4), "no ELF header at %lx", base);
	snprintf(label, sizeof(label), "%lx-", base);
	maps = slurp("/proc/self/maps");
	check(strstr(maps, label), "nothing is mapped at %lx", base);
	check(sched_getcpu() >= 0, "getcpu");
	return done();
}
