/* SPDX-License-Identifier: Apache-2.0 */
/* Which hosts there are, and which job an argument means. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/util.h"
#include "cli/rpc.h"

#define HOSTS_MAX 4096

struct names {
	char **name; /* NULL-terminated */
	size_t n;
	bool done;
};

static void names_add(struct names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (!strcmp(names->name[i], name))
			return;
	if (names->n >= HOSTS_MAX)
		return;
	names->name = xrealloc(names->name, (names->n + 2) * sizeof *names->name);
	names->name[names->n++] = xstrdup(name);
	names->name[names->n] = NULL;
}

/* "name pubkey" lines; a comment begins with '#'. Who may not read the file sees the hosts that are alive. */
static void add_configured(struct names *names)
{
	const char *etc = getenv("GODWIT_ETC");
	_cleanup_free_ char *path = xasprintf("%s/hosts", etc ? etc : "/etc/godwit");
	_cleanup_free_ char *text = NULL;
	char *save = NULL;

	if (fd_slurp(AT_FDCWD, path, 1 << 20, &text) < 0)
		return;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		line += strspn(line, " \t");
		line[strcspn(line, " \t")] = '\0';
		if (*line && *line != '#' && strlen(line) < GW_HOST_MAX)
			names_add(names, line);
	}
}

static void on_hosts(void *arg, int result, const struct gwc_host *hosts, size_t n)
{
	struct names *names = arg;

	names->done = true;
	for (size_t i = 0; result == 0 && i < n; i++)
		if (hosts[i].self || hosts[i].alive)
			names_add(names, hosts[i].name);
}

int cli_hosts(struct cli *c, char ***ret_names, size_t *ret_n, struct err *e)
{
	struct names names = { 0 };
	int r;

	add_configured(&names);
	r = gwc_hosts(c->gwc, on_hosts, &names);
	if (r == 0)
		r = cli_wait_flipd(c->gwc, &names.done);
	if (r < 0) {
		cli_hosts_free(&names.name);
		return err_code(e, r, "flipd");
	}
	*ret_names = names.name;
	*ret_n = names.n;
	return 0;
}

void cli_hosts_free(char ***names)
{
	for (size_t i = 0; *names && (*names)[i]; i++)
		free((*names)[i]);
	free(*names);
	*names = NULL;
}

static bool is_pid(const char *arg)
{
	for (const char *c = arg; *c; c++)
		if (!isdigit((unsigned char)*c))
			return false;
	return *arg && strlen(arg) < 10;
}

static int find_by_pid(struct cli *c, const char *port, int pid, char **ret_job, struct err *e)
{
	Godwit__Procd__List list = GODWIT__PROCD__LIST__INIT;
	_cleanup_reply_ cli_reply *reply = NULL;
	CLI_REQUEST(req, LIST, list, &list);
	int r = cli_ask(c, port, &req, &reply, e);

	if (r < 0)
		return r;
	if (reply->result_case != GODWIT__PROCD__REPLY__RESULT_JOBS)
		return err_set(e, -EPROTO, "procd answers something else");
	for (size_t i = 0; i < reply->jobs->n_jobs; i++)
		if (reply->jobs->jobs[i]->pid == pid)
			*ret_job = xstrdup(reply->jobs->jobs[i]->name);
	return *ret_job ? 0 : -ESRCH;
}

int cli_job_arg(struct cli *c, const char *arg, bool adopt, bool carry, char **ret_job, struct err *e)
{
	_cleanup_free_ char *port = cli_port_host(c->host);
	_cleanup_reply_ cli_reply *reply = NULL;
	Godwit__Procd__Adopt message = GODWIT__PROCD__ADOPT__INIT;
	CLI_REQUEST(req, ADOPT, adopt, &message);
	int r;

	*ret_job = NULL;
	if (!is_pid(arg)) {
		*ret_job = xstrdup(arg);
		return 0;
	}
	r = find_by_pid(c, port, atoi(arg), ret_job, e);
	if (r != -ESRCH)
		return r;
	if (!adopt)
		return err_set(e, -ESRCH, "pid %s of this host is no job's", arg);
	message.pid = atoi(arg);
	message.carry = carry;
	r = cli_ask(c, port, &req, &reply, e);
	if (r < 0)
		return err_wrap(e, "pid %s", arg);
	if (reply->result_case != GODWIT__PROCD__REPLY__RESULT_STARTED)
		return err_set(e, -EPROTO, "procd answers something else");
	*ret_job = xstrdup(reply->started->name);
	return 0;
}
