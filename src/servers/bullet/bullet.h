/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_SERVERS_BULLET_H
#define GW_SERVERS_BULLET_H

/*
 * The bullet server's files. A committed one is a file on the disk, never changed: DIR/<object, 16 hexadecimal
 * digits>, 32 bytes of header (magic "GWBULLET", secret 16, zero 8), then its contents. An uncommitted one is in
 * memory only.
 */

#include <stdint.h>

#include "base/htab.h"
#include "servers/server.h"

#define FILES_MAX (1u << 20)
#define FRESH_MAX 256u		       /* uncommitted files */
#define FRESH_BYTES_MAX (1u << 30)     /* in all of them */
#define LIVES 24u		       /* of a committed one; std_age takes one */
#define FRESH_US ((uint64_t)600000000) /* how long one may stay as it is */

struct file {
	struct hnode node;
	uint64_t object;
	uint8_t secret[GW_CHECK_LEN];
	uint64_t size;
	unsigned lives; /* since this server started */
	/* Uncommitted: */
	bool fresh;
	uint8_t *bytes;
	uint64_t touched_us;
};

struct bullet {
	struct htab files;
	uint64_t last; /* object */
	size_t n_fresh, fresh_bytes;
};

/* store.c */
int store_open(struct server *s, struct bullet *b, struct err *e) must_check;
struct file *store_find(struct bullet *b, uint64_t object);
/* A new, empty, uncommitted file; NULL: there are too many. */
struct file *store_new(struct bullet *b);
void store_drop(struct server *s, struct bullet *b, struct file *f);
/* Makes an uncommitted file `size` bytes long; false: that is too much. */
bool store_resize(struct bullet *b, struct file *f, uint64_t size);
/* Onto the disk. */
int store_commit(struct server *s, struct bullet *b, struct file *f, struct err *e) must_check;
/* Up to `size` bytes of a committed or uncommitted file. */
ssize_t store_read(struct server *s, const struct file *f, uint64_t offset, void *buf, size_t size) must_check;
/* Forgets what has been uncommitted for too long. */
void store_sweep(struct server *s, struct bullet *b);
/* Takes one life of each committed file; those without another are gone. */
void store_age(struct server *s, struct bullet *b);

#endif
