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
	bool json;
};

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "ls: an array of objects, with the segments' capabilities", 0 },
	{ 0 },
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
	const char *verb = a->verb ? a->verb : "";

	switch (key) {
	case 'j':
		a->json = true;
		return 0;
	case ARGP_KEY_ARG:
		take_arg(a, arg, state);
		return 0;
	case ARGP_KEY_END:
		if (!(a->n == 2 && !strcmp(verb, "ls")) && !(a->n == 4 && !strcmp(verb, "read")) &&
		    !(a->n == 3 && !strcmp(verb, "write")))
			argp_error(state, "ls JOB, read JOB ADDRESS LENGTH, or write JOB ADDRESS");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "ls JOB\nread JOB ADDRESS LENGTH\nwrite JOB ADDRESS",
	.doc = "Lists the segments of a stunned job, copies memory to standard output, or standard input to it.",
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

static void cap_text(const Godwit__Procd__Capability *x, char text[GW_CAP_TEXT_MAX])
{
	struct gw_cap cap = { .priv = { .object = x->object, .rights = x->rights } };

	memcpy(cap.port.bytes, x->port.data, MIN(x->port.len, (size_t)GW_PORT_LEN));
	memcpy(cap.priv.check, x->check.data, MIN(x->check.len, (size_t)GW_CHECK_LEN));
	gw_cap_print(&cap, text);
}

static void print_segment(const Godwit__Procd__Segment *s)
{
	char size[CLI_TEXT_MAX];

	printf("%#16" PRIx64 " %10s %c%c%c%c %s\n", s->address, cli_size(s->length, size), s->prot & 1 ? 'r' : '-',
	       s->prot & 2 ? 'w' : '-', s->prot & 4 ? 'x' : '-', s->shared ? 's' : 'p', s->name);
}

static json_t *segment_json(const Godwit__Procd__Segment *s)
{
	char text[GW_CAP_TEXT_MAX] = "";
	char prot[] = { s->prot & 1 ? 'r' : '-', s->prot & 2 ? 'w' : '-', s->prot & 4 ? 'x' : '-', 0 };

	if (s->capability)
		cap_text(s->capability, text);
	return json_pack("{s:I, s:I, s:s, s:b, s:o, s:s}", "address", (json_int_t)s->address, "length",
			 (json_int_t)s->length, "protection", prot, "shared", s->shared, "name",
			 json_string(s->name) ?: json_null(), "capability", text);
}

static int list(struct cli *c, const char *port, const struct args *a, struct err *e)
{
	Godwit__Procd__GetSegments message = GODWIT__PROCD__GET_SEGMENTS__INIT;
	CLI_REQUEST(req, GET_SEGMENTS, get_segments, &message);
	_cleanup_reply_ cli_reply *reply = NULL;
	json_t *array;
	int r = cli_ask(c, port, &req, &reply, e);

	if (r < 0)
		return r;
	if (reply->result_case != GODWIT__PROCD__REPLY__RESULT_SEGMENTS)
		return err_set(e, -EPROTO, "the answer makes no sense");
	array = json_array();
	for (size_t i = 0; i < reply->segments->n_segments; i++) {
		if (a->json)
			(void)json_array_append_new(array, segment_json(reply->segments->segments[i]));
		else
			print_segment(reply->segments->segments[i]);
	}
	if (a->json)
		return cli_print_json(array) == CLI_OK ? 0 : err_set(e, -EIO, "cannot write it");
	json_decref(array);
	return 0;
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
	if (!strcmp(a.verb, "ls"))
		r = list(&c, port, &a, &e);
	else
		r = strcmp(a.verb, "read") ? write_all(&c, port, &a, &e) : read_all(&c, port, &a, &e);
	cli_close(&c);
	return r < 0 ? cli_fail_call(a.job, r, &e) : CLI_OK;
}
