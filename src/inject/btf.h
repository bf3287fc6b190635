/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_INJECT_BTF_H
#define GW_INJECT_BTF_H

#include <stdint.h>

#include "base/err.h"

/* The kernel's description of its own types: just enough to find functions and members by name. Reading it takes
 * tens of milliseconds, so whoever does keeps the answers. */
struct btf;

int btf_load(const char *path, struct btf **ret, struct err *e) must_check;
void btf_free(struct btf *b); /* NULL-safe */

/* The id of a kernel function, -ENOENT. */
int btf_function(const struct btf *b, const char *name) must_check;
/* The offset in bytes of a member, "restart_block.nanosleep.expires" after the name of a struct; unnamed unions
 * and structs on the way are looked into. -ENOENT. */
int btf_member(const struct btf *b, const char *type, const char *path) must_check;

#endif
