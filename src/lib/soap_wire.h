/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_LIB_SOAP_WIRE_H
#define GW_LIB_SOAP_WIRE_H

/*
 * What requests, replies and files of directories are made of. What cannot be (a name or a set that is too long, a
 * name with a NUL) makes the cursor bad, in either direction.
 */

#include "base/wire.h"
#include "godwit_objects.h"

/* length (1) bytes */
void soap_put_name(struct wire_out *w, const char *name);
void soap_get_name(struct wire_in *w, char ret[GW_SP_NAME_MAX + 1]);
/* four bytes a column */
#define SOAP_MASKS_LEN (4 * GW_SP_COLUMNS)
void soap_put_masks(struct wire_out *w, const struct gw_sp_masks *masks);
void soap_get_masks(struct wire_in *w, struct gw_sp_masks *ret);
/* how many (1), capabilities */
size_t soap_set_len(const struct gw_capset *set);
void soap_put_set(struct wire_out *w, const struct gw_capset *set);
void soap_get_set(struct wire_in *w, struct gw_capset *ret);

#endif
