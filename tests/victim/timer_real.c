/* SPDX-License-Identifier: Apache-2.0 */
/* ITIMER_REAL: when it next rings, and its interval. */
#include "victim.h"
#include <sys/time.h>

static volatile int64_t rang;

static void on_alarm(int sig)
{
	(void)sig;
	if (!rang)
		rang = now_ns();
}

int main(void)
{
	struct itimerval t = { .it_value = { 1, 500000 }, .it_interval = { 33, 250000 } };
	int64_t began;

	signal(SIGALRM, on_alarm);
	began = now_ns();
	must(setitimer(ITIMER_REAL, &t, NULL) == 0);
	sleep_until(began + 700 * MS);
	move();
	if (now_ns() > began + 1450 * MS)
		skip("the move took longer than the rest of the timer");
	check(!rang, "it rang early");
	if (sabotaged())
		alarm(0);
	sleep_until(began + 1500 * MS + slack_ns());
	check(rang >= began + 1498 * MS, "it rang after %lld us", (long long)(rang - began) / 1000);
	check(rang < began + 1500 * MS + slack_ns(), "it rang after %lld us", (long long)(rang - began) / 1000);
	must(getitimer(ITIMER_REAL, &t) == 0);
	check_eq(t.it_interval.tv_sec, 33);
	check_eq(t.it_interval.tv_usec, 250000);
	return done();
}
