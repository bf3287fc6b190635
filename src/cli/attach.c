/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/front.h"
#include "cli/term.h"

struct args {
	const char *job;
	int escape;
};

static const struct argp_option options[] = {
	{ "escape", 'e', "KEY", 0, "the key that leaves the job alone: ^X for ctrl-X, none for none (default: ^])",
	  0 },
	{ 0 },
};

/* "^]" -> 0x1d, "none" -> -1, otherwise -2. */
static int escape_key(const char *text)
{
	if (!strcmp(text, "none"))
		return -1;
	return text[0] == '^' && text[1] >= '@' && text[1] <= '_' && !text[2] ? text[1] & 0x1f : -2;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'e':
		a->escape = escape_key(arg);
		if (a->escape == -2)
			argp_error(state, "a key is written like ^], or it is none");
		return 0;
	default:
		return cli_parse_job(key, arg, state, &a->job);
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "JOB",
	.doc = "Connects standard input and output to a job: what it has written since nobody read it comes "
	       "first. Whoever "
	       "was attached before is dropped. Ends with the job, and with its exit status; on a hang-up "
	       "(SIGHUP) the job "
	       "goes on.",
};

static int attach(struct cli *c, const char *job, int escape, struct err *e)
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
	return front_run(c, job, reply->attached, escape, e);
}

int cmd_attach(int argc, char **argv)
{
	struct args a = { .escape = 0x1d };
	struct err e = { 0 };
	struct cli c;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	r = cli_open(&c, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, "attach: %s", err_text(&e));
	r = attach(&c, a.job, a.escape, &e);
	cli_close(&c);
	if (r == -ECANCELED) {
		fprintf(stderr, "\ngodwit: detached; %s goes on\n", a.job);
		return CLI_OK;
	}
	if (r == -ECONNABORTED)
		return 128 + SIGHUP;
	return r < 0 ? cli_fail_call(a.job, r, &e) : r;
}
