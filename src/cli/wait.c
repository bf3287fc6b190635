/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <errno.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/jobs.h"
#include "cli/retry.h"
#include "cli/rpc.h"

struct args {
	const char *job;
	bool json;
};

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "one object: job, status, signal; the exit status is then 0", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'j':
		a->json = true;
		return 0;
	default:
		return cli_parse_job(key, arg, state, &a->job);
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "JOB",
	.doc = "Waits until a job has ended, wherever it is by then, and ends with its exit status (128 + signal "
	       "if one "
	       "killed it).",
};

static int print(const struct args *a, const Godwit__Procd__Exited *exited)
{
	if (!a->json)
		return job_exit_status(exited);
	return cli_print_json(json_pack("{s:s, s:i, s:i}", "job", a->job, "status", job_exit_status(exited),
					"signal", exited->signal));
}

int cmd_wait(int argc, char **argv)
{
	Godwit__Procd__Wait wait = GODWIT__PROCD__WAIT__INIT;
	CLI_REQUEST(req, WAIT, wait, &wait);
	_cleanup_free_ char *port = NULL;
	struct args a = { 0 };
	struct err e = { 0 };
	struct retry retry;
	struct cli c;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	if (cli_open(&c, &e) < 0)
		return cli_fail(CLI_FAILED, "wait: %s", err_text(&e));
	port = cli_port_job(a.job);
	wait.timeout_ms = CLI_POLL_MS;
	retry_init(&retry, RETRY_UNKNOWN_JOB);
	for (;;) {
		_cleanup_reply_ cli_reply *reply = NULL;
		int r = cli_ask(&c, port, &req, &reply, &e);

		if (r < 0 && retry_again(&retry, &c, r))
			continue;
		if (r < 0)
			return cli_fail_call(a.job, r, &e);
		retry_success(&retry);
		if (reply->result_case == GODWIT__PROCD__REPLY__RESULT_EXITED) {
			cli_close(&c);
			return print(&a, reply->exited);
		}
	}
}
