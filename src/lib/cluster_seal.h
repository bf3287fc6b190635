/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_LIB_CLUSTER_SEAL_H
#define GW_LIB_CLUSTER_SEAL_H

/*
 * The cluster's word about the digest of an image (src/image/seal.c), by a key that is derived from cluster.key.
 * For processes that may read that file: procd, and root's `godwit image verify`. The key stays in here.
 */

#include <stdint.h>

#include "base/err.h"

#define CLUSTER_SEAL_DIGEST_LEN 64
#define CLUSTER_SEAL_ID_LEN 8
#define CLUSTER_SEAL_WORD_LEN 32

int cluster_seal_make(const uint8_t digest[CLUSTER_SEAL_DIGEST_LEN], uint8_t ret_id[CLUSTER_SEAL_ID_LEN],
		      uint8_t ret_word[CLUSTER_SEAL_WORD_LEN], struct err *e) must_check;
/* -EKEYREJECTED, in words, if it is not this cluster's, or its word about something else. */
int cluster_seal_check(const uint8_t digest[CLUSTER_SEAL_DIGEST_LEN], const uint8_t id[CLUSTER_SEAL_ID_LEN],
		       const uint8_t word[CLUSTER_SEAL_WORD_LEN], struct err *e) must_check;

#endif
