/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/seal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "base/util.h"

/* What both ciphers agree on. */
#define NONCE_LEN 12
static_assert(crypto_aead_aes256gcm_NPUBBYTES == NONCE_LEN, "nonce");
static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == NONCE_LEN, "nonce");
static_assert(crypto_aead_aes256gcm_ABYTES == SEAL_TAG_LEN, "tag");
static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == SEAL_TAG_LEN, "tag");
static_assert(crypto_aead_aes256gcm_KEYBYTES == SEAL_KEY_LEN, "key");

struct seal {
	crypto_aead_aes256gcm_state gcm; /* the expanded key; 16-byte aligned by its type */
	uint8_t key[SEAL_KEY_LEN];
	uint32_t cipher;
	uint64_t counter;
};

uint32_t seal_supported(void)
{
	if (sodium_init() < 0)
		return 0;
	return SEAL_CHACHA20 | (crypto_aead_aes256gcm_is_available() ? SEAL_AES256_GCM : 0);
}

uint32_t seal_choose(uint32_t mask)
{
	if (mask & SEAL_AES256_GCM)
		return SEAL_AES256_GCM;
	return mask & SEAL_CHACHA20;
}

const char *seal_name(uint32_t cipher)
{
	switch (cipher) {
	case SEAL_AES256_GCM:
		return "aes256-gcm";
	case SEAL_CHACHA20:
		return "chacha20-poly1305";
	default:
		return "plain";
	}
}

struct seal *seal_new(uint32_t cipher, const uint8_t key[SEAL_KEY_LEN])
{
	struct seal *s;

	if (!(cipher & seal_supported()) || (cipher & (cipher - 1)))
		return NULL;
	s = sodium_malloc(sizeof *s);
	if (!s)
		return NULL;
	memset(s, 0, sizeof *s);
	s->cipher = cipher;
	memcpy(s->key, key, sizeof s->key);
	if (cipher == SEAL_AES256_GCM)
		(void)crypto_aead_aes256gcm_beforenm(&s->gcm, s->key);
	return s;
}

void seal_free(struct seal *s)
{
	sodium_free(s);
}

/* A key serves one direction of one stream, so a counter never repeats a nonce. */
static void next_nonce(struct seal *s, uint8_t nonce[NONCE_LEN])
{
	uint64_t n = s->counter++;

	memset(nonce, 0, NONCE_LEN);
	for (int i = 0; i < 8; i++)
		nonce[i] = (uint8_t)(n >> (8 * i));
}

int seal_box(struct seal *s, uint8_t *data, size_t len, const void *head, size_t head_len)
{
	uint8_t nonce[NONCE_LEN];

	next_nonce(s, nonce);
	if (s->cipher == SEAL_AES256_GCM)
		(void)crypto_aead_aes256gcm_encrypt_detached_afternm(data, data + len, NULL, data, len, head,
								     head_len, NULL, nonce, &s->gcm);
	else
		(void)crypto_aead_chacha20poly1305_ietf_encrypt_detached(data, data + len, NULL, data, len, head,
									 head_len, NULL, nonce, s->key);
	return 0;
}

int seal_unbox(struct seal *s, uint8_t *data, size_t len, const void *head, size_t head_len)
{
	uint8_t nonce[NONCE_LEN];
	int bad;

	if (len < SEAL_TAG_LEN)
		return -EBADMSG;
	len -= SEAL_TAG_LEN;
	next_nonce(s, nonce);
	if (s->cipher == SEAL_AES256_GCM)
		bad = crypto_aead_aes256gcm_decrypt_detached_afternm(data, NULL, data, len, data + len, head,
								     head_len, nonce, &s->gcm);
	else
		bad = crypto_aead_chacha20poly1305_ietf_decrypt_detached(data, NULL, data, len, data + len, head,
									 head_len, nonce, s->key);
	return bad ? -EBADMSG : 0;
}
