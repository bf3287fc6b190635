/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/cluster_seal.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/conf.h"
#include "base/util.h"
#include "lib/keys.h"

/* One purpose each, so that neither says anything about the other, or about cluster.key. */
#define KEY_PURPOSE "godwit image seal 1"
#define ID_PURPOSE "godwit image seal id 1"

static void derive(uint8_t *to, size_t len, const char *purpose, const uint8_t key[SEAL_KEY_LEN])
{
	(void)crypto_generichash(to, len, (const uint8_t *)purpose, strlen(purpose), key, SEAL_KEY_LEN);
}

int cluster_seal_make(const uint8_t digest[CLUSTER_SEAL_DIGEST_LEN], uint8_t ret_id[CLUSTER_SEAL_ID_LEN],
		      uint8_t ret_word[CLUSTER_SEAL_WORD_LEN], struct err *e)
{
	_cleanup_free_ char *path = conf_path("cluster.key");
	uint8_t cluster[SEAL_KEY_LEN], key[SEAL_KEY_LEN], id[SEAL_KEY_LEN];
	int err;

	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium does not start");
	err = keys_read(path, cluster, e);
	if (err < 0)
		return err;
	derive(key, sizeof key, KEY_PURPOSE, cluster);
	derive(id, sizeof id, ID_PURPOSE, cluster);
	memcpy(ret_id, id, CLUSTER_SEAL_ID_LEN);
	(void)crypto_generichash(ret_word, CLUSTER_SEAL_WORD_LEN, digest, CLUSTER_SEAL_DIGEST_LEN, key,
				 sizeof key);
	sodium_memzero(cluster, sizeof cluster);
	sodium_memzero(key, sizeof key);
	return 0;
}

int cluster_seal_check(const uint8_t digest[CLUSTER_SEAL_DIGEST_LEN], const uint8_t id[CLUSTER_SEAL_ID_LEN],
		       const uint8_t word[CLUSTER_SEAL_WORD_LEN], struct err *e)
{
	uint8_t our_id[CLUSTER_SEAL_ID_LEN], our_word[CLUSTER_SEAL_WORD_LEN];
	int err = cluster_seal_make(digest, our_id, our_word, e);

	if (err < 0)
		return err;
	if (sodium_memcmp(id, our_id, sizeof our_id) != 0)
		return err_set(e, -EKEYREJECTED,
			       "it is sealed by another cluster, or by this one before its key was changed");
	if (sodium_memcmp(word, our_word, sizeof our_word) != 0)
		return err_set(e, -EKEYREJECTED, "its seal is broken: the cluster's word is about something else");
	return 0;
}
