/* SPDX-License-Identifier: Apache-2.0 */
/* A lab is up when on each of its hosts every running host's process server answers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/lab.h"
#include "cli/rpc.h"

#define PAUSE_US 10000u

static int connect_patiently(struct cli *c, uint64_t deadline, struct err *e)
{
	int r;

	while ((r = cli_open(c, e)) < 0 && now_us() < deadline)
		(void)usleep(PAUSE_US);
	return r;
}

/* One round: asks everybody, and closes the gaps in the list of those that have not answered. */
static int ask_round(struct cli *c, char **names, size_t *n, struct err *e)
{
	Godwit__Procd__Load load = GODWIT__PROCD__LOAD__INIT;
	CLI_REQUEST(req, LOAD, load, &load);
	cli_reply *replies[LAB_HOSTS_MAX] = { 0 };
	struct err errs[LAB_HOSTS_MAX];
	size_t left = 0;
	int r = cli_ask_hosts(c, names, *n, &req, replies, errs, e);

	for (size_t i = 0; i < *n; i++) {
		if (!replies[i])
			names[left++] = names[i];
		cli_reply_free(&replies[i]);
	}
	*n = left;
	return r;
}

/* `godwit lab ready HOST...`: inside a host, until all of them answer. */
int lab_ready(int argc, char **argv)
{
	uint64_t deadline = now_us() + LAB_WAIT_US;
	size_t n = (size_t)argc;
	struct err e = { 0 };
	struct cli c;
	int r = n > LAB_HOSTS_MAX ? -E2BIG : connect_patiently(&c, deadline, &e);

	while (r == 0 && n && now_us() < deadline) {
		r = ask_round(&c, argv, &n, &e);
		if (r == -ECONNRESET || r == -ENOTCONN)
			r = connect_patiently(&c, deadline, &e);
		if (n)
			(void)usleep(PAUSE_US);
	}
	if (r < 0)
		return cli_fail(CLI_FAILED, "lab: %s", err_text(&e));
	return n ? cli_fail(CLI_FAILED, "lab: %s does not answer", argv[0]) : CLI_OK;
}

int lab_wait_ready(const struct lab *lab, unsigned int first, unsigned int last, struct err *e)
{
	char *args[LAB_HOSTS_MAX + 4] = { xstrdup("godwit"), xstrdup("lab"), xstrdup("ready") };
	size_t n = 3;
	int r = 0;

	for (unsigned int h = 1; h <= lab->hosts; h++)
		if (lab_daemon_pid(lab, h, "procd"))
			args[n++] = xasprintf("h%u", h);
	for (unsigned int h = first; r == 0 && n > 3 && h <= last; h++) {
		if (!lab_daemon_pid(lab, h, "procd"))
			continue;
		r = lab_exec_quiet(lab, h, args, e);
		if (r > 0)
			r = err_set(e, -ETIMEDOUT, "not everybody answers h%u: see the logs in %s", h, lab->dir);
	}
	for (size_t i = 0; i < n; i++)
		free(args[i]);
	return r;
}
