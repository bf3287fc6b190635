/* SPDX-License-Identifier: Apache-2.0 */
#include "flip/seal.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"

void seal_pair_random(struct seal_pair *p)
{
	crypto_box_keypair(p->public, p->secret);
}

void seal_pair_from_secret(struct seal_pair *p, const uint8_t secret[SEAL_KEY_LEN])
{
	memcpy(p->secret, secret, SEAL_KEY_LEN);
	(void)crypto_scalarmult_base(p->public, p->secret);
}

bool replay_test(const struct replay *w, uint64_t counter)
{
	if (!counter)
		return false;
	if (counter > w->high)
		return true;
	if (w->high - counter >= SEAL_WINDOW)
		return false;
	return !(w->bits[counter % SEAL_WINDOW / 64] >> counter % 64 & 1);
}

void replay_mark(struct replay *w, uint64_t counter)
{
	if (counter > w->high) {
		uint64_t step = counter - w->high;

		if (step >= SEAL_WINDOW)
			memset(w->bits, 0, sizeof(w->bits));
		for (uint64_t i = 1; step < SEAL_WINDOW && i < step; i++) {
			uint64_t skipped = w->high + i;

			w->bits[skipped % SEAL_WINDOW / 64] &= ~(1ull << skipped % 64);
		}
		w->high = counter;
	}
	w->bits[counter % SEAL_WINDOW / 64] |= 1ull << counter % 64;
}

/* Adds one agreement to a hash. */
static int agree(crypto_generichash_state *st, const uint8_t secret[SEAL_KEY_LEN],
		 const uint8_t public[SEAL_KEY_LEN])
{
	uint8_t shared[SEAL_KEY_LEN];
	int bad = crypto_scalarmult(shared, secret, public);

	if (!bad)
		crypto_generichash_update(st, shared, sizeof(shared));
	sodium_memzero(shared, sizeof(shared));
	return bad ? -EKEYREJECTED : 0;
}

static void begin(crypto_generichash_state *st, const char *domain, const uint8_t cluster[SEAL_KEY_LEN])
{
	crypto_generichash_init(st, cluster, SEAL_KEY_LEN, 2 * SEAL_KEY_LEN);
	crypto_generichash_update(st, (const uint8_t *)domain, strlen(domain) + 1);
}

#define NONCE_LEN 12

/* Datagrams are short: a context keeps the expanded key, and only the nonce is new each time. */
static void aead_init(struct seal_aead *a, unsigned ciphers, const uint8_t key[SEAL_KEY_LEN], bool seals)
{
	const EVP_CIPHER *cipher = ciphers & SEAL_AES ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();

	a->ctx = EVP_CIPHER_CTX_new();
	if (!a->ctx || EVP_CipherInit_ex(a->ctx, cipher, NULL, key, NULL, seals) != 1)
		abort();
}

void seal_session_done(struct seal_session *s)
{
	EVP_CIPHER_CTX_free(s->tx.ctx);
	EVP_CIPHER_CTX_free(s->rx.ctx);
	sodium_memzero(s, sizeof(*s));
}

/* AES without its instructions is slow, and leaks through caches. */
unsigned seal_ciphers(void)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul"))
		return SEAL_CHACHA | SEAL_AES;
#endif
	return SEAL_CHACHA;
}

void seal_prepare(void)
{
	static const uint8_t key[SEAL_KEY_LEN];

	for (unsigned cipher = SEAL_CHACHA; cipher <= SEAL_AES; cipher <<= 1) {
		uint8_t text[SEAL_TAG_LEN + 1] = { 0 };
		struct seal_aead a;

		aead_init(&a, cipher, key, true);
		seal_close(&a, 1, key, 1, text, 1);
		EVP_CIPHER_CTX_free(a.ctx);
	}
}

static void counter_nonce(uint8_t nonce[NONCE_LEN], uint64_t counter)
{
	struct wire_out w = wire_out(nonce, NONCE_LEN);

	wire_put_u32(&w, 0);
	wire_put_u64(&w, counter);
}

void seal_close(struct seal_aead *a, uint64_t counter, const uint8_t *ad, size_t ad_len, uint8_t *text, size_t len)
{
	uint8_t nonce[NONCE_LEN];
	int n, ok;

	counter_nonce(nonce, counter);
	ok = EVP_EncryptInit_ex(a->ctx, NULL, NULL, NULL, nonce) == 1 &&
	     EVP_EncryptUpdate(a->ctx, NULL, &n, ad, (int)ad_len) == 1 &&
	     (!len || EVP_EncryptUpdate(a->ctx, text, &n, text, (int)len) == 1) &&
	     EVP_EncryptFinal_ex(a->ctx, text + len, &n) == 1 &&
	     EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_LEN, text + len) == 1;
	/* Nothing of this depends on what is sealed: it cannot fail but by a mistake here. */
	assert(ok);
}

ssize_t seal_open(struct seal_aead *a, uint64_t counter, const uint8_t *ad, size_t ad_len, const uint8_t *text,
		  size_t len, uint8_t *out)
{
	uint8_t nonce[NONCE_LEN], tag[SEAL_TAG_LEN], none;
	int n;

	if (len < SEAL_TAG_LEN)
		return -EBADMSG;
	len -= SEAL_TAG_LEN;
	memcpy(tag, text + len, SEAL_TAG_LEN);
	counter_nonce(nonce, counter);
	if (EVP_DecryptInit_ex(a->ctx, NULL, NULL, NULL, nonce) != 1 ||
	    EVP_DecryptUpdate(a->ctx, NULL, &n, ad, (int)ad_len) != 1 ||
	    (len && EVP_DecryptUpdate(a->ctx, out, &n, text, (int)len) != 1) ||
	    EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG_LEN, tag) != 1 ||
	    EVP_DecryptFinal_ex(a->ctx, &none, &n) != 1)
		return -EBADMSG;
	return (ssize_t)len;
}

int seal_session_derive(struct seal_session *s, const struct seal_pair *own, const struct seal_pair *own_boot,
			const uint8_t peer[SEAL_KEY_LEN], const uint8_t peer_boot[SEAL_KEY_LEN],
			const uint8_t cluster[SEAL_KEY_LEN], unsigned ciphers)
{
	/* Both ends must hash in the same order: the smaller static key first. */
	bool first = memcmp(own->public, peer, SEAL_KEY_LEN) < 0;
	uint8_t keys[2 * SEAL_KEY_LEN];
	crypto_generichash_state st;
	int err;

	begin(&st, "godwit session 1", cluster);
	crypto_generichash_update(&st, first ? own->public : peer, SEAL_KEY_LEN);
	crypto_generichash_update(&st, first ? peer : own->public, SEAL_KEY_LEN);
	crypto_generichash_update(&st, first ? own_boot->public : peer_boot, SEAL_KEY_LEN);
	crypto_generichash_update(&st, first ? peer_boot : own_boot->public, SEAL_KEY_LEN);
	err = agree(&st, own->secret, peer);
	if (!err)
		err = agree(&st, own_boot->secret, peer_boot);
	/* static of the first with boot of the second, then the other way round */
	if (!err)
		err = first ? agree(&st, own->secret, peer_boot) : agree(&st, own_boot->secret, peer);
	if (!err)
		err = first ? agree(&st, own_boot->secret, peer) : agree(&st, own->secret, peer_boot);
	crypto_generichash_final(&st, keys, sizeof(keys));
	if (!err) {
		*s = (struct seal_session) { 0 };
		aead_init(&s->tx, ciphers, keys + (first ? 0 : SEAL_KEY_LEN), true);
		aead_init(&s->rx, ciphers, keys + (first ? SEAL_KEY_LEN : 0), false);
		memcpy(s->peer_boot, peer_boot, SEAL_KEY_LEN);
	}
	sodium_memzero(keys, sizeof(keys));
	sodium_memzero(&st, sizeof(st));
	return err;
}

int seal_hello_key(uint8_t out[SEAL_KEY_LEN], const struct seal_pair *own, const uint8_t peer[SEAL_KEY_LEN],
		   const uint8_t cluster[SEAL_KEY_LEN])
{
	uint8_t wide[2 * SEAL_KEY_LEN];
	crypto_generichash_state st;
	int err;

	begin(&st, "godwit hello 1", cluster);
	err = agree(&st, own->secret, peer);
	crypto_generichash_final(&st, wide, sizeof(wide));
	memcpy(out, wide, SEAL_KEY_LEN);
	sodium_memzero(wide, sizeof(wide));
	sodium_memzero(&st, sizeof(st));
	return err;
}

void seal_close_random(const uint8_t key[SEAL_KEY_LEN], uint8_t nonce[SEAL_NONCE_LEN], const uint8_t *ad,
		       size_t ad_len, uint8_t *text, size_t len)
{
	randombytes_buf(nonce, SEAL_NONCE_LEN);
	crypto_aead_xchacha20poly1305_ietf_encrypt(text, NULL, text, len, ad, ad_len, NULL, nonce, key);
}

ssize_t seal_open_random(const uint8_t key[SEAL_KEY_LEN], const uint8_t nonce[SEAL_NONCE_LEN], const uint8_t *ad,
			 size_t ad_len, uint8_t *text, size_t len)
{
	if (len < SEAL_TAG_LEN ||
	    crypto_aead_xchacha20poly1305_ietf_decrypt(text, NULL, NULL, text, len, ad, ad_len, nonce, key) != 0)
		return -EBADMSG;
	return (ssize_t)(len - SEAL_TAG_LEN);
}
