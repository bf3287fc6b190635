/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "cli/lab.h"

static int enter_netns(pid_t pid)
{
	_cleanup_fd_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 || setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

static void run_tool(const char *tool, pid_t pid, int in, int out)
{
	char *path;

	if (pid && enter_netns(pid) < 0)
		_exit(126);
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
		_exit(126);
	/* Where `ip` is, even for those who have become root with their old PATH. */
	path = xasprintf("%s:/usr/sbin:/sbin", getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	(void)setenv("PATH", path, 1);
	execlp(tool, tool, "-batch", "-", NULL);
	_exit(127);
}

/* The script is small (a few lines a host), so that it fits into the pipe and nobody has to feed it. */
int net_batch(const char *tool, pid_t pid, const char *script, struct err *e)
{
	int in[2] = { -EBADF, -EBADF }, out[2] = { -EBADF, -EBADF }, status = 0;
	char text[600];
	size_t used = 0;
	ssize_t n;
	pid_t child;

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return err_errno(e, "pipe");
	child = fork();
	if (child < 0)
		return err_errno(e, "fork");
	if (child == 0)
		run_tool(tool, pid, in[0], out[1]);
	fd_close(&in[0]);
	fd_close(&out[1]);
	if (fd_write_full(in[1], script, strlen(script)) < 0)
		log_debug("%s does not take its script", tool);
	fd_close(&in[1]);
	while ((n = read(out[0], text + used, sizeof text - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	fd_close(&out[0]);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return err_set(e, -ENOENT, "'%s' is not installed (Debian: iproute2)", tool);
	if (status)
		return err_set(e, -EIO, "%s: %s", tool, text);
	return 0;
}

int net_make_switch(const struct lab *lab, struct err *e)
{
	_cleanup_free_ char *script = xasprintf("link set lo up\n"
						"link add %s-br type bridge mcast_snooping 0\n"
						"link set %s-br up\n",
						lab->prefix, lab->prefix);
	_cleanup_free_ char *second = xasprintf("link add %s-b2 type bridge mcast_snooping 0\n"
						"link set %s-b2 up\n",
						lab->prefix, lab->prefix);
	int r = net_batch("ip", lab_pid(lab, 0), script, e);

	return r < 0 || !lab->boxes[0] ? r : net_batch("ip", lab_pid(lab, 0), second, e);
}

static int set_rate(const struct lab *lab, pid_t pid, const char *device, struct err *e)
{
	_cleanup_free_ char *script = NULL;

	if (!*lab->rate)
		return 0;
	script = xasprintf("qdisc add dev %s root tbf rate %s burst 32kb latency 100ms\n", device, lab->rate);
	return net_batch("tc", pid, script, e);
}

/* A cable from a bridge to the host's eth0 or eth1. */
static int plug(const struct lab *lab, unsigned int host, bool second, struct err *e)
{
	bool far = second || (lab->boxes[0] && host > lab->boxes[1]);
	_cleanup_free_ char *port = xasprintf("%s-%c%u", lab->prefix, second ? 'k' : 'h', host);
	/* A host that is switched off and on again keeps its hardware address, as real ones do. */
	_cleanup_free_ char *script =
		xasprintf("link add %s type veth peer name eth%d address 02:67:%02x:%02x:%02x:%02x netns %d\n"
			  "link set %s master %s-b%c\n"
			  "link set %s up\n",
			  port, second, lab->net[0], lab->net[1], second, host, (int)lab_pid(lab, host), port,
			  lab->prefix, far ? '2' : 'r', port);
	pid_t sw = lab_pid(lab, 0);
	int r = net_batch("ip", sw, script, e);

	return r < 0 ? r : set_rate(lab, sw, port, e);
}

int net_plug(const struct lab *lab, unsigned int first, unsigned int last, struct err *e)
{
	for (unsigned int h = first; h <= last; h++) {
		int r = plug(lab, h, false, e);

		if (r == 0 && lab_is_box(lab, h))
			r = plug(lab, h, true, e);
		if (r < 0)
			return err_wrap(e, "host h%u", h);
	}
	return 0;
}

int net_unplug(const struct lab *lab, unsigned int host, struct err *e)
{
	_cleanup_free_ char *script = xasprintf("link del %s-h%u\n", lab->prefix, host);
	_cleanup_free_ char *second = xasprintf("link del %s-k%u\n", lab->prefix, host);
	int r = net_batch("ip", lab_pid(lab, 0), script, e);

	return r < 0 || !lab_is_box(lab, host) ? r : net_batch("ip", lab_pid(lab, 0), second, e);
}

/*
 * The bridge has not learned where a deaf or mute host is. So what others send it goes to every port that takes
 * what is for nobody in particular, and a deaf host's port does not; a mute host's port is locked (Linux 5.16),
 * which means that it takes nothing from senders that were not learned there.
 */
int net_set_link(const struct lab *lab, unsigned int host, const char *how, struct err *e)
{
	static const struct {
		const char *how, *state, *options;
	} ways[] = {
		{ "up", "up", "learning on flood on mcast_flood on bcast_flood on locked off" },
		{ "down", "down", "learning on flood on mcast_flood on bcast_flood on locked off" },
		{ "deaf", "up", "learning off flood off mcast_flood off bcast_flood off locked off fdb_flush" },
		{ "mute", "up", "learning off flood on mcast_flood on bcast_flood on locked on fdb_flush" },
	};

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		_cleanup_free_ char *script = NULL;

		if (strcmp(ways[i].how, how) != 0)
			continue;
		script = xasprintf("link set %s-h%u type bridge_slave %s\nlink set %s-h%u %s\n", lab->prefix, host,
				   ways[i].options, lab->prefix, host, ways[i].state);
		return net_batch("ip", lab_pid(lab, 0), script, e);
	}
	return err_set(e, -EINVAL, "a link is 'up', 'down', 'deaf' or 'mute', not '%s'", how);
}

/* The route lets a program multicast without naming an interface. */
int net_configure(const char *address, const char *address2, const char *rate, struct err *e)
{
	_cleanup_free_ char *second = xasprintf("addr add %s/24 brd + dev eth1\nlink set eth1 up\n", address2);
	_cleanup_free_ char *script = xasprintf("link set lo up\n"
						"addr add %s/24 brd + dev eth0\n"
						"link set eth0 up\n"
						"route add 224.0.0.0/4 dev eth0\n",
						address);
	struct lab self = { 0 };
	int r = net_batch("ip", 0, script, e);

	snprintf(self.rate, sizeof self.rate, "%s", rate);
	if (r == 0 && *address2)
		r = net_batch("ip", 0, second, e);
	if (r == 0 && *address2)
		r = set_rate(&self, 0, "eth1", e);
	return r < 0 ? r : set_rate(&self, 0, "eth0", e);
}
