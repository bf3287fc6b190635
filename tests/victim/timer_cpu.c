/* SPDX-License-Identifier: Apache-2.0 */
/* ITIMER_VIRTUAL and ITIMER_PROF: what was left of them, and their intervals. */
#include "victim.h"
#include <sys/time.h>

static int64_t left_us(int which, int64_t *interval_us)
{
	struct itimerval t;

	must(getitimer(which, &t) == 0);
	*interval_us = t.it_interval.tv_sec * 1000000 + t.it_interval.tv_usec;
	return t.it_value.tv_sec * 1000000 + t.it_value.tv_usec;
}

int main(void)
{
	struct itimerval virtual = { .it_value = { 500, 0 }, .it_interval = { 7, 4000 } };
	struct itimerval prof = { .it_value = { 800, 0 }, .it_interval = { 9, 8000 } };
	int64_t before[2], after[2], interval;

	must(setitimer(ITIMER_VIRTUAL, &virtual, NULL) == 0 && setitimer(ITIMER_PROF, &prof, NULL) == 0);
	for (int64_t until = now_ns() + 100 * MS; now_ns() < until;)
		;
	before[0] = left_us(ITIMER_VIRTUAL, &interval);
	before[1] = left_us(ITIMER_PROF, &interval);
	move();
	if (sabotaged())
		must(setitimer(ITIMER_VIRTUAL, &virtual, NULL) == 0);
	after[0] = left_us(ITIMER_VIRTUAL, &interval);
	check_eq(interval, 7004000);
	after[1] = left_us(ITIMER_PROF, &interval);
	check_eq(interval, 9008000);
	/* in steps of a tick, of which there are at least a hundred a second */
	for (int i = 0; i < 2; i++)
		check(after[i] <= before[i] + 12000 && after[i] > before[i] - 100000,
		      "timer %d: %ld us were left, now %ld", i, before[i], after[i]);
	return done();
}
