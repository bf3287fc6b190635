/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CLI_OBJECTS_H
#define GW_CLI_OBJECTS_H

#include <stdbool.h>

#include "godwit_objects.h"

/* What godwit dir and godwit file share: the root of all names, and the words for what went wrong. */

/* A capability: as text, or @FILE with the text. NULL means $GODWIT_ROOT. False after saying why not. */
bool objects_capability(const char *text, struct gw_cap *ret);
/* Connects to flipd, with NULL after saying why not. */
struct gw *objects_connect(void);
/* Exit status for a gw_status, after printing it. */
int objects_fail(const char *what, int status);
/* Puts a capability under a name, in place of what is there. */
int objects_put(struct gw *gw, const struct gw_cap *root, const char *path, const struct gw_cap *cap);

#endif
