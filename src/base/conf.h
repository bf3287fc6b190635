/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_BASE_CONF_H
#define GW_BASE_CONF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * A file of `key = value` lines. `#` begins a comment, blank lines count for nothing, keys are [a-z_]+, a value is
 * the rest of the line without surrounding blanks. A key may come several times: the last one counts. The file is
 * read as a whole; who understands which key is the callers' business.
 */

#define CONF_FILE_MAX 65536u

struct conf;

/* $GODWIT_ETC or /etc/godwit, then "/" and `name`, on the heap. */
char *conf_path(const char *name);
/* A missing file is an empty one. Free with conf_free(). */
int conf_load(const char *path, struct conf **ret, struct err *e) must_check;
void conf_free(struct conf *c);

/* The value, or `fallback`. Valid until conf_free(). */
const char *conf_string(const struct conf *c, const char *key, const char *fallback);
/* A number with an optional suffix k, M, G (powers of 1024). -EINVAL when it is something else. */
int conf_number(const struct conf *c, const char *key, uint64_t fallback, uint64_t *ret, struct err *e) must_check;
/* The i-th element of a comma-separated value, copied into `buf`; NULL when there are no more or it is too long.
 */
const char *conf_element(const struct conf *c, const char *key, size_t i, char *buf, size_t size);

#endif
