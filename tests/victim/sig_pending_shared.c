/* SPDX-License-Identifier: Apache-2.0 */
/* Signals pending for the process: their order, values, codes and senders. */
#include "victim.h"

/* Takes the next pending signal of @set, which must be there. */
static siginfo_t next_pending(const sigset_t *set)
{
	struct timespec none = { 0 };
	siginfo_t info;

	check(sigtimedwait(set, &info, &none) > 0, "nothing is pending: %s", strerror(errno));
	return info;
}

#define COUNT 40

int main(void)
{
	struct timespec none = { 0 };
	siginfo_t info, kept;
	sigset_t all, realtime;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	sigemptyset(&realtime);
	sigaddset(&realtime, SIGRTMIN + 3);
	for (int i = 0; i < COUNT; i++)
		must(sigqueue(getpid(), SIGRTMIN + 3, (union sigval) { .sival_int = 1000 + i * i }) == 0);
	must(kill(getpid(), SIGTERM) == 0 && kill(getpid(), SIGTERM) == 0);
	/* whatever the kernel does not look at is kept too */
	memset(&kept, 0, sizeof(kept));
	memset((char *)&kept + 16, 0x5a, 32);
	kept.si_signo = SIGRTMIN + 9;
	kept.si_code = -77;
	must(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN + 9, &kept) == 0);
	move();
	if (sabotaged())
		next_pending(&realtime);
	for (int i = 0; i < COUNT; i++) {
		info = next_pending(&realtime);
		check_eq(info.si_value.sival_int, 1000 + i * i);
		check_eq(info.si_code, SI_QUEUE);
		check_eq(info.si_pid, getpid());
		check_eq(info.si_uid, getuid());
	}
	info = next_pending(&all);
	check_eq(info.si_signo, SIGTERM);
	check_eq(info.si_code, SI_USER);
	check_eq(info.si_pid, getpid());
	info = next_pending(&all);
	check_eq(info.si_signo, SIGRTMIN + 9);
	check(!memcmp((char *)&info + 16, (char *)&kept + 16, 32), "the rest of the siginfo is changed");
	check(sigtimedwait(&all, &info, &none) < 0, "signal %d too many", info.si_signo);
	return done();
}
