/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/objects.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/util.h"
#include "cli/cli.h"

bool objects_capability(const char *text, struct gw_cap *ret)
{
	_cleanup_free_ char *content = NULL;

	text = text ? text : getenv("GODWIT_ROOT");
	if (!text) {
		(void)cli_fail(CLI_USAGE, "which root? Say --root CAPABILITY, or set GODWIT_ROOT");
		return false;
	}
	if (*text == '@') {
		ssize_t n = fd_slurp(AT_FDCWD, text + 1, 4096, &content);

		if (n < 0) {
			(void)cli_fail(CLI_FAILED, "%s: %s", text + 1, strerror((int)-n));
			return false;
		}
		text = content;
	}
	if (gw_cap_parse(text, ret) != GW_OK) {
		(void)cli_fail(CLI_USAGE, "that is not a capability (gwcap:...)");
		return false;
	}
	return true;
}

struct gw *objects_connect(void)
{
	struct gw *gw = NULL;
	int r = gw_connect(NULL, &gw);

	if (r < 0)
		(void)cli_fail(CLI_FAILED, "flipd cannot be reached: %s", strerror(-r));
	return gw;
}

int objects_fail(const char *what, int status)
{
	const char *why = status == GW_SP_NOTEMPTY ? "the directory is not empty"
			  : status == GW_SP_CLASH  ? "somebody else was faster"
						   : gw_strerror(status);

	return cli_fail(CLI_FAILED, "%s: %s", what, why);
}

int objects_put(struct gw *gw, const struct gw_cap *root, const char *path, const struct gw_cap *cap)
{
	struct gw_capset set = { .n = 1, .caps = { *cap } };
	char name[GW_SP_NAME_MAX + 1];
	struct gw_cap dir;
	int status = gw_name_parent(gw, root, path, &dir, name);

	if (status != GW_OK)
		return status;
	status = gw_sp_append(gw, &dir, name, NULL, &set);
	return status == GW_STD_EXISTS ? gw_sp_replace(gw, &dir, name, &set) : status;
}

error_t objects_parse(int key, char *arg, const struct argp_state *state, struct objects_args *a)
{
	switch (key) {
	case 'r':
		a->root = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (a->n == OBJECTS_WORDS)
			argp_error(state, "too many arguments");
		a->words[a->n++] = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}
