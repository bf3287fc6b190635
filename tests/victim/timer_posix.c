/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX timers: their numbers with gaps between them, intervals, rest, and the signals they send. */
#include "victim.h"

#define COUNT 4

/* libc numbers timers as the kernel does, except those of SIGEV_THREAD */
static int timer_new(int notify, int sig, int value)
{
	struct sigevent event = { .sigev_notify = notify, .sigev_signo = sig, .sigev_value.sival_int = value };
	int id;

	if (notify == SIGEV_THREAD_ID)
		event._sigev_un._tid = gettid();
	must(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id) == 0);
	return id;
}

int main(void)
{
	struct itimerspec t, before[COUNT];
	struct timespec second = { .tv_sec = 2 };
	int ids[COUNT], gap;
	siginfo_t info;
	sigset_t set;

	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	ids[0] = timer_new(SIGEV_SIGNAL, SIGRTMIN + 1, 101);
	gap = timer_new(SIGEV_SIGNAL, SIGRTMIN + 1, 102);
	ids[1] = timer_new(SIGEV_NONE, 0, 103);
	ids[2] = timer_new(SIGEV_THREAD_ID, SIGRTMIN + 2, 104);
	ids[3] = timer_new(SIGEV_SIGNAL, SIGRTMIN + 3, 105);
	must(syscall(SYS_timer_delete, gap) == 0);
	for (int i = 0; i < COUNT - 1; i++) {
		t = (struct itimerspec) { .it_value = { 100 + i, 0 }, .it_interval = { 10 + i, 500 } };
		must(syscall(SYS_timer_settime, ids[i], 0, &t, NULL) == 0);
	}
	for (int i = 0; i < COUNT; i++)
		must(syscall(SYS_timer_gettime, ids[i], &before[i]) == 0);
	move();
	if (sabotaged())
		must(syscall(SYS_timer_delete, ids[1]) == 0);
	for (int i = 0; i < COUNT; i++) {
		check(syscall(SYS_timer_gettime, ids[i], &t) == 0, "timer %d of id %d: %s", i, ids[i],
		      strerror(errno));
		check_eq(t.it_interval.tv_sec, before[i].it_interval.tv_sec);
		check_eq(t.it_interval.tv_nsec, before[i].it_interval.tv_nsec);
		check(t.it_value.tv_sec <= before[i].it_value.tv_sec &&
			      t.it_value.tv_sec >= before[i].it_value.tv_sec - 30,
		      "timer %d: %ld s left of %ld", i, t.it_value.tv_sec, before[i].it_value.tv_sec);
	}
	check(syscall(SYS_timer_gettime, gap, &t) < 0, "a deleted timer is back");
	for (int i = 0; i < COUNT; i++) {
		t = (struct itimerspec) { .it_value = { 0, 1000000 } };
		must(syscall(SYS_timer_settime, ids[i], 0, &t, NULL) == 0);
		if (i == 1)
			continue;
		check(sigtimedwait(&set, &info, &second) == SIGRTMIN + (i == 0 ? 1 : i), "timer %d is silent", i);
		check_eq(info.si_value.sival_int, i == 0 ? 101 : 102 + i);
		check_eq(info.si_code, SI_TIMER);
		check_eq(info.si_timerid, ids[i]);
	}
	return done();
}
