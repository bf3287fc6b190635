/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of a lab host. Theory of operation
 *
 * It is exec'ed in its new namespaces with three descriptors: LAB_FD_BOOT, a socket to `godwit lab up`, which dies
 * with that if it fails; LAB_FD_CONTROL, a listening socket by which later commands reach it; LAB_FD_DIR, the
 * host's directory with its keys and logs (which it cannot see by name any more once it has a /run of its own).
 *
 *   init: mounts                     lab up: waits
 *   init: says "mounted"             lab up: plugs the cable in, says "go"
 *   init: addresses, daemons, "up"   lab up: waits until they answer
 *
 * From then on it reaps whatever the host's processes leave to it, and starts and stops daemons when told to. A
 * daemon that dies stays dead: whoever tries out a crash wants to look first.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/lab.h"

#define ETC "/run/godwit-etc"
#define CGROUP "/sys/fs/cgroup"
#define STOP_US 5000000u /* a daemon has this long to end when asked to */

struct host {
	const char *name;
	const char *address, *address2;
	const char *rate;
	const char *bin;
	const char *scratch;
	bool private_root;
	struct {
		const char *name;
		pid_t pid; /* 0: it does not run */
	} daemons[2];
};

static int copy_file(const char *name, mode_t mode, struct err *e)
{
	_cleanup_free_ char *from = xasprintf("etc/%s", name);
	_cleanup_free_ char *to = xasprintf(ETC "/%s", name);
	_cleanup_free_ char *text = NULL;
	ssize_t n = fd_slurp(LAB_FD_DIR, from, 1 << 20, &text);
	_cleanup_fd_ int fd = -EBADF;

	if (n == -ENOENT)
		return 0;
	if (n < 0)
		return err_code(e, (int)n, "%s", from);
	fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0 || fd_write_full(fd, text, (size_t)n) < 0)
		return err_errno(e, "cannot write %s", to);
	return 0;
}

static int make_etc(struct err *e)
{
	static const struct {
		const char *name;
		mode_t mode;
	} files[] = { { "cluster.key", 0600 }, { "host.key", 0600 }, { "hosts", 0644 }, { "godwit.conf", 0644 } };

	if (mkdir(ETC, 0755) < 0)
		return err_errno(e, "cannot make %s", ETC);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		int r = copy_file(files[i].name, files[i].mode, e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Beside godwit where it is built, in libexec where it is installed. */
static char *daemon_path(const struct host *h, const char *name)
{
	char *path = xasprintf("%s/%s", h->bin, name);

	if (access(path, X_OK) == 0)
		return path;
	free(path);
	return xasprintf("%s/../libexec/godwit/%s", h->bin, name);
}

/* In the child: its own cgroup, its log, a clean environment; then the daemon. Comes back with -errno. */
static int exec_daemon(const struct host *h, const char *name, char **env)
{
	_cleanup_free_ char *procs = xasprintf(CGROUP "/%s/cgroup.procs", name);
	_cleanup_free_ char *log = xasprintf("%s.log", name);
	_cleanup_free_ char *program = daemon_path(h, name);
	sigset_t none;
	int fd = openat(LAB_FD_DIR, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644), r;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();
	for (; env && *env; env++)
		(void)putenv(*env);
	r = fd_write_file(AT_FDCWD, procs, "0");
	if (r < 0)
		return r;
	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		return -errno;
	execl(program, name, NULL);
	return -errno;
}

/* Returns when the daemon has been exec'ed, so that whoever looks for it from now on finds it by its name: the
 * pipe closes with that, or brings the reason why not. */
static int start_daemon(struct host *h, size_t i, char **env, struct err *e)
{
	_cleanup_fd_ int said = -EBADF, say = -EBADF;
	int ends[2], failed;
	pid_t pid;

	if (h->daemons[i].pid)
		return err_set(e, -EALREADY, "%s runs already", h->daemons[i].name);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_errno(e, "pipe");
	said = ends[0];
	say = ends[1];
	pid = fork();
	if (pid < 0)
		return err_errno(e, "fork");
	if (pid == 0) {
		failed = exec_daemon(h, h->daemons[i].name, env);
		(void)!write(say, &failed, sizeof failed);
		_exit(127);
	}
	fd_close(&say);
	h->daemons[i].pid = pid;
	if (fd_read_full(said, &failed, sizeof failed) == 0)
		return err_code(e, failed, "cannot run %s", h->daemons[i].name);
	return 0;
}

static void reap(struct host *h)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (size_t i = 0; i < ARRAY_LEN(h->daemons); i++) {
			if (h->daemons[i].pid != pid)
				continue;
			h->daemons[i].pid = 0;
			if (WIFSIGNALED(status))
				log_info("%s was killed by signal %d", h->daemons[i].name, WTERMSIG(status));
			else
				log_info("%s ended with status %d", h->daemons[i].name, WEXITSTATUS(status));
		}
	}
}

/* Asks a daemon to end, kills it if it does not. */
static void stop_daemon(struct host *h, size_t i, int sig)
{
	struct pollfd p = { .fd = (int)syscall(SYS_pidfd_open, h->daemons[i].pid, 0), .events = POLLIN };

	if (h->daemons[i].pid && p.fd >= 0) {
		(void)kill(h->daemons[i].pid, sig);
		if (poll(&p, 1, STOP_US / 1000) == 0) {
			log_warn("%s does not end when asked to", h->daemons[i].name);
			(void)kill(h->daemons[i].pid, SIGKILL);
			(void)poll(&p, 1, -1);
		}
	}
	if (p.fd >= 0)
		close(p.fd);
	reap(h);
}

/* One request: "start|stop|kill|restart DAEMON", each further line a variable for its environment. */
static int serve(struct host *h, char *text, struct err *e)
{
	char *save = NULL, *line = strtok_r(text, "\n", &save), *env[64];
	char *daemon = line ? strchr(line, ' ') : NULL;
	size_t n = 0, i;

	if (!daemon)
		return err_set(e, -EINVAL, "bad request");
	*daemon++ = '\0';
	while (n < ARRAY_LEN(env) - 1 && (env[n] = strtok_r(NULL, "\n", &save)))
		n++;
	env[n] = NULL;
	for (i = 0; i < ARRAY_LEN(h->daemons) && strcmp(h->daemons[i].name, daemon); i++)
		;
	if (i == ARRAY_LEN(h->daemons))
		return err_set(e, -EINVAL, "there is no daemon '%s'", daemon);
	if (!strcmp(line, "stop") || !strcmp(line, "restart"))
		stop_daemon(h, i, SIGTERM);
	else if (!strcmp(line, "kill"))
		stop_daemon(h, i, SIGKILL);
	if (!strcmp(line, "start") || !strcmp(line, "restart"))
		return start_daemon(h, i, env, e);
	return 0;
}

static void answer_control(struct host *h)
{
	_cleanup_fd_ int fd = accept4(LAB_FD_CONTROL, NULL, NULL, SOCK_CLOEXEC);
	struct timeval limit = { .tv_sec = 5 };
	char text[8192];
	struct err e = { 0 };
	ssize_t n;

	if (fd < 0)
		return;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	n = recv(fd, text, sizeof text - 1, 0);
	if (n <= 0)
		return;
	text[n] = '\0';
	if (serve(h, text, &e) < 0)
		snprintf(text, sizeof text, "error %s", err_text(&e));
	else
		strcpy(text, "ok");
	(void)!send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static int boot_say(const char *text)
{
	return send(LAB_FD_BOOT, text, strlen(text), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int boot_expect(const char *word, struct err *e)
{
	char text[64];
	ssize_t n = recv(LAB_FD_BOOT, text, sizeof text - 1, 0);

	if (n <= 0)
		return err_set(e, -ECONNRESET, "`lab up` is gone");
	text[n] = '\0';
	return strcmp(text, word) ? err_set(e, -EPROTO, "unexpected '%s'", text) : 0;
}

static int make_cgroups(struct err *e)
{
	static const char *const names[] = { CGROUP "/flipd", CGROUP "/procd" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		int r = cgroup_make(names[i], e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int boot(struct host *h, struct err *e)
{
	int r;

	if (sethostname(h->name, strlen(h->name)) < 0)
		return err_errno(e, "sethostname");
	r = mount_host(h->private_root, h->scratch, h->bin, e);
	if (r == 0)
		r = make_cgroups(e);
	if (r == 0)
		r = make_etc(e);
	if (r == 0)
		r = boot_say("mounted");
	if (r == 0)
		r = boot_expect("go", e);
	if (r == 0)
		r = net_configure(h->address, h->address2, h->rate, e);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(h->daemons); i++)
		r = start_daemon(h, i, NULL, e);
	return r;
}

int lab_host_init(int argc, char **argv)
{
	struct host h = { .daemons = { { "flipd", 0 }, { "procd", 0 } } };
	struct pollfd p[2] = { { .events = POLLIN }, { .fd = LAB_FD_CONTROL, .events = POLLIN } };
	struct signalfd_siginfo si;
	struct err e = { 0 };
	sigset_t set;

	if (argc != 7 || getpid() != 1)
		return cli_fail(CLI_USAGE, "`godwit lab host-init` is for `godwit lab up` only");
	h.name = argv[0];
	h.address = argv[1];
	h.address2 = argv[2];
	h.rate = argv[3];
	h.private_root = *argv[4] == '1';
	h.scratch = argv[5];
	h.bin = argv[6];
	log_open("init");
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)fcntl(LAB_FD_BOOT, F_SETFD, FD_CLOEXEC);
	(void)fcntl(LAB_FD_CONTROL, F_SETFD, FD_CLOEXEC);
	(void)fcntl(LAB_FD_DIR, F_SETFD, FD_CLOEXEC);
	lab_environment(h.bin);
	if (boot(&h, &e) < 0) {
		_cleanup_free_ char *text = xasprintf("error %s", err_text(&e));

		log_error("%s", err_text(&e));
		(void)boot_say(text);
		return CLI_FAILED;
	}
	(void)boot_say("up");
	(void)close(LAB_FD_BOOT);
	p[0].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	for (;;) {
		(void)poll(p, 2, -1);
		while (read(p[0].fd, &si, sizeof si) > 0)
			;
		reap(&h);
		if (p[1].revents & POLLIN)
			answer_control(&h);
	}
}

/* It only has to exist: the network namespace with the bridge lives as long as it does. */
int lab_switch(void)
{
	for (;;)
		pause();
}
