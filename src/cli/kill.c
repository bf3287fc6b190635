/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/rpc.h"

struct args {
	const char *job;
	int signal;
	bool all;
};

static const struct argp_option options[] = {
	{ "signal", 's', "SIGNAL", 0, "TERM (which is the default), SIGTERM or 15; also written -TERM, -15", 0 },
	{ "all", 'a', NULL, 0, "to every process of the job, not only to its first", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 's':
		a->signal = cli_signal_number(arg);
		if (!a->signal)
			argp_error(state, "there is no signal '%s'", arg);
		return 0;
	case 'a':
		a->all = true;
		return 0;
	default:
		return cli_parse_job(key, arg, state, &a->job);
	}
}

static const struct argp argp = { .options = options,
				  .parser = parse,
				  .args_doc = "[-SIGNAL] JOB",
				  .doc = "Sends a signal to a job, wherever it is." };

/* kill's own way to name a signal, "-KILL" or "-9", is not one that option parsers know. */
static void rewrite_signal(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		const char *name = argv[i] + 1;

		if (argv[i][0] == '-' && (isdigit((unsigned char)*name) || isupper((unsigned char)*name)))
			argv[i] = xasprintf("--signal=%s", name);
	}
}

int cmd_kill(int argc, char **argv)
{
	Godwit__Procd__Signal message = GODWIT__PROCD__SIGNAL__INIT;
	CLI_REQUEST(req, SIGNAL, signal, &message);
	_cleanup_reply_ cli_reply *reply = NULL;
	_cleanup_free_ char *port = NULL;
	struct args a = { .signal = SIGTERM };
	struct err e = { 0 };
	struct cli c;
	int r;

	rewrite_signal(argc, argv);
	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	if (cli_open(&c, &e) < 0)
		return cli_fail(CLI_FAILED, "kill: %s", err_text(&e));
	message.signal = a.signal;
	message.all = a.all;
	port = cli_port_job(a.job);
	r = cli_ask(&c, port, &req, &reply, &e);
	cli_close(&c);
	return r < 0 ? cli_fail_call(a.job, r, &e) : CLI_OK;
}
