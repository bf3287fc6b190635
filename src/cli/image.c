/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at images needs neither daemons nor privileges: it is done here, with the caller's rights. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "cli/cli.h"
#include "image/image.h"

struct args {
	const char *verb, *dir;
	bool json;
};

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "show: one object: name, host, taken_us, processes", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'j':
		a->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 1)
			argp_error(state, "'%s' is one argument too many", arg);
		*(state->arg_num ? &a->dir : &a->verb) = arg;
		return 0;
	case ARGP_KEY_END:
		if (!a->dir || (strcmp(a->verb, "show") && strcmp(a->verb, "verify")))
			argp_error(state, "show or verify, and which image?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "show|verify DIR",
	.doc = "Says what an image holds, or reads all of it and says whether it is what was written.",
};

/* An image may say anything, also to a terminal. */
static const char *clean(char *text)
{
	for (char *at = text; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 127)
			*at = '?';
	return text;
}

static uint64_t content_bytes(const Godwit__Image__Image *h)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < h->n_chunks; i++)
		bytes += h->chunks[i]->bytes;
	return bytes;
}

static json_t *process_json(const Godwit__Image__Image *h)
{
	const Godwit__Ckpt__Process *p = h->process;

	return json_pack("{s:i, s:s, s:I, s:I, s:I, s:I}", "pid", p->pid, "exe", p->memory->exe, "threads",
			 (json_int_t)p->n_threads, "mappings", (json_int_t)p->memory->n_regions, "descriptors",
			 (json_int_t)p->n_descriptors, "bytes", (json_int_t)content_bytes(h));
}

static int show_json(const struct image *im)
{
	const Godwit__Image__Image *first = image_header(im, 0);
	json_t *list = json_array();

	for (size_t i = 0; i < image_job(im)->n_processes; i++)
		json_array_append_new(list, process_json(image_header(im, i)));
	return cli_print_json(json_pack("{s:s, s:s, s:I, s:o}", "name", first->name, "host", first->host,
					"taken_us", (json_int_t)first->taken_us, "processes", list));
}

static int show(const struct image *im, const struct args *a)
{
	const Godwit__Image__Image *first = image_header(im, 0);
	time_t taken = (time_t)(first->taken_us / 1000000);
	char when[64] = "?", bytes[CLI_TEXT_MAX];
	struct tm tm;

	if (a->json)
		return show_json(im);
	if (localtime_r(&taken, &tm))
		(void)strftime(when, sizeof when, "%F %T", &tm);
	printf("job %s, taken on %s at %s\n", clean(first->name), clean(first->host), when);
	for (size_t i = 0; i < image_job(im)->n_processes; i++) {
		const Godwit__Image__Image *h = image_header(im, i);

		printf("%d.core: %s, %zu thread%s, %zu mappings, %zu descriptors, %s of memory\n", h->process->pid,
		       clean(h->process->memory->exe), h->process->n_threads,
		       h->process->n_threads == 1 ? "" : "s", h->process->memory->n_regions,
		       h->process->n_descriptors, cli_size(content_bytes(h), bytes));
	}
	return CLI_OK;
}

int cmd_image(int argc, char **argv)
{
	struct image *im = NULL;
	struct args a = { 0 };
	struct err e = { 0 };
	int r, status;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	r = image_open(a.dir, &im, &e);
	if (!strcmp(a.verb, "verify"))
		for (size_t i = 0; !r && i < image_job(im)->n_processes; i++)
			r = image_pages(im, i, NULL, NULL, &e);
	if (r < 0)
		status = cli_fail(CLI_FAILED, "%s", err_text(&e));
	else
		status = strcmp(a.verb, "verify") ? show(im, &a) : CLI_OK;
	image_close(im);
	return status;
}
