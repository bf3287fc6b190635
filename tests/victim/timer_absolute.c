/* SPDX-License-Identifier: Apache-2.0 */
/* A POSIX timer set to a moment of CLOCK_BOOTTIME rings then. */
#include "victim.h"

int main(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	int64_t when = clock_ns(CLOCK_BOOTTIME) + TIMED_MS * MS, late;
	struct itimerspec t = { .it_value = timespec_ns(when) };
	struct timespec patience = { .tv_sec = 5 };
	siginfo_t info;
	sigset_t set;
	int id;

	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	must(syscall(SYS_timer_create, CLOCK_BOOTTIME, &event, &id) == 0);
	must(syscall(SYS_timer_settime, id, TIMER_ABSTIME, &t, NULL) == 0);
	sleep_until(now_ns() + TIMED_MS * MS / 2);
	move();
	if (sabotaged())
		kill(getpid(), SIGRTMIN);
	else if (clock_ns(CLOCK_BOOTTIME) > when)
		skip("the move took longer than the rest of the timer");
	while (sigtimedwait(&set, &info, &patience) < 0)
		check(errno == EINTR, "it never rang");
	late = clock_ns(CLOCK_BOOTTIME) - when;
	check(late >= 0 && late < slack_ns(), "it rang %lld us late", (long long)late / 1000);
	return done();
}
