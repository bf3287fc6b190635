/* SPDX-License-Identifier: Apache-2.0 */
/* godwit dir: names of objects. */
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/objects.h"

#define ROWS 128u

struct args {
	struct objects_args common;
	bool json;
};

struct verb {
	const char *name;
	unsigned min, max; /* arguments */
	int (*run)(struct gw *gw, const struct gw_cap *root, const struct args *a);
};

static const struct argp_option options[] = {
	OBJECTS_OPTION_ROOT,
	{ "json", 'j', NULL, 0, "ls: one array of objects", 0 },
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
		return objects_parse(key, arg, state, &a->common);
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "ls [PATH]\nget PATH\nput PATH CAPABILITY\nmkdir PATH\nrm PATH",
	.doc = "Names of objects, in directories kept by soap: lists them, prints the capability behind one, "
	       "gives one to "
	       "a capability, makes a directory, takes a name away.\v"
	       "rm of a directory's name destroys the directory, which must be empty; of any other, the name only."
};

static json_t *row_json(const struct gw_sp_row *row, const char *what)
{
	json_t *o = json_object(), *masks = json_array();

	for (unsigned i = 0; i < GW_SP_COLUMNS; i++)
		json_array_append_new(masks, json_integer(row->masks.columns[i]));
	json_object_set_new(o, "name", json_string(row->name));
	json_object_set_new(o, "masks", masks);
	json_object_set_new(o, "object", *what ? json_string(what) : json_null());
	return o;
}

/* What its server says of the object behind a name; empty if that cannot be had. */
static void describe(struct gw *gw, const struct gw_cap *dir, const char *name, char *text, size_t size)
{
	struct gw_capset set;

	*text = '\0';
	if (gw_sp_lookup(gw, dir, name, &set) == GW_OK && set.n)
		(void)gw_std_info(gw, &set.caps[0], text, size);
}

static int ls(struct gw *gw, const struct gw_cap *root, const struct args *a)
{
	_cleanup_free_ struct gw_sp_row *rows = xcalloc(ROWS, sizeof *rows);
	const char *path = a->common.n > 1 ? a->common.words[1] : "";
	json_t *list = json_array();
	struct gw_cap dir;
	uint64_t at = 0;
	size_t n = 0;
	int status = gw_name_lookup(gw, root, path, &dir);

	(void)gw_timeout(gw, 1000); /* servers that are gone */
	while (status == GW_OK && (status = gw_sp_list(gw, &dir, at, rows, ROWS, &n)) == GW_OK && n) {
		for (size_t i = 0; i < n; i++) {
			char what[256];

			describe(gw, &dir, rows[i].name, what, sizeof what);
			if (a->json)
				json_array_append_new(list, row_json(&rows[i], what));
			else
				printf("%-32s %s\n", rows[i].name, what);
		}
		at += n;
	}
	if (status == GW_OK && a->json)
		return cli_print_json(list);
	json_decref(list);
	return status == GW_OK ? CLI_OK : objects_fail(path, status);
}

static int get(struct gw *gw, const struct gw_cap *root, const struct args *a)
{
	char text[GW_CAP_TEXT_MAX];
	struct gw_cap cap;
	int status = gw_name_lookup(gw, root, a->common.words[1], &cap);

	if (status != GW_OK)
		return objects_fail(a->common.words[1], status);
	gw_cap_print(&cap, text);
	puts(text);
	return CLI_OK;
}

static int put(struct gw *gw, const struct gw_cap *root, const struct args *a)
{
	struct gw_cap cap;
	int status;

	if (!objects_capability(a->common.words[2], &cap))
		return CLI_USAGE;
	status = objects_put(gw, root, a->common.words[1], &cap);
	return status == GW_OK ? CLI_OK : objects_fail(a->common.words[1], status);
}

static int mkdir_verb(struct gw *gw, const struct gw_cap *root, const struct args *a)
{
	char name[GW_SP_NAME_MAX + 1];
	struct gw_capset set = { .n = 1 };
	struct gw_cap dir;
	int status = gw_name_parent(gw, root, a->common.words[1], &dir, name);

	if (status == GW_OK)
		status = gw_sp_create(gw, &dir, &set.caps[0]);
	if (status != GW_OK)
		return objects_fail(a->common.words[1], status);
	status = gw_sp_append(gw, &dir, name, NULL, &set);
	if (status == GW_OK)
		return CLI_OK;
	(void)gw_sp_discard(gw, &set.caps[0]); /* nobody would ever find it */
	return objects_fail(a->common.words[1], status);
}

/* A directory goes first, and its name when it is gone. */
static int rm(struct gw *gw, const struct gw_cap *root, const struct args *a)
{
	char name[GW_SP_NAME_MAX + 1], what[256];
	struct gw_cap dir, cap;
	int status = gw_name_parent(gw, root, a->common.words[1], &dir, name);

	if (status == GW_OK && gw_name_lookup(gw, root, a->common.words[1], &cap) == GW_OK &&
	    gw_std_info(gw, &cap, what, sizeof what) == GW_OK && !strncmp(what, "directory", strlen("directory")))
		status = gw_sp_discard(gw, &cap);
	if (status == GW_OK)
		status = gw_sp_delete(gw, &dir, name);
	return status == GW_OK ? CLI_OK : objects_fail(a->common.words[1], status);
}

int cmd_dir(int argc, char **argv)
{
	static const struct verb verbs[] = {
		{ "ls", 0, 1, ls }, { "get", 1, 1, get }, { "put", 2, 2, put }, { "mkdir", 1, 1, mkdir_verb },
		{ "rm", 1, 1, rm },
	};
	const struct verb *v = NULL;
	struct args a = { 0 };
	struct gw_cap root;
	struct gw *gw;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	for (size_t i = 0; a.common.n && i < ARRAY_LEN(verbs); i++)
		if (!strcmp(a.common.words[0], verbs[i].name))
			v = &verbs[i];
	if (!v || a.common.n - 1 < v->min || a.common.n - 1 > v->max)
		return cli_fail(CLI_USAGE, "dir: ls [PATH], get PATH, put PATH CAPABILITY, mkdir PATH or rm PATH");
	if (!objects_capability(a.common.root, &root))
		return CLI_USAGE;
	gw = objects_connect();
	if (!gw)
		return CLI_FAILED;
	r = v->run(gw, &root, &a);
	gw_close(gw);
	return r;
}
