/* SPDX-License-Identifier: Apache-2.0 */
/* A POSIX timer that has rung and whose signal is pending: the signal, and the count of further rings. */
#include "victim.h"

int main(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL,
				  .sigev_signo = SIGRTMIN,
				  .sigev_value.sival_int = 31 };
	struct itimerspec t = { .it_value = { 0, 10 * MS }, .it_interval = { 0, 10 * MS } };
	struct timespec none = { 0 };
	siginfo_t info;
	int64_t began, rings, want;
	sigset_t set;
	int id;

	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	must(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id) == 0);
	began = now_ns();
	must(syscall(SYS_timer_settime, id, 0, &t, NULL) == 0);
	sleep_until(began + 105 * MS);
	move();
	sleep_until(now_ns() + 100 * MS);
	if (sabotaged())
		sigtimedwait(&set, &info, &none);
	check(sigtimedwait(&set, &info, &none) == SIGRTMIN, "the signal is lost: %s", strerror(errno));
	check_eq(info.si_code, SI_TIMER);
	check_eq(info.si_value.sival_int, 31);
	rings = 1 + info.si_overrun;
	want = (now_ns() - began) / (10 * MS);
	check(rings <= want + 1 && rings >= want - slack_ns() / (10 * MS) && rings > 10,
	      "%ld rings, should be %ld", rings, want);
	return done();
}
