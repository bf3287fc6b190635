/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MEMORY_SEAL_H
#define GW_MEMORY_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/*
 * The bulk cipher, behind this one small file so that a faster one can be swapped in. One direction of one stream:
 * a key that nothing else uses, and a counter as nonce, so that records cannot be replayed, dropped or reordered.
 */

#define SEAL_KEY_LEN 32
#define SEAL_TAG_LEN 16
#define SEAL_AES256_GCM 1u
#define SEAL_CHACHA20 2u

struct seal;

uint32_t seal_supported(void);	     /* ciphers that this host does well, as a mask */
uint32_t seal_choose(uint32_t mask); /* the best one of a mask, 0 if none is known */
const char *seal_name(uint32_t cipher);

struct seal *seal_new(uint32_t cipher, const uint8_t key[SEAL_KEY_LEN]); /* NULL: no such cipher */
void seal_free(struct seal *s);						 /* wipes */

/* Encrypts `len` bytes in place; the tag follows them, so there is room for SEAL_TAG_LEN more. `head` is
 * authenticated too. */
int seal_box(struct seal *s, uint8_t *data, size_t len, const void *head, size_t head_len) must_check;
/* Decrypts `len` bytes (tag included) in place. -EBADMSG if a single bit is not as it was sent. */
int seal_unbox(struct seal *s, uint8_t *data, size_t len, const void *head, size_t head_len) must_check;

#endif
