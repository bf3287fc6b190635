/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/rpc.h"

struct args {
	char *job;
	bool here;
	bool there;
};

static const struct argp_option options[] = {
	{ "here", 'h' + 256, NULL, 0, "the copy on this host is the job from now on", 0 },
	{ "there", 't' + 256, NULL, 0, "the copy on this host is given up: the other one is the job", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'h' + 256:
		a->here = true;
		return 0;
	case 't' + 256:
		a->there = true;
		return 0;
	case ARGP_KEY_ARG:
		if (a->job)
			argp_error(state, "one job at a time");
		a->job = arg;
		return 0;
	case ARGP_KEY_END:
		if (!a->job || a->here == a->there)
			argp_error(state, "say which job, and either --here or --there");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "JOB --here|--there",
	.doc = "Decides about a job that is in doubt, because its source and its destination lost each other in "
	       "the middle of "
	       "the commit and one of them is gone for good. If it is not, both copies may run: wait instead.",
};

int cmd_resolve(int argc, char **argv)
{
	Godwit__Procd__Outcome outcome = GODWIT__PROCD__OUTCOME__INIT;
	CLI_REQUEST(req, OUTCOME, outcome, &outcome);
	_cleanup_reply_ cli_reply *reply = NULL;
	_cleanup_free_ char *port = NULL;
	struct args a = { 0 };
	struct err e = { 0 };
	struct cli c;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	if (cli_open(&c, &e) < 0)
		return cli_fail(CLI_FAILED, "resolve: %s", err_text(&e));
	outcome.job = a.job;
	outcome.here = a.here;
	port = cli_port_host(c.host);
	r = cli_ask(&c, port, &req, &reply, &e);
	cli_close(&c);
	return r < 0 ? cli_fail_call(a.job, r, &e) : CLI_OK;
}
