/* SPDX-License-Identifier: Apache-2.0 */
/*
 * By libcrypto: its AES-GCM uses the wide vector instructions of newer CPUs and is several times as fast as
 * libsodium's, and its ChaCha20-Poly1305 is fast where there is no AES instruction.
 */
#include "memory/seal.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/util.h"

#define NONCE_LEN 12

struct seal {
	EVP_CIPHER_CTX *ctx; /* holds the key */
	int direction;	     /* 1: seals, 0: opens, -1: not used yet */
	uint32_t cipher;
	uint64_t counter;
	uint8_t key[SEAL_KEY_LEN]; /* until the direction is known */
};

/* AES without its instructions is slow, and leaks through caches. */
static bool has_aes(void)
{
#if defined(__x86_64__)
	return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#else
	return false;
#endif
}

uint32_t seal_supported(void)
{
	return SEAL_CHACHA20 | (has_aes() ? SEAL_AES256_GCM : 0);
}

uint32_t seal_choose(uint32_t mask)
{
	return mask & SEAL_AES256_GCM ? SEAL_AES256_GCM : mask & SEAL_CHACHA20;
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

	if (cipher != SEAL_AES256_GCM && cipher != SEAL_CHACHA20)
		return NULL;
	s = xcalloc(1, sizeof *s);
	s->cipher = cipher;
	s->direction = -1;
	memcpy(s->key, key, sizeof s->key);
	s->ctx = EVP_CIPHER_CTX_new();
	if (!s->ctx) {
		seal_free(s);
		return NULL;
	}
	return s;
}

void seal_free(struct seal *s)
{
	if (!s)
		return;
	EVP_CIPHER_CTX_free(s->ctx); /* wipes */
	OPENSSL_cleanse(s->key, sizeof s->key);
	free(s);
}

/* Gives the context its key, once: one object seals or opens, never both. */
static int set_direction(struct seal *s, int direction)
{
	const EVP_CIPHER *c = s->cipher == SEAL_AES256_GCM ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
	int ok;

	if (s->direction == direction)
		return 0;
	assert(s->direction < 0);
	ok = EVP_CipherInit_ex(s->ctx, c, NULL, s->key, NULL, direction);
	OPENSSL_cleanse(s->key, sizeof s->key);
	s->direction = direction;
	return ok ? 0 : -EIO;
}

/* A key serves one direction of one stream, so a counter never repeats a nonce. */
static int start(struct seal *s, int direction, size_t len, const void *head, size_t head_len)
{
	uint8_t nonce[NONCE_LEN] = { 0 };
	uint64_t n = s->counter++;
	int out, err = set_direction(s, direction);

	if (err)
		return err;
	if (len > INT_MAX || head_len > INT_MAX)
		return -EMSGSIZE;
	for (int i = 0; i < 8; i++)
		nonce[i] = (uint8_t)(n >> (8 * i));
	if (!EVP_CipherInit_ex(s->ctx, NULL, NULL, NULL, nonce, direction) ||
	    !EVP_CipherUpdate(s->ctx, NULL, &out, head, (int)head_len))
		return -EIO;
	return 0;
}

int seal_box(struct seal *s, uint8_t *data, size_t len, const void *head, size_t head_len)
{
	int out, err = start(s, 1, len, head, head_len);

	if (err)
		return err;
	if (!EVP_CipherUpdate(s->ctx, data, &out, data, (int)len) ||
	    !EVP_CipherFinal_ex(s->ctx, data + out, &out) ||
	    !EVP_CIPHER_CTX_ctrl(s->ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_LEN, data + len))
		return -EIO;
	return 0;
}

int seal_unbox(struct seal *s, uint8_t *data, size_t len, const void *head, size_t head_len)
{
	int out, err;

	if (len < SEAL_TAG_LEN)
		return -EBADMSG;
	len -= SEAL_TAG_LEN;
	err = start(s, 0, len, head, head_len);
	if (err)
		return err;
	if (!EVP_CipherUpdate(s->ctx, data, &out, data, (int)len) ||
	    !EVP_CIPHER_CTX_ctrl(s->ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG_LEN, data + len) ||
	    EVP_CipherFinal_ex(s->ctx, data + out, &out) <= 0)
		return -EBADMSG;
	return 0;
}
