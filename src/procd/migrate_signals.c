/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that came to the source's copy after its checkpoint, queued at the destination's before it is thawed. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "base/fd.h"
#include "base/util.h"
#include "procd/migration.h"

/* The thread of the job with that number inside, as we count; 0 if there is none. */
static pid_t host_tid(pid_t leader, int inner)
{
	char path[64];
	uv_fs_t scan;
	uv_dirent_t d;
	pid_t found = 0;

	(void)snprintf(path, sizeof path, "/proc/%d/task", leader);
	if (uv_fs_scandir(NULL, &scan, path, 0, NULL) < 0)
		return 0;
	while (!found && uv_fs_scandir_next(&scan, &d) != UV_EOF) {
		_cleanup_free_ char *text = NULL;
		_cleanup_free_ char *status = xasprintf("%s/%s/status", path, d.name);
		const char *at, *last;

		if (fd_slurp(-1, status, 16384, &text) < 0 || !(at = strstr(text, "\nNSpid:")))
			continue;
		last = at + 7 + strcspn(at + 7, "\n");
		while (last > at && last[-1] != '\t')
			last--;
		if (atoi(last) == inner)
			found = (pid_t)atoi(d.name);
	}
	uv_fs_req_cleanup(&scan);
	return found;
}

/* What a key or the size of a terminal sends, and what the mover puts in for a process that was stopped. Other
 * signals of the kernel (timers, children, descriptors) are skipped: what causes them has moved too, and will
 * cause them again. */
static bool is_of_a_terminal(int number)
{
	return number == SIGINT || number == SIGQUIT || number == SIGTSTP || number == SIGWINCH ||
	       number == SIGHUP || number == SIGCONT || number == SIGSTOP || number == SIGTTIN ||
	       number == SIGTTOU;
}

void migrate_late_signal(pid_t leader, const Godwit__Mover__LateSignal *s)
{
	pid_t tid = s->tid ? host_tid(leader, s->tid) : 0;
	siginfo_t info = { 0 };

	/* Without a pid, kill() would mean a whole group of processes: our own. */
	if (leader <= 0 || !s->siginfo.len || s->siginfo.len > sizeof info || (s->tid && !tid))
		return;
	memcpy(&info, s->siginfo.data, s->siginfo.len);
	if (info.si_signo < 1 || info.si_signo >= NSIG)
		return;
	if (!tid && (info.si_code == SI_USER || (info.si_code == SI_KERNEL && is_of_a_terminal(info.si_signo))))
		(void)kill(leader, info.si_signo);
	else if ((info.si_code == SI_USER || info.si_code == SI_TKILL) && tid)
		(void)syscall(SYS_tgkill, leader, tid, info.si_signo);
	else if (info.si_code == SI_QUEUE && tid)
		(void)syscall(SYS_rt_tgsigqueueinfo, leader, tid, info.si_signo, &info);
	else if (info.si_code == SI_QUEUE)
		(void)syscall(SYS_rt_sigqueueinfo, leader, info.si_signo, &info);
}
