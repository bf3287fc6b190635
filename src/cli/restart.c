/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/rpc.h"

struct args {
	const char *dir, *host, *name;
	bool json;
};

static const struct argp_option options[] = {
	{ "host", 'H', "HOST", 0, "where the job is to run (default: this host); the image is read on this one",
	  0 },
	{ "name", 'n', "NAME", 0, "call the job that", 0 },
	{ "json", 'j', NULL, 0, "one object: job, host", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'H':
		a->host = arg;
		return 0;
	case 'n':
		a->name = arg;
		return 0;
	case 'j':
		a->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (a->dir)
			argp_error(state, "one image at a time");
		a->dir = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which image?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "DIR",
	.doc = "Makes a new job out of the image DIR and prints its name: the one it had, or another if there is "
	       "a "
	       "job of that name. Its output is there for `godwit attach` and `godwit logs`.",
};

int cmd_restart(int argc, char **argv)
{
	static char any[] = "";
	Godwit__Procd__Restart message = GODWIT__PROCD__RESTART__INIT;
	CLI_REQUEST(req, RESTART, restart, &message);
	_cleanup_reply_ cli_reply *reply = NULL;
	_cleanup_free_ char *port = NULL, *path = NULL;
	struct args a = { 0 };
	struct err e = { 0 };
	struct cli c;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	path = cli_absolute(a.dir);
	r = cli_open(&c, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, "restart: %s", err_text(&e));
	message.path = path;
	message.name = a.name ? (char *)(uintptr_t)a.name : any;
	message.destination = a.host ? (char *)(uintptr_t)a.host : any;
	port = cli_port_host(c.host);
	r = cli_call(&c, port, &req, &reply, &e);
	if (r == 0 && reply->n_problems) {
		fprintf(stderr, "%s cannot be restarted%s%s:\n", a.dir, a.host ? " on " : "",
			a.host ? a.host : "");
		cli_print_problems(reply);
		return CLI_REFUSED;
	}
	if (r == 0 && reply->code < 0)
		r = err_set(&e, reply->code, "%s", reply->text);
	else if (r == 0 && reply->result_case != GODWIT__PROCD__REPLY__RESULT_STARTED)
		r = err_set(&e, -EPROTO, "the answer makes no sense");
	cli_close(&c);
	if (r < 0 && reply && reply->in_doubt)
		return cli_fail(CLI_IN_DOUBT, "%s: the job may run on %s, or not at all: %s", a.dir,
				a.host ? a.host : c.host, err_text(&e));
	if (r < 0)
		return cli_fail_call(a.dir, r, &e);
	if (a.json)
		return cli_print_json(
			json_pack("{s:s, s:s}", "job", reply->started->name, "host", a.host ? a.host : c.host));
	printf("%s\n", reply->started->name);
	return CLI_OK;
}
