/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at images needs neither daemons nor privileges: it is done here, with the caller's rights. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "checkpoint.pb-c.h"
#include "cli/cli.h"
#include "image/image.h"
#include "lib/cluster_seal.h"
#include "procd.pb-c.h"
#include "shepherd.pb-c.h"

#define FILE_KIND(k) GODWIT__CKPT__OPEN_FILE__KIND__##k
#define THREADS_SHOWN 16u
#define FILES_SHOWN 64u

struct args {
	const char *verb, *dir;
	bool json;
};

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0,
	  "show: one object: name, host, taken_us, uid, gid, command, seal, streams, processes", 0 },
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

/* --- the seal --- */

/* In a word: none, cluster, wrong, unchecked. The last: who asks may not read the cluster's key. */
static const char *judge_seal(const struct image *im, struct err *e)
{
	const struct image_seal *s = image_seal(im);
	int err;

	if (!s)
		return "none";
	err = cluster_seal_check(s->digest, s->id, s->word, e);
	if (err == -EKEYREJECTED)
		return "wrong";
	return err < 0 ? "unchecked" : "cluster";
}

static void print_seal(const struct image *im)
{
	struct err e = { 0 };
	const char *seal = judge_seal(im, &e);

	if (!strcmp(seal, "cluster"))
		printf("sealed by this cluster\n");
	else if (!strcmp(seal, "wrong"))
		printf("sealed, but %s\n", err_text(&e));
	else if (!strcmp(seal, "unchecked"))
		printf("sealed; whether by this cluster only root of its hosts can tell\n");
}

/* --- a process --- */

static uint64_t content_bytes(const Godwit__Image__Image *h, uint64_t *ret_stored)
{
	uint64_t bytes = 0;

	*ret_stored = 0;
	for (size_t i = 0; i < h->n_chunks; i++) {
		bytes += h->chunks[i]->bytes;
		*ret_stored += h->chunks[i]->stored ? h->chunks[i]->stored : h->chunks[i]->bytes;
	}
	return bytes;
}

static const Godwit__Ckpt__OpenFile *find_file(const Godwit__Ckpt__Job *job, uint32_t id)
{
	for (size_t i = 0; i < job->n_files; i++)
		if (job->files[i]->id == id)
			return job->files[i];
	return NULL;
}

static const char *kind_of(const Godwit__Ckpt__OpenFile *m)
{
	const ProtobufCEnumValue *v =
		protobuf_c_enum_descriptor_get_value(&godwit__ckpt__open_file__kind__descriptor, (int)m->kind);

	return v ? v->name : "?";
}

static const char *access_of(const Godwit__Ckpt__OpenFile *m)
{
	static const char *const modes[] = { "r", "w", "rw", "" };

	return m->kind == FILE_KIND(PATH) ? "" : modes[m->flags & O_ACCMODE];
}

static void print_file(const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Descriptor *d)
{
	const Godwit__Ckpt__OpenFile *m = find_file(job, d->file);

	if (!m)
		return;
	printf("  %5u  %-9s %-2s", d->fd, kind_of(m), access_of(m));
	if (m->kind == FILE_KIND(STREAM))
		printf(" the job's stream %u", m->stream);
	else if (m->kind == FILE_KIND(REGULAR))
		printf(" %s at %" PRIu64 " of %" PRIu64 "%s", clean(m->path), m->pos, m->size,
		       m->deleted ? ", in the image" : "");
	else
		printf(" %s", clean(m->path));
	printf("\n");
}

static void print_threads(const Godwit__Ckpt__Process *p)
{
	printf("  threads:");
	for (size_t i = 0; i < p->n_threads && i < THREADS_SHOWN; i++)
		printf("%s %d %s", i ? "," : "", p->threads[i]->tid, clean(p->threads[i]->comm));
	if (p->n_threads > THREADS_SHOWN)
		printf(" and %zu more", p->n_threads - THREADS_SHOWN);
	printf("\n");
}

static void print_process(const struct image *im, size_t i)
{
	const Godwit__Image__Image *h = image_header(im, i);
	const Godwit__Ckpt__Process *p = h->process;
	char bytes[CLI_TEXT_MAX], on_disk[CLI_TEXT_MAX];
	uint64_t stored, n = content_bytes(h, &stored);

	printf("%d.core: %s, %zu thread%s, %zu mappings, %zu descriptors, %s of memory", p->pid,
	       clean(p->memory->exe), p->n_threads, p->n_threads == 1 ? "" : "s", p->memory->n_regions,
	       p->n_descriptors, cli_size(n, bytes));
	if (stored != n)
		printf(" (%s compressed)", cli_size(stored, on_disk));
	printf("\n");
	if (h->parent > 1)
		printf("  child of %d\n", h->parent);
	if (p->fs)
		printf("  in %s\n", clean(p->fs->cwd));
	print_threads(p);
	for (size_t k = 0; k < p->n_descriptors && k < FILES_SHOWN; k++)
		print_file(image_job(im), p->descriptors[k]);
	if (p->n_descriptors > FILES_SHOWN)
		printf("  and %zu more\n", p->n_descriptors - FILES_SHOWN);
}

static json_t *threads_json(const Godwit__Ckpt__Process *p)
{
	json_t *list = json_array();

	for (size_t i = 0; i < p->n_threads; i++)
		json_array_append_new(list, json_pack("{s:i, s:s}", "tid", p->threads[i]->tid, "name",
						      clean(p->threads[i]->comm)));
	return list;
}

static json_t *files_json(const Godwit__Ckpt__Job *job, const Godwit__Ckpt__Process *p)
{
	json_t *list = json_array();

	for (size_t i = 0; i < p->n_descriptors; i++) {
		const Godwit__Ckpt__OpenFile *m = find_file(job, p->descriptors[i]->file);

		if (m)
			json_array_append_new(
				list, json_pack("{s:i, s:s, s:s, s:s, s:I, s:b}", "fd", (int)p->descriptors[i]->fd,
						"kind", kind_of(m), "access", access_of(m), "path", clean(m->path),
						"pos", (json_int_t)m->pos, "deleted", (int)m->deleted));
	}
	return list;
}

static json_t *process_json(const struct image *im, size_t i)
{
	const Godwit__Image__Image *h = image_header(im, i);
	const Godwit__Ckpt__Process *p = h->process;
	uint64_t stored, bytes = content_bytes(h, &stored);

	return json_pack("{s:i, s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "pid", p->pid, "parent",
			 (int)h->parent, "exe", clean(p->memory->exe), "cwd", p->fs ? clean(p->fs->cwd) : "",
			 "threads", (json_int_t)p->n_threads, "mappings", (json_int_t)p->memory->n_regions,
			 "descriptors", (json_int_t)p->n_descriptors, "bytes", (json_int_t)bytes, "stored",
			 (json_int_t)stored, "thread_list", threads_json(p), "files",
			 files_json(image_job(im), p));
}

/* --- the job --- */

/* What it is for process servers; NULL: the image does not say. The caller's. */
static Godwit__Procd__Begin *begin_of(const struct image *im)
{
	const ProtobufCBinaryData *b = &image_job(im)->begin;
	Godwit__Procd__Begin *begin = b->len ? godwit__procd__begin__unpack(NULL, b->len, b->data) : NULL;

	if (begin && !begin->job) {
		godwit__procd__begin__free_unpacked(begin, NULL);
		begin = NULL;
	}
	return begin;
}

static Godwit__Shepherd__Streams *streams_of(const struct image *im)
{
	const Godwit__Ckpt__Streams *s = image_job(im)->streams;

	return s && s->shepherd.len ? godwit__shepherd__streams__unpack(NULL, s->shepherd.len, s->shepherd.data)
				    : NULL;
}

static void print_job(const struct image *im)
{
	Godwit__Procd__Begin *b = begin_of(im);
	Godwit__Shepherd__Streams *s = streams_of(im);

	if (b) {
		printf("of user %u:", b->job->uid);
		for (size_t i = 0; i < b->job->n_command; i++)
			printf(" %s", clean(b->job->command[i]));
		printf("\n");
		godwit__procd__begin__free_unpacked(b, NULL);
	}
	if (!s)
		return;
	printf("streams:");
	for (size_t i = 0; i < s->n_sides; i++)
		printf("%s %u: %" PRIu64 " bytes", i ? "," : "", s->sides[i]->stream,
		       s->sides[i]->end - s->sides[i]->start);
	printf("\n");
	godwit__shepherd__streams__free_unpacked(s, NULL);
}

static json_t *command_json(const Godwit__Procd__Begin *b)
{
	json_t *list = json_array();

	for (size_t i = 0; b && i < b->job->n_command; i++)
		json_array_append_new(list, json_string(clean(b->job->command[i])));
	return list;
}

static json_t *streams_json(const struct image *im)
{
	Godwit__Shepherd__Streams *s = streams_of(im);
	json_t *list = json_array();

	for (size_t i = 0; s && i < s->n_sides; i++)
		json_array_append_new(list, json_pack("{s:i, s:I, s:I}", "stream", (int)s->sides[i]->stream,
						      "start", (json_int_t)s->sides[i]->start, "end",
						      (json_int_t)s->sides[i]->end));
	godwit__shepherd__streams__free_unpacked(s, NULL);
	return list;
}

static int show_json(const struct image *im)
{
	const Godwit__Image__Image *first = image_header(im, 0);
	Godwit__Procd__Begin *b = begin_of(im);
	json_t *list = json_array();
	struct err e = { 0 };
	int r;

	for (size_t i = 0; i < image_job(im)->n_processes; i++)
		json_array_append_new(list, process_json(im, i));
	r = cli_print_json(json_pack("{s:s, s:s, s:I, s:I, s:I, s:o, s:s, s:o, s:o}", "name", clean(first->name),
				     "host", clean(first->host), "taken_us", (json_int_t)first->taken_us, "uid",
				     b ? (json_int_t)b->job->uid : -1, "gid", b ? (json_int_t)b->job->gid : -1,
				     "command", command_json(b), "seal", judge_seal(im, &e), "streams",
				     streams_json(im), "processes", list));
	if (b)
		godwit__procd__begin__free_unpacked(b, NULL);
	return r;
}

static int show(const struct image *im, const struct args *a)
{
	const Godwit__Image__Image *first = image_header(im, 0);
	time_t taken = (time_t)(first->taken_us / 1000000);
	char when[64] = "?";
	struct tm tm;

	if (a->json)
		return show_json(im);
	if (localtime_r(&taken, &tm))
		(void)strftime(when, sizeof when, "%F %T", &tm);
	printf("job %s, taken on %s at %s\n", clean(first->name), clean(first->host), when);
	print_job(im);
	print_seal(im);
	for (size_t i = 0; i < image_job(im)->n_processes; i++)
		print_process(im, i);
	return CLI_OK;
}

/* --- verify --- */

/* Everything that is wrong, not only the first of it. */
static int verify(struct image *im)
{
	struct err e = { 0 };
	int status = CLI_OK;
	const char *seal = judge_seal(im, &e);

	if (!strcmp(seal, "wrong"))
		status = cli_fail(CLI_FAILED, "%s", err_text(&e));
	else if (!strcmp(seal, "unchecked"))
		fprintf(stderr, "godwit: whether this cluster sealed it was not checked: %s\n", err_text(&e));
	for (size_t i = 0; i < image_job(im)->n_processes; i++)
		if (image_pages(im, i, NULL, NULL, &e) < 0)
			status = cli_fail(CLI_FAILED, "%s", err_text(&e));
	return status;
}

int cmd_image(int argc, char **argv)
{
	struct image *im = NULL;
	struct args a = { 0 };
	struct err e = { 0 };
	int status;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	if (image_open(a.dir, &im, &e) < 0)
		return cli_fail(CLI_FAILED, "%s", err_text(&e));
	status = strcmp(a.verb, "verify") ? show(im, &a) : verify(im);
	image_close(im);
	return status;
}
