/* SPDX-License-Identifier: Apache-2.0 */
/* A signal that became pending while blocked is delivered to its handler after the move, once. */
#include "victim.h"

static volatile int count, value;

static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	count++;
	value = info->si_value.sival_int;
}

int main(void)
{
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	sigset_t set;

	sigaction(SIGUSR1, &act, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	must(sigqueue(getpid(), SIGUSR1, (union sigval) { .sival_int = 99 }) == 0);
	move();
	check_eq(count, 0);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	if (sabotaged())
		raise(SIGUSR1);
	check_eq(count, 1);
	check_eq(value, 99);
	return done();
}
