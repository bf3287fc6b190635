/* SPDX-License-Identifier: Apache-2.0 */
/* A timer of five milliseconds with a handler: as many ticks as time has passed. */
#include "victim.h"

static volatile long ticks;
static int id;

static void on_tick(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	ticks += 1 + info->si_overrun;
}

int main(void)
{
	struct sigaction act = { .sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	struct itimerspec t = { .it_value = { 0, 5 * MS }, .it_interval = { 0, 5 * MS } };
	int64_t began, want;

	sigaction(SIGALRM, &act, NULL);
	must(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id) == 0);
	began = now_ns();
	must(syscall(SYS_timer_settime, id, 0, &t, NULL) == 0);
	sleep_until(began + 100 * MS);
	move();
	sleep_until(now_ns() + 100 * MS);
	if (sabotaged())
		ticks /= 3;
	want = (now_ns() - began) / (5 * MS);
	check(ticks >= want - slack_ns() / (5 * MS) && ticks <= want + 2 && ticks > 30, "%ld ticks, should be %ld",
	      ticks, want);
	return done();
}
