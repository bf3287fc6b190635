/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/front.h"
#include "cli/term.h"

extern char **environ;

struct args {
	char *name;
	const char *host;
	bool detach;
	const char *owner;
	bool carry;
	bool keep;
	bool json;
	char **command;
	size_t n;
};

static const struct argp_option options[] = {
	{ "name", 'n', "NAME", 0, "the job's name, unique in the cluster (default: made from the command)", 0 },
	{ "host", 'H', "HOST", 0, "where it starts (default: this host)", 0 },
	{ "detach", 'd', NULL, 0,
	  "print the job's name and leave it alone; its input is empty, its output is kept", 0 },
	{ "carry", 'c', NULL, 0, "local files that it writes to may be carried along when it moves", 0 },
	{ "owner", 'o', "PORT", 0, "whoever serves that port hears when it is stunned or ends", 0 },
	{ "keep", 'k', NULL, 0, "keep its name, status and output when it has ended", 0 },
	{ "json", 'j', NULL, 0, "with -d: one object: job, host", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'n':
		a->name = arg;
		return 0;
	case 'H':
		a->host = arg;
		return 0;
	case 'd':
		a->detach = true;
		return 0;
	case 'c':
		a->carry = true;
		return 0;
	case 'o':
		a->owner = arg;
		return 0;
	case 'k':
		a->keep = true;
		return 0;
	case 'j':
		a->json = true;
		return 0;
	case ARGP_KEY_ARG: /* the command begins; the rest is its own */
		a->command = state->argv + state->next - 1;
		a->n = (size_t)(state->argc - state->next + 1);
		state->next = state->argc;
		return 0;
	case ARGP_KEY_END:
		if (!a->n)
			argp_error(state, "say what to run");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "-- COMMAND [ARG...]",
	.doc = "Runs a command as a job: a program that can be moved to another host while it runs. Standard "
	       "input and output, "
	       "or the terminal, stay here, wherever the job is.\v"
	       "The exit status is the command's, or 128 + N if signal N killed it; 125 if godwit could not start "
	       "it, 126 if "
	       "it cannot be executed, 127 if it was not found.",
};

/* --- what the job inherits from us --- */

#define GROUPS_MAX 1024

static void describe_user(Godwit__Procd__Exec *x, uint32_t groups[GROUPS_MAX])
{
	gid_t list[GROUPS_MAX];
	int n = getgroups(GROUPS_MAX, list);
	mode_t mask = umask(0);

	(void)umask(mask);
	for (int i = 0; i < n; i++)
		groups[i] = list[i];
	x->uid = geteuid();
	x->gid = getegid();
	x->groups = groups;
	x->n_groups = n > 0 ? (size_t)n : 0;
	x->umask = mask;
	errno = 0;
	x->nice = getpriority(PRIO_PROCESS, 0);
}

static void describe_limits(Godwit__Procd__Exec *x, Godwit__Procd__Limit limits[RLIM_NLIMITS],
			    Godwit__Procd__Limit *pointers[RLIM_NLIMITS])
{
	x->limits = pointers;
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit l;

		if (getrlimit((__rlimit_resource_t)i, &l) < 0)
			continue;
		pointers[x->n_limits] = &limits[x->n_limits];
		limits[x->n_limits] = (Godwit__Procd__Limit)GODWIT__PROCD__LIMIT__INIT;
		limits[x->n_limits].resource = (uint32_t)i;
		limits[x->n_limits].soft = l.rlim_cur;
		limits[x->n_limits++].hard = l.rlim_max;
	}
}

static int start(struct cli *c, const struct args *a, cli_reply **ret, struct err *e)
{
	Godwit__Procd__Limit limits[RLIM_NLIMITS], *pointers[RLIM_NLIMITS];
	Godwit__Procd__Terminal terminal = GODWIT__PROCD__TERMINAL__INIT;
	Godwit__Procd__Exec x = GODWIT__PROCD__EXEC__INIT;
	CLI_REQUEST(req, EXEC, exec, &x);
	const char *host = a->host ? a->host : c->host;
	_cleanup_free_ char *port = cli_port_host(host);
	uint32_t groups[GROUPS_MAX];
	char cwd[PATH_MAX];
	int r;

	if (!getcwd(cwd, sizeof cwd))
		return err_errno(e, "current directory");
	x.argv = a->command;
	x.n_argv = a->n;
	x.env = environ;
	while (environ[x.n_env])
		x.n_env++;
	x.cwd = cwd;
	if (a->name)
		x.name = a->name;
	describe_user(&x, groups);
	describe_limits(&x, limits, pointers);
	x.carry = a->carry;
	if (a->owner)
		x.owner = (char *)(uintptr_t)a->owner;
	x.attach = !a->detach;
	x.no_input = a->detach;
	if (!a->detach && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
		term_describe(STDIN_FILENO, &terminal);
		x.terminal = &terminal;
	}
	r = cli_ask(c, port, &req, ret, e);
	free(terminal.termios.data);
	if (r == -ESRCH)
		return err_set(e, -EHOSTUNREACH, "host %s does not answer (`godwit hosts` lists those that do)",
			       host);
	if (r == -EIO)
		return err_wrap(e, "it is not known whether it was started (see `godwit ps`)");
	if (r < 0)
		return r;
	if ((*ret)->result_case != GODWIT__PROCD__REPLY__RESULT_STARTED)
		return err_set(e, -EPROTO, "procd answers something else");
	return 0;
}

/* The job has ended and everything of it has been delivered here: nobody needs it any more. */
static void forget(struct cli *c, const char *job)
{
	Godwit__Procd__Remove remove = GODWIT__PROCD__REMOVE__INIT;
	CLI_REQUEST(req, REMOVE, remove, &remove);
	_cleanup_free_ char *port = cli_port_job(job);
	_cleanup_reply_ cli_reply *reply = NULL;

	if (cli_call(c, port, &req, &reply, NULL) < 0)
		return; /* it keeps its name a while longer */
}

static int print_started(const struct args *a, const struct cli *c, const char *job)
{
	if (a->json)
		return cli_print_json(json_pack("{s:s, s:s}", "job", job, "host", a->host ? a->host : c->host));
	puts(job);
	return fflush(stdout) ? cli_fail(CLI_RUN_FAILED, "cannot write to standard output") : CLI_OK;
}

int cmd_run(int argc, char **argv)
{
	_cleanup_reply_ cli_reply *reply = NULL;
	struct args a = { 0 };
	struct err e = { 0 };
	struct cli c;
	int r;

	(void)argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &a);
	r = cli_open(&c, &e);
	if (r == 0)
		r = start(&c, &a, &reply, &e);
	if (r < 0)
		return cli_fail(CLI_RUN_FAILED, "run: %s", err_text(&e));
	if (a.detach) {
		r = print_started(&a, &c, reply->started->name);
		cli_close(&c);
		return r;
	}
	if (!reply->started->attached)
		return cli_fail(CLI_RUN_FAILED, "run: %s was started, but not attached", reply->started->name);
	r = front_run(&c, reply->started->name, reply->started->attached, -1, &e);
	if (r >= 0 && !a.keep)
		forget(&c, reply->started->name);
	cli_close(&c);
	if (r == -ECONNABORTED)
		return 128 + SIGHUP;
	return r < 0 ? cli_fail(CLI_RUN_FAILED, "%s: %s", reply->started->name, err_text(&e)) : r;
}
