/* SPDX-License-Identifier: Apache-2.0 */
/* What seccomp filters forbid is forbidden after the move as before, by the same filters in the same order. */
#include "seccomp.h"

static volatile int trapped, trapped_nr;

static void on_sys(int sig, siginfo_t *info, void *context)
{
	(void)context;
	trapped = sig;
	trapped_nr = info->si_syscall;
}

static void check_trap(void)
{
	trapped = 0;
	(void)syscall(SYS_getpgid, 0);
	check_eq(trapped, SIGSYS);
	check_eq(trapped_nr, SYS_getpgid);
}

static void check_all(void)
{
	check_fails(SYS_getppid, 77);
	check_fails(SYS_getuid, 79); /* the newest of equals decides */
	check_trap();
	must(getpid() > 0);
	must(prctl(PR_GET_SECCOMP) == SECCOMP_MODE_FILTER);
}

int main(void)
{
	struct sigaction act = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };
	char *filters;

	sigaction(SIGSYS, &act, NULL);
	forbid(SYS_getppid, SECCOMP_RET_ERRNO | 77, 0);
	forbid(SYS_getuid, SECCOMP_RET_ERRNO | 78, SECCOMP_FILTER_FLAG_LOG);
	forbid(SYS_getuid, SECCOMP_RET_ERRNO | 79, 0);
	forbid(SYS_getpgid, SECCOMP_RET_TRAP, 0);
	check_all();
	move();
	if (sabotaged())
		act.sa_sigaction = NULL, sigaction(SIGSYS, &act, NULL),
		forbid(SYS_getppid, SECCOMP_RET_ERRNO | 80, 0);
	check_all();
	filters = proc_field("/proc/self/status", "Seccomp_filters:");
	check(atoi(filters) == 4, "there are %s filters", filters);
	free(filters);
	return done();
}
