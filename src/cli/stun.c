/* SPDX-License-Identifier: Apache-2.0 */
/* stun, resume, setowner: all three are one request about one job. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/rpc.h"

struct args {
	const char *job, *port;
	bool emergency, takes_port;
};

static const struct argp_option stun_options[] = {
	{ "emergency", 'e', NULL, 0, "in any case, even if its state cannot be described", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'e':
		a->emergency = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > (a->takes_port ? 1U : 0U))
			argp_error(state, "'%s' is one argument too many", arg);
		*(state->arg_num ? &a->port : &a->job) = arg;
		return 0;
	case ARGP_KEY_END:
		if (!a->job)
			argp_error(state, "which job?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int ask(const struct args *a, const char *what, const cli_request *req)
{
	_cleanup_reply_ cli_reply *reply = NULL;
	_cleanup_free_ char *port = cli_port_job(a->job);
	struct err e = { 0 };
	struct cli c;
	int r;

	if (cli_open(&c, &e) < 0)
		return cli_fail(CLI_FAILED, "%s: %s", what, err_text(&e));
	r = cli_call(&c, port, req, &reply, &e);
	cli_close(&c);
	if (r == 0 && reply->n_problems && reply->code) {
		fprintf(stderr, "%s cannot be stunned in good order:\n", a->job);
		cli_print_problems(reply);
		return CLI_REFUSED;
	}
	if (r == 0 && reply->code < 0)
		r = err_set(&e, reply->code, "%s", reply->text);
	return r < 0 ? cli_fail_call(a->job, r, &e) : CLI_OK;
}

static const struct argp stun_argp = {
	.options = stun_options,
	.parser = parse,
	.args_doc = "JOB",
	.doc = "Stops a job, wherever it is, until `godwit resume`. Its owner, if it has one (`godwit setowner`), "
	       "gets "
	       "the checkpoint message and says what comes next.",
};

int cmd_stun(int argc, char **argv)
{
	Godwit__Procd__Stun message = GODWIT__PROCD__STUN__INIT;
	CLI_REQUEST(req, STUN, stun, &message);
	struct args a = { 0 };

	(void)argp_parse(&stun_argp, argc, argv, 0, NULL, &a);
	message.emergency = a.emergency;
	return ask(&a, "stun", &req);
}

static const struct argp resume_argp = { .parser = parse, .args_doc = "JOB", .doc = "Lets a stunned job go on." };

int cmd_resume(int argc, char **argv)
{
	Godwit__Procd__ResumeJob message = GODWIT__PROCD__RESUME_JOB__INIT;
	CLI_REQUEST(req, RESUME, resume, &message);
	struct args a = { 0 };

	(void)argp_parse(&resume_argp, argc, argv, 0, NULL, &a);
	return ask(&a, "resume", &req);
}

static const struct argp owner_argp = {
	.parser = parse,
	.args_doc = "JOB [PORT]",
	.doc = "Makes the server of the port named PORT the job's owner: it hears of every stun, gets the "
	       "checkpoint "
	       "message, and says resume or kill. Without PORT the job has no owner.",
};

int cmd_setowner(int argc, char **argv)
{
	static char nobody[] = "";
	Godwit__Procd__SetOwner message = GODWIT__PROCD__SET_OWNER__INIT;
	CLI_REQUEST(req, SET_OWNER, set_owner, &message);
	struct args a = { .takes_port = true };

	(void)argp_parse(&owner_argp, argc, argv, 0, NULL, &a);
	message.port = a.port ? (char *)(uintptr_t)a.port : nobody;
	return ask(&a, "setowner", &req);
}
