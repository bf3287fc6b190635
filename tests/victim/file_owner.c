/* SPDX-License-Identifier: Apache-2.0 */
/* Who gets which signal when a descriptor becomes ready. */
#include "victim.h"

int main(void)
{
	struct f_owner_ex owner = { .type = F_OWNER_TID, .pid = gettid() }, now = { 0 };
	struct timespec second = { .tv_sec = 5 };
	siginfo_t info;
	sigset_t set;
	int ends[2];

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 4);
	sigaddset(&set, SIGIO);
	sigprocmask(SIG_BLOCK, &set, NULL);
	must(pipe(ends) == 0);
	must(fcntl(ends[0], F_SETOWN_EX, &owner) == 0 && fcntl(ends[0], F_SETSIG, SIGRTMIN + 4) == 0);
	must(fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK) == 0);
	move();
	if (sabotaged())
		must(fcntl(ends[0], F_SETSIG, 0) == 0);
	must(fcntl(ends[0], F_GETOWN_EX, &now) == 0);
	check_eq(now.type, F_OWNER_TID);
	check_eq(now.pid, gettid());
	check_eq(fcntl(ends[0], F_GETSIG), SIGRTMIN + 4);
	must(write(ends[1], "x", 1) == 1);
	check(sigtimedwait(&set, &info, &second) == SIGRTMIN + 4, "no signal came");
	check_eq(info.si_fd, ends[0]);
	return done();
}
