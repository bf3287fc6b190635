/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/jobs.h"
#include "cli/rpc.h"

struct args {
	const char *job;
	const char *host;
	bool carry;
	bool json;
};

static const struct argp_option options[] = {
	{ "carry", 'c', NULL, 0, "suppose that local files it writes to are carried along", 0 },
	{ "json", 'j', NULL, 0, "one object: job, destination, can_move, problems", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'c':
		a->carry = true;
		return 0;
	case 'j':
		a->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 1)
			argp_error(state, "'%s' is one argument too many", arg);
		*(state->arg_num ? &a->host : &a->job) = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which job?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "JOB|PID [HOST]",
	.doc = "Says what would stop a job from moving (to HOST, if given). Nothing is stopped or changed. Exit "
	       "status 0 if "
	       "it can move, 3 if something is in the way.",
};

static int show(const struct args *a, const char *job, const cli_reply *reply)
{
	json_t *o;

	if (a->json) {
		o = json_pack("{s:s, s:s?, s:b, s:o}", "job", job, "destination", a->host, "can_move",
			      !reply->n_problems, "problems", problems_json(reply->n_problems, reply->problems));
		if (cli_print_json(o))
			return CLI_FAILED;
	} else if (!reply->n_problems) {
		printf("%s can move%s%s\n", job, a->host ? " to " : "", a->host ? a->host : "");
	} else {
		fprintf(stderr, "%s cannot move%s%s:\n", job, a->host ? " to " : "", a->host ? a->host : "");
		cli_print_problems(reply);
	}
	return reply->n_problems ? CLI_REFUSED : CLI_OK;
}

int cmd_check(int argc, char **argv)
{
	static char any[] = "";
	Godwit__Procd__Check check = GODWIT__PROCD__CHECK__INIT;
	CLI_REQUEST(req, CHECK, check, &check);
	_cleanup_free_ char *job = NULL, *port = NULL, *host = NULL;
	_cleanup_reply_ cli_reply *reply = NULL;
	struct args a = { 0 };
	struct err e = { 0 };
	struct cli c;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	r = cli_open(&c, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, "check: %s", err_text(&e));
	r = cli_job_arg(&c, a.job, true, a.carry, &job, &e);
	if (r < 0)
		return cli_fail_call(a.job, r, &e);
	host = a.host ? xstrdup(a.host) : NULL;
	port = cli_port_job(job);
	check.destination = host ? host : any;
	check.carry = a.carry;
	r = cli_call(&c, port, &req, &reply, &e);
	cli_close(&c);
	if (r == 0 && reply->code < 0 && !reply->n_problems)
		r = err_set(&e, reply->code, "%s", reply->text);
	return r < 0 ? cli_fail_call(job, r, &e) : show(&a, job, reply);
}
