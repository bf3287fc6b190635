/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cell. flipd parses what strangers send: after it has its keys and sockets it needs no privilege and few
 * system calls. Whatever goes wrong in it afterwards can send datagrams and answer local programs, nothing else.
 */
#include "flipd/flipd.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

static int leave_files(const char *root, struct err *e)
{
	if (mkdir(root, 0555) < 0 && errno != EEXIST)
		return err_errno(e, "cannot make %s", root);
	if (chroot(root) < 0 || chdir("/") < 0)
		return err_errno(e, "cannot make %s the root directory", root);
	return 0;
}

static int drop_user(const char *root, struct err *e)
{
	const struct passwd *pw = getpwnam("godwit");
	int err;

	if (!pw)
		pw = getpwnam("nobody");
	if (!pw || !pw->pw_uid)
		return err_set(e, -ENOENT, "there is no user godwit and no user nobody");
	err = root ? leave_files(root, e) : 0;
	if (err)
		return err;
	if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return err_errno(e, "cannot become %s", pw->pw_name);
	return 0;
}

#ifndef __SANITIZE_ADDRESS__
/* Event loop, sockets, memory, clock, random numbers, log. */
static const int allowed[] = {
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(accept4),
	SCMP_SYS(close),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(ioctl),
	SCMP_SYS(fcntl),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(brk),
	SCMP_SYS(futex),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getrandom),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(tgkill),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(fstat),
	SCMP_SYS(lseek),
	SCMP_SYS(pread64),
	SCMP_SYS(sched_yield),
};
/* What a library may try in passing: to be told no is enough. */
static const int denied[] = { SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(newfstatat), SCMP_SYS(readlink) };
/* What it reads is never a program. */
static const int mapping[] = { SCMP_SYS(mmap), SCMP_SYS(mprotect) };

static int filter(bool reads_files, int connects, struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int err = ctx ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < ARRAY_LEN(allowed); i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; !err && i < ARRAY_LEN(mapping); i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, mapping[i], 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	for (size_t i = 0; !err && i < ARRAY_LEN(denied); i++)
		err = seccomp_rule_add(ctx, reads_files ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(ENOENT), denied[i], 0);
	if (!err && connects >= 0)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(connect), 1,
				       SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)connects));
	if (!err)
		err = seccomp_load(ctx);
	seccomp_release(ctx);
	return err ? err_code(e, err, "seccomp") : 0;
}
#endif

int sandbox_enter(const char *root, int connects, struct err *e)
{
	int err;

	/* The bounding set while we may still change it, the others with the user. */
	capng_clear(CAPNG_SELECT_BOTH);
	(void)capng_apply(CAPNG_SELECT_BOUNDS);
	if (geteuid() != 0) {
		log_warn("not started as root: running as uid %u", geteuid());
	} else {
		err = drop_user(root, e);
		if (err)
			return err;
	}
	capng_clear(CAPNG_SELECT_BOTH);
	(void)capng_apply(CAPNG_SELECT_CAPS);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_errno(e, "prctl");
#ifdef __SANITIZE_ADDRESS__
	log_warn("built with sanitizers: no system call filter");
	return 0;
#else
	return filter(!root, connects, e);
#endif
}
