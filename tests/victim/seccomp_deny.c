/* SPDX-License-Identifier: Apache-2.0 */
/* A list of what is allowed, as containers have it: all other calls fail with EPERM, those too that a mover makes.
 */
#include "seccomp.h"

#define ALLOW(call)                                                                                               \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static int ends[2];
static char got;

static long do_read(void *arg)
{
	(void)arg;
	return read(ends[0], &got, 1);
}

static void allow_little(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(read),
		ALLOW(write),
		ALLOW(close),
		ALLOW(futex),
		ALLOW(rt_sigprocmask),
		ALLOW(rt_sigreturn),
		ALLOW(tgkill),
		ALLOW(restart_syscall),
		ALLOW(nanosleep),
		ALLOW(clock_nanosleep),
		ALLOW(openat),
		ALLOW(madvise),
		ALLOW(exit),
		ALLOW(exit_group),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	};
	struct sock_fprog program = { .len = sizeof code / sizeof code[0], .filter = code };

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) < 0)
		skip("no seccomp filters: %s", strerror(errno));
}

int main(void)
{
	struct caller c = { .call = do_read };

	must(pipe(ends) == 0);
	caller_start(&c, SYS_read);
	setvbuf(stdout, malloc(BUFSIZ), _IOFBF, BUFSIZ);
	allow_little();
	check_fails(SYS_getppid, EPERM);
	move();
	if (sabotaged())
		must(write(ends[1], "x", 1) == 1);
	else
		check_fails(SYS_getppid, EPERM);
	check_fails(SYS_munmap, EPERM);
	must(write(ends[1], "r", 1) == 1);
	caller_join(&c);
	check_eq(c.ret, 1);
	check_eq(got, 'r');
	return done();
}
