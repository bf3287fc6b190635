/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_SERVERS_SOAP_H
#define GW_SERVERS_SOAP_H

/*
 * The directories of soap, all in memory and each in a file, which is written anew, in one step, with every
 *change. Directory 0, the root, is always there. What changes several directories at once goes into the file
 *"install" first: whoever finds it finishes it.
 *
 *	d<object, 16 digits>	magic (8) secret (16) seqnr (8) rows (4):
 *				name (1 + n) masks (4 each) caps (1): capability (44)
 *	install			magic (8) directories (4): object (8) length (4) as above
 */

#include <stdint.h>

#include "base/htab.h"
#include "lib/soap_wire.h"
#include "servers/server.h"

#define DIRS_MAX 65536u
#define ROWS_MAX 65536u

struct row {
	char name[GW_SP_NAME_MAX + 1];
	struct gw_sp_masks masks;
	struct gw_capset set;
};

struct dir {
	struct hnode node;
	uint64_t object, seqnr;
	uint8_t secret[GW_CHECK_LEN];
	struct row *rows; /* in the order of names */
	size_t n;
};

struct soap {
	struct htab dirs;
	uint64_t last; /* object */
};

/* dirs.c: in memory */
struct dir *dir_find(struct soap *x, uint64_t object);
struct dir *dir_add(struct soap *x, uint64_t object);
void dir_remove(struct soap *x, struct dir *d);
struct row *row_find(const struct dir *d, const char *name);
/* Adds or replaces; n 0 in the set removes. */
void row_set(struct dir *d, const struct row *row);
/* A copy of the rows, for a change that may not come about; dir_take gives it back to the directory. */
struct dir dir_copy(const struct dir *d);
void dir_take(struct dir *d, struct dir *copy);
bool name_is_good(const char *name);

/* disk.c */
int disk_open(struct server *s, struct soap *x, struct err *e) must_check;
int disk_write(struct server *s, const struct dir *d, struct err *e) must_check;
/* All of them, or, after a crash, none. */
int disk_install(struct server *s, const struct dir *dirs, size_t n, struct err *e) must_check;
void disk_remove(struct server *s, const struct dir *d);

#endif
