/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/rpc.h"

struct args {
	const char *job, *dir, *parent;
	bool kill, replace, compress, update, seal, json;
};

static const struct argp_option options[] = {
	{ "kill", 'k', NULL, 0, "end the job when the image is on disk", 0 },
	{ "force", 'f', NULL, 0, "take the place of an image that is there", 0 },
	{ "incremental", 'i', NULL, 0, "as --force, but write only what has changed since, if that can be done",
	  0 },
	{ "parent", 'p', "IMAGE", 0, "share with that image what has not changed since, if the disk can", 0 },
	{ "compress", 'z', NULL, 0, "compress memory (zstd); gdb then cannot read it", 0 },
	{ "seal", 's', NULL, 0, "by the cluster: restarted by its owner, the job gets back what it could do", 0 },
	{ "json", 'j', NULL, 0, "one object: job, image, freeze_us, total_us, bytes, pages, written", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'k':
		a->kill = true;
		return 0;
	case 'f':
		a->replace = true;
		return 0;
	case 'i':
		a->update = true;
		return 0;
	case 'p':
		a->parent = arg;
		return 0;
	case 'z':
		a->compress = true;
		return 0;
	case 's':
		a->seal = true;
		return 0;
	case 'j':
		a->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 1)
			argp_error(state, "'%s' is one argument too many", arg);
		*(state->arg_num ? &a->dir : &a->job) = arg;
		return 0;
	case ARGP_KEY_END:
		if (!a->dir)
			argp_error(state, "which job, and into which directory?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "JOB DIR",
	.doc = "Writes a job into an image: the directory DIR, on the host where the job is, with the caller's "
	       "rights. The job goes on, unless it is to be killed. `godwit restart` makes a job of an image.",
};

static int show(const struct args *a, const char *path, const cli_reply *reply)
{
	const Godwit__Procd__Report *x = reply->report;
	char bytes[CLI_TEXT_MAX], freeze[CLI_TEXT_MAX], written[CLI_TEXT_MAX];

	if (reply->result_case != GODWIT__PROCD__REPLY__RESULT_REPORT)
		return cli_fail(CLI_FAILED, "%s: the answer makes no sense", a->job);
	if (a->json)
		return cli_print_json(json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "job", x->job, "host",
						x->source, "image", path, "freeze_us", (json_int_t)x->freeze_us,
						"total_us", (json_int_t)x->total_us, "bytes", (json_int_t)x->bytes,
						"pages", (json_int_t)x->pages, "written", (json_int_t)x->written));
	printf("%s: %s of memory in %s on %s, %s written, stopped for %s\n", x->job, cli_size(x->bytes, bytes),
	       path, x->source, cli_size(x->written, written), cli_time(x->freeze_us, freeze));
	return CLI_OK;
}

int cmd_checkpoint(int argc, char **argv)
{
	Godwit__Procd__Checkpoint message = GODWIT__PROCD__CHECKPOINT__INIT;
	CLI_REQUEST(req, CHECKPOINT, checkpoint, &message);
	_cleanup_reply_ cli_reply *reply = NULL;
	_cleanup_free_ char *job = NULL, *port = NULL, *path = NULL, *parent = NULL;
	struct args a = { 0 };
	struct err e = { 0 };
	struct cli c;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	path = cli_absolute(a.dir);
	r = cli_open(&c, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, "checkpoint: %s", err_text(&e));
	r = cli_job_arg(&c, a.job, false, false, &job, &e);
	if (r < 0)
		return cli_fail_call(a.job, r, &e);
	message.path = path;
	if (a.parent)
		message.parent = parent = cli_absolute(a.parent);
	message.kill = a.kill;
	message.replace = a.replace;
	message.compress = a.compress;
	message.update = a.update;
	message.seal = a.seal;
	port = cli_port_job(job);
	r = cli_call(&c, port, &req, &reply, &e);
	cli_close(&c);
	if (r == 0 && reply->n_problems) {
		fprintf(stderr, "%s cannot be written down:\n", job);
		cli_print_problems(reply);
		return CLI_REFUSED;
	}
	if (r == 0 && reply->code < 0)
		r = err_set(&e, reply->code, "%s", reply->text);
	return r < 0 ? cli_fail_call(job, r, &e) : show(&a, path, reply);
}
