/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CLI_OBJECTS_H
#define GW_CLI_OBJECTS_H

#include <argp.h>
#include <stdbool.h>

#include "godwit_objects.h"

/* What godwit dir and godwit file share: the root of all names, and the words for what went wrong. */

/* Root and words of a command line, which both take; objects_parse is for what their own parsers do not know. */
#define OBJECTS_WORDS 3
struct objects_args {
	const char *root;
	const char *words[OBJECTS_WORDS];
	unsigned n;
};
#define OBJECTS_OPTION_ROOT                                                                                       \
	{                                                                                                         \
		"root", 'r', "CAPABILITY", 0,                                                                     \
			"where names begin: a directory, as text or @FILE (default: $GODWIT_ROOT)", 0             \
	}
error_t objects_parse(int key, char *arg, const struct argp_state *state, struct objects_args *a);

/* A capability: as text, or @FILE with the text. NULL means $GODWIT_ROOT. False after saying why not. */
bool objects_capability(const char *text, struct gw_cap *ret);
/* Connects to flipd, with NULL after saying why not. */
struct gw *objects_connect(void);
/* Exit status for a gw_status, after printing it. */
int objects_fail(const char *what, int status);
/* Puts a capability under a name, in place of what is there. */
int objects_put(struct gw *gw, const struct gw_cap *root, const char *path, const struct gw_cap *cap);

#endif
