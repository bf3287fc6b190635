/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/lab.h"

#define ALL_NAMESPACES                                                                                            \
	(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_NEWTIME)

void lab_environment(const char *bin)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *longer = xasprintf("%s%s%s", bin, path ? ":" : "", path ? path : "");

	(void)setenv("PATH", longer, 1);
	(void)setenv("GODWIT_ETC", "/run/godwit-etc", 1);
}

static void exec_inside(const char *bin, const char *cwd, pid_t parent, char **argv)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* The parent is in another PID namespace, hence getppid() is 0 as long as it lives. */
	(void)parent;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != 0)
		_exit(CLI_RUN_FAILED);
	if (chdir(cwd) < 0)
		(void)!chdir("/");
	lab_environment(bin);
	execvp(argv[0], argv);
	int code = errno == ENOENT ? CLI_NOT_FOUND : CLI_CANNOT_EXEC;

	cli_fail(code, "cannot run '%s': %s", argv[0], strerror(errno));
	_exit(code);
}

/* A signal sent to us by somebody is meant for the command. What the terminal sends (SI_KERNEL) it has got itself.
 */
static int wait_forwarding(pid_t child, const sigset_t *set)
{
	siginfo_t si;
	int status;

	for (;;) {
		pid_t pid = waitpid(child, &status, WNOHANG);

		if (pid == child)
			return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		if (sigwaitinfo(set, &si) > 0 && si.si_signo != SIGCHLD && si.si_code != SI_KERNEL)
			(void)kill(child, si.si_signo);
	}
}

static void block_signals(sigset_t *set)
{
	static const int signals[] = { SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH };

	(void)sigemptyset(set);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		(void)sigaddset(set, signals[i]);
	(void)sigprocmask(SIG_BLOCK, set, NULL);
}

/* After setns() this process itself is half inside: it does nothing more than start the command and wait for it.
 */
static int enter_and_run(const struct lab *lab, int init, const char *cgroup, char **argv, struct err *e)
{
	_cleanup_fd_ int group = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char cwd[PATH_MAX] = "/";
	sigset_t set;
	pid_t child;

	if (group < 0)
		return err_errno(e, "%s", cgroup);
	(void)!getcwd(cwd, sizeof cwd);
	block_signals(&set);
	if (setns(init, ALL_NAMESPACES) < 0)
		return err_errno(e, "cannot enter the host");
	child = cgroup_fork_at(group, 0, false, e);
	if (child == 0)
		exec_inside(lab->bin, cwd, getpid(), argv);
	return child < 0 ? child : wait_forwarding(child, &set);
}

int lab_exec(const struct lab *lab, unsigned int host, char **argv, struct err *e)
{
	_cleanup_free_ char *cgroup = xasprintf("%s/h%u/exec", lab->cgroup, host);
	pid_t pid = lab_pid(lab, host);
	_cleanup_fd_ int init = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -EBADF;

	if (init < 0)
		return err_set(e, -ESRCH, "h%u is off: godwit lab --prefix %s start h%u", host, lab->prefix, host);
	return enter_and_run(lab, init, cgroup, argv, e);
}

/* In a process of its own: nobody comes back from where lab_exec goes. */
int lab_exec_quiet(const struct lab *lab, unsigned int host, char **argv, struct err *e)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return err_errno(e, "fork");
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC), r;

		if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
			_exit(CLI_RUN_FAILED);
		r = lab_exec(lab, host, argv, e);
		_exit(r < 0 ? CLI_RUN_FAILED : r);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(e, "waitpid");
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
