/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/front.h"
#include "cli/term.h"

static error_t parse(int key, char *arg, struct argp_state *state)
{
	const char **job = state->input;

	switch (key) {
	case ARGP_KEY_ARG:
		if (*job)
			argp_error(state, "one job at a time");
		*job = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which job?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.parser = parse,
	.args_doc = "JOB",
	.doc = "Connects standard input and output to a job: what it has written since nobody read it comes "
	       "first. Whoever "
	       "was attached before is dropped. Ends with the job, and with its exit status; on a hang-up "
	       "(SIGHUP) the job "
	       "goes on.",
};

static int attach(struct cli *c, const char *job, struct err *e)
{
	Godwit__Procd__Terminal terminal = GODWIT__PROCD__TERMINAL__INIT;
	Godwit__Procd__Attach message = GODWIT__PROCD__ATTACH__INIT;
	CLI_REQUEST(req, ATTACH, attach, &message);
	_cleanup_free_ char *port = cli_port_job(job);
	_cleanup_reply_ cli_reply *reply = NULL;
	int r;

	if (isatty(STDIN_FILENO)) {
		term_describe(STDIN_FILENO, &terminal);
		message.terminal = &terminal;
	}
	r = cli_ask(c, port, &req, &reply, e);
	free(terminal.termios.data);
	if (r < 0)
		return r;
	if (reply->result_case != GODWIT__PROCD__REPLY__RESULT_ATTACHED)
		return err_set(e, -EPROTO, "procd answers something else");
	return front_run(c, job, reply->attached, e);
}

int cmd_attach(int argc, char **argv)
{
	const char *job = NULL;
	struct err e = { 0 };
	struct cli c;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &job);
	r = cli_open(&c, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, "attach: %s", err_text(&e));
	r = attach(&c, job, &e);
	cli_close(&c);
	if (r == -ECONNABORTED)
		return 128 + SIGHUP;
	return r < 0 ? cli_fail_call(job, r, &e) : r;
}
