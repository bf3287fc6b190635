/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_NAMES_H
#define GW_PROCD_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NAME_MAX_LEN 63u /* a job's name */

/* [A-Za-z0-9][A-Za-z0-9._-]{0,62}: safe as a directory, a cgroup and part of a port's name. */
bool name_is_valid(const char *name);
/* A name for a job that was given none: the command's last component, cleaned, then "-HOST-" and five characters
 * made of `random`. Jobs move away and their birthplace may forget them, so a counter would not be unique. */
void name_make(char ret[NAME_MAX_LEN + 1], const char *command, const char *host, uint32_t random);
/* 32 hexadecimal digits. */
bool migration_id_is_valid(const char *id);

#endif
