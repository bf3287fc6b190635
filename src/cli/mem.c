/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/rpc.h"

#define PIECE 65536u

struct args {
	const char *verb, *job;
	uint64_t address, length;
	unsigned n;
};

static uint64_t number(struct argp_state *state, const char *arg)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(arg, &end, 0);
	if (errno || end == arg || *end || *arg == '-')
		argp_error(state, "'%s' is not a number", arg);
	return n;
}

static void take_arg(struct args *a, char *arg, struct argp_state *state)
{
	switch (a->n++) {
	case 0:
		a->verb = arg;
		break;
	case 1:
		a->job = arg;
		break;
	case 2:
		a->address = number(state, arg);
		break;
	case 3:
		a->length = number(state, arg);
		break;
	default:
		argp_error(state, "'%s' is one argument too many", arg);
	}
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;
	bool reads;

	switch (key) {
	case ARGP_KEY_ARG:
		take_arg(a, arg, state);
		return 0;
	case ARGP_KEY_END:
		reads = a->verb && !strcmp(a->verb, "read");
		if (!a->verb || (!reads && strcmp(a->verb, "write")) || a->n != (reads ? 4U : 3U))
			argp_error(state, "read JOB ADDRESS LENGTH, or write JOB ADDRESS");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.parser = parse,
	.args_doc = "read JOB ADDRESS LENGTH\nwrite JOB ADDRESS",
	.doc = "Copies memory of a stunned job to standard output, or standard input to it.",
};

static int read_all(struct cli *c, const char *port, struct args *a, struct err *e)
{
	Godwit__Procd__MemRead message = GODWIT__PROCD__MEM_READ__INIT;
	CLI_REQUEST(req, MEM_READ, mem_read, &message);
	int r = 0;

	while (a->length && !r) {
		_cleanup_reply_ cli_reply *reply = NULL;

		message.address = a->address;
		message.length = (uint32_t)MIN(a->length, (uint64_t)PIECE);
		r = cli_ask(c, port, &req, &reply, e);
		if (!r && (reply->result_case != GODWIT__PROCD__REPLY__RESULT_DATA ||
			   reply->data->bytes.len != message.length))
			r = err_set(e, -EPROTO, "the answer makes no sense");
		if (!r)
			r = fd_write_full(STDOUT_FILENO, reply->data->bytes.data, message.length) < 0
				    ? err_set(e, -EIO, "cannot write it to standard output")
				    : 0;
		a->address += message.length;
		a->length -= message.length;
	}
	return r;
}

static int write_all(struct cli *c, const char *port, struct args *a, struct err *e)
{
	_cleanup_free_ uint8_t *buf = xmalloc(PIECE);
	Godwit__Procd__MemWrite message = GODWIT__PROCD__MEM_WRITE__INIT;
	CLI_REQUEST(req, MEM_WRITE, mem_write, &message);

	for (;;) {
		_cleanup_reply_ cli_reply *reply = NULL;
		ssize_t n = read(STDIN_FILENO, buf, PIECE);
		int r;

		if (n <= 0)
			return n < 0 ? err_errno(e, "standard input") : 0;
		message.address = a->address;
		message.bytes.data = buf;
		message.bytes.len = (size_t)n;
		r = cli_ask(c, port, &req, &reply, e);
		if (r < 0)
			return r;
		a->address += (uint64_t)n;
	}
}

int cmd_mem(int argc, char **argv)
{
	_cleanup_free_ char *port = NULL;
	struct args a = { 0 };
	struct err e = { 0 };
	struct cli c;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	if (cli_open(&c, &e) < 0)
		return cli_fail(CLI_FAILED, "mem: %s", err_text(&e));
	port = cli_port_job(a.job);
	r = strcmp(a.verb, "read") ? write_all(&c, port, &a, &e) : read_all(&c, port, &a, &e);
	cli_close(&c);
	return r < 0 ? cli_fail_call(a.job, r, &e) : CLI_OK;
}
