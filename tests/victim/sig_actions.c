/* SPDX-License-Identifier: Apache-2.0 */
/* The action, flags, mask and restorer of every signal. */
#include "victim.h"

/* The kernel's own form: libc's sigaction() hides two signals and the restorer. */
struct action {
	uintptr_t handler;
	unsigned long flags;
	uintptr_t restorer;
	uint64_t mask;
};

static struct action before[65], after[65];

static void actions_read(struct action *actions)
{
	for (int sig = 1; sig <= 64; sig++)
		must(syscall(SYS_rt_sigaction, sig, NULL, &actions[sig], 8) == 0);
}

int main(void)
{
	for (int sig = 1; sig <= 64; sig++) {
		struct action a = { .handler = 0x10000 + (uintptr_t)sig * 16,
				    .flags = 0x04000000 | (sig & 1 ? SA_RESTART : 0) | (sig & 2 ? SA_NODEFER : 0) |
					     (sig & 4 ? SA_ONSTACK : 0) | (sig & 8 ? SA_SIGINFO : 0) |
					     (sig & 16 ? SA_NOCLDSTOP : 0),
				    .restorer = 0x20000 + (uintptr_t)sig,
				    .mask = pattern(1, (uint64_t)sig) };

		if (sig == SIGKILL || sig == SIGSTOP || sig % 7 == 0)
			continue;
		if (sig % 5 == 0)
			a.handler = (uintptr_t)SIG_IGN;
		must(syscall(SYS_rt_sigaction, sig, &a, NULL, 8) == 0);
	}
	actions_read(before);
	move();
	if (sabotaged())
		signal(SIGRTMIN + 5, SIG_DFL);
	actions_read(after);
	for (int sig = 1; sig <= 64; sig++)
		check(!memcmp(&before[sig], &after[sig], sizeof(after[sig])),
		      "signal %d: handler %lx flags %lx restorer %lx mask %lx, was %lx %lx %lx %lx", sig,
		      after[sig].handler, after[sig].flags, after[sig].restorer, after[sig].mask,
		      before[sig].handler, before[sig].flags, before[sig].restorer, before[sig].mask);
	return done();
}
