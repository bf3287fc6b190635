/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_LIB_KEYS_H
#define GW_LIB_KEYS_H

/*
 * The keys of a cluster, as files in $GODWIT_ETC or /etc/godwit:
 *
 *	cluster.key	32 random bytes that all hosts share, as hexadecimal digits
 *	host.key	this host's secret X25519 key, likewise
 *	hosts		a line per host: its name, a blank, its public key as hexadecimal digits
 *
 * In hosts, # begins a comment.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "flip/seal.h"

#define KEYS_HOSTS_MAX (1u << 20)

/* Reads and writes a file with one key. Writing never replaces a file (-EEXIST); mode 0600. */
int keys_read(const char *path, uint8_t ret_key[SEAL_KEY_LEN], struct err *e) must_check;
int keys_write(const char *path, const uint8_t key[SEAL_KEY_LEN], struct err *e) must_check;

/* Letters, digits, dot, dash and underscore; not empty, not too long. */
bool keys_name_ok(const char *name);

/* Calls `fn` for each line of a hosts file; what it returns, if negative, ends the reading. */
typedef int keys_host_fn(void *arg, const char *name, const uint8_t public[SEAL_KEY_LEN], struct err *e);
int keys_hosts_read(const char *path, keys_host_fn *fn, void *arg, struct err *e) must_check;
/* The same for a text, which is changed; `path` is for messages. */
int keys_hosts_parse(char *text, const char *path, keys_host_fn *fn, void *arg, struct err *e) must_check;
/* Adds a line to a hosts file, which is made if there is none. */
int keys_hosts_add(const char *path, const char *name, const uint8_t public[SEAL_KEY_LEN],
		   struct err *e) must_check;

/* All that a new host needs, in directory `etc`, which exists: each file that is not there yet. `cluster` NULL
 * draws a new cluster key. */
int keys_make(const char *etc, const char *name, const uint8_t *cluster, struct err *e) must_check;

#endif
