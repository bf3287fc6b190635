/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/lab.h"

extern char **environ;

/* --- processes of the lab --- */

static char *host_path(const struct lab *lab, unsigned int host, const char *sub)
{
	return xasprintf("%s/h%u%s", lab->dir, host, sub);
}

static char *host_cgroup(const struct lab *lab, unsigned int host, const char *sub)
{
	return xasprintf("%s/h%u%s", lab->cgroup, host, sub);
}

/* A clean environment: what the caller's shell holds must not change what the hosts do. */
static void set_environment(const struct lab *lab)
{
	static char *empty[] = { NULL };
	char **old = environ;

	environ = empty;
	(void)setenv("HOME", "/root", 1);
	(void)setenv("LANG", "C.UTF-8", 1);
	(void)setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	for (; *old; old++)
		if (!strncmp(*old, "GODWIT_", 7) || strstr(*old, "SAN_OPTIONS="))
			(void)putenv(*old);
	for (char **v = lab->env; v && *v; v++)
		(void)putenv(*v);
}

/* Runs in the child: gives it its descriptors (LAB_FD_*), all others are closed, and becomes `godwit lab ARGS`. */
static void exec_self(const struct lab *lab, const int fds[3], int log, const char *const *args)
{
	_cleanup_free_ char *program = xasprintf("%s/godwit", lab->bin);
	_cleanup_fd_ int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int moved[3];
	sigset_t none;

	for (size_t i = 0; i < ARRAY_LEN(moved); i++) {
		moved[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 32);
		if (fds[i] >= 0 && moved[i] < 0)
			_exit(126);
	}
	if (dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(126);
	(void)close_range(LAB_FD_BOOT, 31, 0);
	for (size_t i = 0; i < ARRAY_LEN(moved); i++)
		if (moved[i] >= 0 && dup2(moved[i], LAB_FD_BOOT + (int)i) < 0)
			_exit(126);
	(void)close_range(LAB_FD_MAX, ~0u, 0);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();
	set_environment(lab);
	if (chdir("/") == 0)
		execv(program, (char *const *)(uintptr_t)args);
	dprintf(STDERR_FILENO, "cannot run %s: %s\n", program, strerror(errno));
	_exit(127);
}

static int start_switch(const struct lab *lab, struct err *e)
{
	static const char *const args[] = { "godwit-lab", "lab", "switch", NULL };
	_cleanup_free_ char *cgroup = xasprintf("%s/switch", lab->cgroup);
	int fds[3] = { -EBADF, -EBADF, -EBADF }, r = cgroup_make(cgroup, e);
	pid_t pid;

	if (r < 0)
		return r;
	pid = cgroup_fork(cgroup, CLONE_NEWNET, false, e);
	if (pid < 0)
		return pid;
	if (pid == 0)
		exec_self(lab, fds, open("/dev/null", O_RDWR | O_CLOEXEC), args);
	return net_make_switch(lab, e);
}

/* Each host has been up for another while, as real ones have; nothing may depend on equal clocks. */
static int set_clocks(unsigned int host)
{
	_cleanup_free_ char *text = xasprintf("monotonic %u %u\nboottime %u %u\n", 1009 * host,
					      123456789 % (host + 7), 2003 * host, 7654321 * (host % 100));

	return fd_write_file(AT_FDCWD, "/proc/self/timens_offsets", text);
}

struct spawn {
	const struct lab *lab;
	unsigned int host;
	int boot; /* the init's end */
	int control;
	int dir;
	int log;
};

static void exec_init(const struct spawn *s)
{
	_cleanup_free_ char *name = xasprintf("h%u", s->host);
	_cleanup_free_ char *address = lab_address(s->lab, s->host, 0);
	_cleanup_free_ char *address2 =
		lab_is_box(s->lab, s->host) ? lab_address(s->lab, s->host, 2) : xstrdup("");
	_cleanup_free_ char *scratch = host_path(s->lab, s->host, "/root");
	const char *args[] = { "godwit-lab", "lab",	  "host-init",	name,
			       address,	     address2,	  s->lab->rate, s->lab->private_root ? "1" : "0",
			       scratch,	     s->lab->bin, NULL };
	int fds[3] = { s->boot, s->control, s->dir };

	exec_self(s->lab, fds, s->log, args);
}

/*
 * The namespaces cannot all be made by one clone: a time namespace takes its offsets before anybody enters it, and
 * the root of a cgroup namespace is where its maker is. So a go-between, born in hN, makes these two; its child
 * (our child too, by CLONE_PARENT) makes the rest and is PID 1.
 */
static int spawn_init(const struct spawn *s, struct err *e)
{
	_cleanup_free_ char *outer = host_cgroup(s->lab, s->host, "");
	_cleanup_free_ char *inner = host_cgroup(s->lab, s->host, "/init");
	pid_t middle = cgroup_fork(outer, 0, false, e), pid;
	int status;

	if (middle < 0)
		return middle;
	if (middle == 0) {
		if (unshare(CLONE_NEWCGROUP | CLONE_NEWTIME) < 0 || set_clocks(s->host) < 0)
			_exit(1);
		pid = cgroup_fork(inner, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET,
				  true, e);
		if (pid == 0)
			exec_init(s);
		_exit(pid < 0 ? 2 : 0);
	}
	while (waitpid(middle, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(e, "waitpid");
	if (status)
		return err_set(e, -EPERM, "the kernel refuses %s",
			       WEXITSTATUS(status) == 1 ? "a time or cgroup namespace" : "namespaces");
	return 0;
}

/* --- booting --- */

static int write_conf(const struct lab *lab, unsigned int host, struct err *e)
{
	_cleanup_free_ char *path = host_path(lab, host, "/etc/godwit.conf");
	_cleanup_free_ char *address = lab_address(lab, host, 0);
	_cleanup_free_ char *address2 = lab_address(lab, host, 2);
	FILE *f = fopen(path, "we");

	if (!f)
		return err_errno(e, "cannot write %s", path);
	fprintf(f, "name = h%u\naddress = %s\n", host, address);
	if (lab_is_box(lab, host))
		fprintf(f, "forward = %s\n", address2);
	/* One person's machine: root is root everywhere in it. --conf root_from=none makes them strangers. */
	fputs("root_from = *\n", f);
	if (lab->trusted)
		fprintf(f, "trusted = 10.%u.%u.0/24", lab->net[0], lab->net[1]);
	if (lab->trusted && lab->boxes[0])
		fprintf(f, ", 10.%u.%u.0/24", lab->net[0], lab->net[1] + 1);
	fputc('\n', f);
	for (char **c = lab->conf; c && *c; c++)
		fprintf(f, "%s\n", *c);
	return fclose(f) ? err_errno(e, "cannot write %s", path) : 0;
}

static int make_host_dirs(const struct lab *lab, unsigned int host, struct err *e)
{
	static const char *const dirs[] = { "", "/etc", "/root" };

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		_cleanup_free_ char *path = host_path(lab, host, dirs[i]);

		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return err_errno(e, "cannot make %s", path);
	}
	return write_conf(lab, host, e);
}

static int make_host_cgroups(const struct lab *lab, unsigned int host, struct err *e)
{
	static const char *const groups[] = { "", "/init", "/exec" };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(groups); i++) {
		_cleanup_free_ char *path = host_cgroup(lab, host, groups[i]);

		r = cgroup_make(path, e);
	}
	return r;
}

static int control_address(const struct lab *lab, unsigned int host, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un) { .sun_family = AF_UNIX };
	return snprintf(a->sun_path, sizeof a->sun_path, "%s/h%u/control", lab->dir, host);
}

static int listen_control(const struct lab *lab, unsigned int host, struct err *e)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;

	(void)control_address(lab, host, &a);
	(void)unlink(a.sun_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 8) < 0)
		return err_errno(e, "%s", a.sun_path);
	return steal_fd(&fd);
}

/* Starts init of a host; *ret_boot is our end of the socket on which it reports. */
static int boot_host(const struct lab *lab, unsigned int host, int *ret_boot, struct err *e)
{
	_cleanup_fd_ int control = -EBADF, dir = -EBADF, log = -EBADF, mine = -EBADF, its = -EBADF;
	_cleanup_free_ char *path = host_path(lab, host, "");
	struct timeval limit = { .tv_sec = LAB_WAIT_US / 1000000 };
	int pair[2], r = make_host_cgroups(lab, host, e);

	if (r < 0)
		return r;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	log = openat(dir, "init.log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (log < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
	    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0)
		return err_errno(e, "%s", path);
	mine = pair[0];
	its = pair[1];
	control = listen_control(lab, host, e);
	if (control < 0)
		return control;
	r = spawn_init(&(struct spawn) { lab, host, its, control, dir, log }, e);
	if (r == 0)
		*ret_boot = steal_fd(&mine);
	return r;
}

static int expect(unsigned int host, int boot, const char *word, struct err *e)
{
	char text[1200];
	ssize_t n = recv(boot, text, sizeof text - 1, 0);

	if (n < 0 && errno == EINTR)
		return err_set(e, -EINTR, "interrupted");
	if (n < 0 && errno == EAGAIN)
		return err_set(e, -ETIMEDOUT, "host h%u does not get ready", host);
	if (n <= 0)
		return err_set(e, -EIO, "host h%u died at its start", host);
	text[n] = '\0';
	if (!strncmp(text, "error ", 6))
		return err_set(e, -EIO, "host h%u: %s", host, text + 6);
	return strcmp(text, word) ? err_set(e, -EPROTO, "host h%u says '%s'", host, text) : 0;
}

static int expect_all(unsigned int first, unsigned int last, const int *boot, const char *word, const char *answer,
		      struct err *e)
{
	int r = 0;

	for (unsigned int h = first; r == 0 && h <= last; h++)
		r = expect(h, boot[h], word, e);
	for (unsigned int h = first; r == 0 && answer && h <= last; h++)
		if (send(boot[h], answer, strlen(answer), MSG_NOSIGNAL) < 0)
			r = err_errno(e, "host h%u", h);
	return r;
}

static int boot_hosts(const struct lab *lab, unsigned int first, unsigned int last, struct err *e)
{
	int boot[LAB_HOSTS_MAX + 1], r = 0;

	for (size_t h = 0; h < ARRAY_LEN(boot); h++)
		boot[h] = -EBADF;
	for (unsigned int h = first; r == 0 && h <= last; h++)
		r = boot_host(lab, h, &boot[h], e);
	if (r == 0)
		r = expect_all(first, last, boot, "mounted", NULL, e);
	if (r == 0)
		r = net_plug(lab, first, last, e);
	for (unsigned int h = first; r == 0 && h <= last; h++)
		if (send(boot[h], "go", 2, MSG_NOSIGNAL) < 0)
			r = err_errno(e, "host h%u", h);
	if (r == 0)
		r = expect_all(first, last, boot, "up", NULL, e);
	for (unsigned int h = first; h <= last; h++)
		fd_close(&boot[h]);
	return r < 0 ? r : lab_wait_ready(lab, first, last, e);
}

static int make_lab(struct lab *lab, struct err *e)
{
	int r = cgroup_make(lab->cgroup, e);

	if (r < 0)
		return r;
	if (mkdir(lab->dir, 0700) < 0)
		return err_errno(e, "cannot make %s", lab->dir);
	r = start_switch(lab, e);
	for (unsigned int h = 1; r == 0 && h <= lab->hosts; h++)
		r = make_host_dirs(lab, h, e);
	if (r == 0)
		r = lab_make_keys(lab, e);
	if (r == 0)
		r = boot_hosts(lab, 1, lab->hosts, e);
	return r < 0 ? r : lab_save(lab, e);
}

static void interrupted(int sig)
{
	(void)sig;
}

/* Blocking calls below return EINTR on ctrl-C, which undoes everything. */
static void catch_interrupts(void)
{
	struct sigaction sa = { .sa_handler = interrupted };

	(void)sigaction(SIGINT, &sa, NULL);
	(void)sigaction(SIGTERM, &sa, NULL);
	(void)sigaction(SIGHUP, &sa, NULL);
}

int lab_up(struct lab *lab, struct err *e)
{
	struct err ignored = { 0 };
	struct lab old = *lab;
	int r;

	old.env = old.conf = NULL;
	if (lab_load(&old, &ignored) == 0 && lab_pid(lab, 0))
		return err_set(e, -EEXIST, "lab '%s' is up already: godwit lab --prefix %s down", lab->prefix,
			       lab->prefix);
	r = lab_remove(lab, e);
	if (r < 0)
		return r;
	catch_interrupts();
	r = make_lab(lab, e);
	if (r == 0)
		return 0;
	if (lab_remove(lab, &ignored) < 0)
		log_warn("%s", err_text(&ignored));
	else
		lab_unlink_lock(lab);
	return r;
}

/* First the cable, so that not even a reset of a dying connection gets out; then everything at once. Also of a
 * host that is dead in part, because somebody killed its init. */
static int clear_host(struct lab *lab, unsigned int host, struct err *e)
{
	_cleanup_free_ char *cgroup = host_cgroup(lab, host, "");
	struct err ignored = { 0 };
	int r;

	if (net_unplug(lab, host, &ignored) < 0)
		log_debug("%s", err_text(&ignored));
	r = cgroup_kill(cgroup, e);
	return r < 0 ? r : cgroup_remove(cgroup, e);
}

int lab_start_host(struct lab *lab, unsigned int host, struct err *e)
{
	int r;

	if (lab_pid(lab, host))
		return err_set(e, -EALREADY, "h%u runs already", host);
	r = clear_host(lab, host, e);
	return r < 0 ? r : boot_hosts(lab, host, host, e);
}

int lab_stop_host(struct lab *lab, unsigned int host, struct err *e)
{
	if (!lab_pid(lab, host))
		return err_set(e, -ESRCH, "h%u is off already", host);
	return clear_host(lab, host, e);
}

int lab_ask_init(const struct lab *lab, unsigned int host, const char *line, char **env, char *reply, size_t len,
		 struct err *e)
{
	_cleanup_fd_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct timeval limit = { .tv_sec = LAB_WAIT_US / 1000000 };
	char text[8192];
	size_t used = (size_t)snprintf(text, sizeof text, "%s", line);
	struct sockaddr_un a;
	ssize_t n;

	(void)control_address(lab, host, &a);
	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
		return err_errno(e, "h%u does not run", host);
	for (; env && *env; env++) {
		used += (size_t)snprintf(text + used, sizeof text - used, "\n%s", *env);
		if (used >= sizeof text)
			return err_set(e, -E2BIG, "too many variables");
	}
	if (send(fd, text, used, MSG_NOSIGNAL) < 0)
		return err_errno(e, "h%u", host);
	n = recv(fd, reply, len - 1, 0);
	if (n <= 0)
		return err_set(e, -EIO, "h%u does not answer", host);
	reply[n] = '\0';
	return strncmp(reply, "error ", 6) ? 0 : err_set(e, -EIO, "h%u: %s", host, reply + 6);
}
