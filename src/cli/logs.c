/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <errno.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/retry.h"
#include "cli/rpc.h"

struct args {
	const char *job;
	bool follow;
};

static const struct argp_option options[] = {
	{ "follow", 'f', NULL, 0, "go on with what the job writes from now on, until it ends", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'f':
		a->follow = true;
		return 0;
	default:
		return cli_parse_job(key, arg, state, &a->job);
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "JOB",
	.doc = "Prints what a job has written, its errors on standard error, as far back as its host keeps it. "
	       "Takes nothing "
	       "away from whoever is attached.",
};

/* One output stream, read by offset without an attachment; one request at a time is under way. */
struct stream {
	struct cli *c;
	const char *port;
	uint32_t number;
	int fd;
	uint64_t offset;
	uint64_t end; /* where to stop if not following */
	bool follow;
	bool busy;
	bool done;
	int r;
	struct retry retry;
	struct err e;
};

static void take(struct stream *s, const Godwit__Procd__Data *data)
{
	size_t len = data->bytes.len;

	if (data->offset > s->offset)
		(void)cli_fail(0, "%llu bytes of stream %u are gone already",
			       (unsigned long long)(data->offset - s->offset), s->number);
	if (!s->follow && data->offset + len > s->end)
		len = data->offset < s->end ? (size_t)(s->end - data->offset) : 0;
	if (fd_write_full(s->fd, data->bytes.data, len) < 0) {
		s->r = err_errno(&s->e, "cannot write");
		s->done = true;
	}
	s->offset = data->offset + len;
	if (data->eof || (!s->follow && s->offset >= s->end))
		s->done = true;
}

static void on_data(void *arg, int r, const cli_reply *reply, const char *why)
{
	struct stream *s = arg;

	s->busy = false;
	if (r == 0 && reply->code < 0)
		r = reply->code, why = reply->text;
	if (r < 0) {
		if (retry_allowed(&s->retry, r))
			return;
		s->r = err_set(&s->e, r, "%s", why);
		s->done = true;
		return;
	}
	retry_success(&s->retry);
	if (reply->result_case == GODWIT__PROCD__REPLY__RESULT_DATA)
		take(s, reply->data);
}

static int ask(struct stream *s)
{
	Godwit__Procd__Read read = GODWIT__PROCD__READ__INIT;
	CLI_REQUEST(req, READ, read, &read);
	int64_t id;

	read.stream = s->number;
	read.offset = s->offset;
	read.timeout_ms = s->follow ? CLI_POLL_MS : 1000;
	id = cli_start(s->c, s->port, &req, CLI_LOCATE_MS, on_data, s);
	s->busy = id > 0;
	return id < 0 ? (int)id : 0;
}

static int pump(struct cli *c, struct stream *s, size_t n, struct err *e)
{
	for (;;) {
		size_t left = 0;
		int r = 0;

		for (size_t i = 0; i < n; i++) {
			if (s[i].r < 0)
				return err_set(e, s[i].r, "%s", err_text(&s[i].e));
			if (!s[i].done)
				left++;
			if (r == 0 && !s[i].done && !s[i].busy)
				r = ask(&s[i]);
		}
		if (!left)
			return 0;
		if (r == 0)
			r = gwc_wait(c->gwc, s[0].retry.since_us || (n > 1 && s[1].retry.since_us) ? 100 : -1);
		if (r < 0 && r != -ETIMEDOUT && r != -EINTR && !retry_again(&s[0].retry, c, -EIO))
			return err_code(e, r, "flipd");
	}
}

int cmd_logs(int argc, char **argv)
{
	Godwit__Procd__Logs logs = GODWIT__PROCD__LOGS__INIT;
	CLI_REQUEST(req, LOGS, logs, &logs);
	_cleanup_reply_ cli_reply *reply = NULL;
	_cleanup_free_ char *port = NULL;
	struct stream streams[2];
	struct args a = { 0 };
	struct err e = { 0 };
	struct cli c;
	size_t n = 0;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	if (cli_open(&c, &e) < 0)
		return cli_fail(CLI_FAILED, "logs: %s", err_text(&e));
	port = cli_port_job(a.job);
	r = cli_ask(&c, port, &req, &reply, &e);
	if (r == 0 && reply->result_case != GODWIT__PROCD__REPLY__RESULT_ATTACHED)
		r = err_set(&e, -EPROTO, "procd answers something else");
	for (size_t i = 0; r == 0 && i < reply->attached->n_streams; i++) {
		const Godwit__Procd__StreamState *st = reply->attached->streams[i];

		if (st->stream == STDIN_FILENO || n == ARRAY_LEN(streams))
			continue;
		streams[n] = (struct stream) { .c = &c,
					       .port = port,
					       .number = st->stream,
					       .fd = (int)st->stream,
					       .offset = st->start,
					       .end = st->end,
					       .follow = a.follow };
		streams[n].done = !a.follow && st->start == st->end;
		retry_init(&streams[n++].retry, RETRY_KNOWN_JOB);
	}
	if (r == 0)
		r = pump(&c, streams, n, &e);
	cli_close(&c);
	return r < 0 ? cli_fail_call(a.job, r, &e) : CLI_OK;
}
