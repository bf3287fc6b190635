/* SPDX-License-Identifier: Apache-2.0 */
/* A move in the middle of a handler on an alternate stack; the handler returns to where it came from. */
#include "victim.h"

static volatile int depth;
static uint8_t stack[64 << 10];

static void on_signal(int sig, siginfo_t *info, void *context)
{
	stack_t s;
	sigset_t now;

	(void)context;
	depth++;
	move();
	must(sigaltstack(NULL, &s) == 0);
	check_eq(s.ss_flags, SS_ONSTACK);
	check_eq(info->si_value.sival_int, 5);
	if (sabotaged())
		return (void)(depth = 7);
	sigprocmask(SIG_SETMASK, NULL, &now);
	check(sigismember(&now, sig) && sigismember(&now, SIGRTMIN), "the handler's mask is lost");
}

int main(void)
{
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_ONSTACK | SA_SIGINFO };
	stack_t s = { .ss_sp = stack, .ss_size = sizeof(stack) };
	sigset_t now;

	sigaltstack(&s, NULL);
	sigaddset(&act.sa_mask, SIGRTMIN);
	sigaction(SIGUSR1, &act, NULL);
	must(sigqueue(getpid(), SIGUSR1, (union sigval) { .sival_int = 5 }) == 0);
	check_eq(depth, 1);
	sigprocmask(SIG_SETMASK, NULL, &now);
	check(!sigismember(&now, SIGUSR1) && !sigismember(&now, SIGRTMIN),
	      "the mask of before the handler is lost");
	must(sigaltstack(NULL, &s) == 0);
	check_eq(s.ss_flags, 0);
	return done();
}
