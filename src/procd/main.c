/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "procd/jobs.h"
#include "procd/migrate.h"
#include "procd/procd.h"
#include "procd/rpc.h"

static const struct argp argp = {
	.doc = "The process server: starts, watches and moves jobs. See procd(8).",
};

static int find_programs(struct procd *p, struct err *e)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	if (n < 0)
		return err_errno(e, "cannot read /proc/self/exe");
	path[n] = '\0';
	p->programs = xstrdup(dirname(path));
	return 0;
}

static int read_boot_id(struct procd *p, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ char *kept = xasprintf("%s/boot", p->settings.run_dir);
	_cleanup_fd_ int fd = -EBADF;
	uint8_t random[16];

	/* Not the kernel's boot id: on a host that is a namespace (a lab) /run can end before the kernel does, and
	 * it is /run that holds the journal. */
	if (fd_slurp(AT_FDCWD, kept, sizeof p->boot - 1, &text) == 32) {
		(void)snprintf(p->boot, sizeof p->boot, "%s", text);
		return 0;
	}
	randombytes_buf(random, sizeof random);
	(void)sodium_bin2hex(p->boot, sizeof p->boot, random, sizeof random);
	fd = open(kept, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, "cannot create %s", kept);
	return fd_write_full(fd, p->boot, 32) < 0 ? err_errno(e, "cannot write %s", kept) : 0;
}

static int open_state(struct procd *p, struct err *e)
{
	_cleanup_free_ char *journal = xasprintf("%s/journal", p->settings.run_dir);
	int r;

	if (mkdir(p->settings.run_dir, 0755) < 0 && errno != EEXIST)
		return err_errno(e, "cannot make %s", p->settings.run_dir);
	p->jobs_dir = xasprintf("%s/jobs", p->settings.run_dir);
	r = read_boot_id(p, e);
	if (!r)
		r = journal_open(&p->journal, journal, e);
	if (!r)
		r = cgroups_open(&p->cgroups, p->settings.cgroup, e);
	if (!r)
		r = jobs_load(p, e);
	if (!r)
		migrate_recover_rest(p);
	return r;
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct procd *p = handle->data;

	log_info("signal %d: ending; jobs go on", number);
	uv_stop(p->loop);
}

static void set_up_signals(struct procd *p)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)uv_signal_init(p->loop, &p->on_term);
	(void)uv_signal_init(p->loop, &p->on_int);
	p->on_term.data = p;
	p->on_int.data = p;
	(void)uv_signal_start(&p->on_term, on_signal, SIGTERM);
	(void)uv_signal_start(&p->on_int, on_signal, SIGINT);
}

int main(int argc, char **argv)
{
	static struct procd procd;
	struct procd *p = &procd;
	struct err e = { 0 };
	int r;

	log_open("procd");
	if (argp_parse(&argp, argc, argv, 0, NULL, NULL))
		return 2;
	if (geteuid() != 0 || sodium_init() < 0) {
		log_error("must be started as root");
		return 1;
	}
	p->loop = uv_default_loop();
	p->cgroups.dir = -EBADF;
	r = settings_load(&p->settings, &e);
	if (!r)
		r = find_programs(p, &e);
	if (!r)
		r = open_state(p, &e);
	if (r < 0) {
		log_error("%s", err_text(&e));
		return 1;
	}
	set_up_signals(p);
	rpc_open(p);
	(void)uv_run(p->loop, UV_RUN_DEFAULT);
	rpc_close(p);
	journal_close(&p->journal);
	return 0;
}
