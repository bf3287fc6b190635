/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/rpc.h"

struct args {
	const char *job;
	uint32_t rights;
	bool revoke;
};

static const struct argp_option options[] = {
	{ "rights", 'r', "RIGHT,...", 0,
	  "read, write, checkpoint, delete, kill, stun, migrate, owner, output, attach; all, which is the default",
	  0 },
	{ "revoke", 'R', NULL, 0, "make all capabilities of the job that were given out worthless", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'r':
		if (gw_rights_parse(arg, &a->rights) != GW_OK)
			argp_error(state, "'%s': there is no such right", arg);
		return 0;
	case 'R':
		a->revoke = true;
		return 0;
	case ARGP_KEY_ARG:
		if (a->job)
			argp_error(state, "one job at a time");
		a->job = arg;
		return 0;
	case ARGP_KEY_END:
		if (!a->job)
			argp_error(state, "which job?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "JOB",
	.doc = "Prints a capability of a job: whoever has it may do to the job, wherever it is, what its rights "
	       "say.",
};

static int print(const cli_reply *reply)
{
	const Godwit__Procd__Capability *x = reply->capability;
	char text[GW_CAP_TEXT_MAX];
	struct gw_cap cap;

	if (reply->result_case != GODWIT__PROCD__REPLY__RESULT_CAPABILITY || x->port.len != GW_PORT_LEN ||
	    x->check.len != GW_CHECK_LEN)
		return cli_fail(CLI_FAILED, "the answer makes no sense");
	memcpy(cap.port.bytes, x->port.data, GW_PORT_LEN);
	cap.priv.object = x->object;
	cap.priv.rights = x->rights;
	memcpy(cap.priv.check, x->check.data, GW_CHECK_LEN);
	gw_cap_print(&cap, text);
	puts(text);
	return CLI_OK;
}

int cmd_cap(int argc, char **argv)
{
	Godwit__Procd__Restrict restrict_to = GODWIT__PROCD__RESTRICT__INIT;
	Godwit__Procd__Revoke revoke = GODWIT__PROCD__REVOKE__INIT;
	CLI_REQUEST(req, RESTRICT_TO, restrict_to, &restrict_to);
	_cleanup_reply_ cli_reply *reply = NULL;
	_cleanup_free_ char *port = NULL;
	struct args a = { .rights = GW_RIGHTS_ALL };
	struct err e = { 0 };
	struct cli c;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	if (cli_open(&c, &e) < 0)
		return cli_fail(CLI_FAILED, "cap: %s", err_text(&e));
	restrict_to.rights = a.rights;
	if (a.revoke) {
		req.op_case = GODWIT__PROCD__REQUEST__OP_REVOKE;
		req.revoke = &revoke;
	}
	port = cli_port_job(a.job);
	r = cli_ask(&c, port, &req, &reply, &e);
	cli_close(&c);
	if (r < 0)
		return cli_fail_call(a.job, r, &e);
	return a.revoke ? CLI_OK : print(reply);
}
