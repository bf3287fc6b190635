/* SPDX-License-Identifier: Apache-2.0 */
/* A POSIX timer on the CPU time of a thread keeps what is left of it. */
#include "victim.h"

int main(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_NONE };
	struct itimerspec t = { .it_value = { 300, 0 }, .it_interval = { 20, 0 } }, before, after;
	int id;

	must(syscall(SYS_timer_create, CLOCK_THREAD_CPUTIME_ID, &event, &id) == 0);
	must(syscall(SYS_timer_settime, id, 0, &t, NULL) == 0);
	for (int64_t until = now_ns() + 100 * MS; now_ns() < until;)
		;
	must(syscall(SYS_timer_gettime, id, &before) == 0);
	move();
	if (sabotaged())
		must(syscall(SYS_timer_settime, id, 0, &t, NULL) == 0);
	must(syscall(SYS_timer_gettime, id, &after) == 0);
	check_eq(after.it_interval.tv_sec, 20);
	check(before.it_value.tv_sec < 300 && after.it_value.tv_sec == 299 &&
		      after.it_value.tv_nsec <= before.it_value.tv_nsec + 12 * MS,
	      "%ld.%09ld s were left, now %ld.%09ld", before.it_value.tv_sec, before.it_value.tv_nsec,
	      after.it_value.tv_sec, after.it_value.tv_nsec);
	return done();
}
