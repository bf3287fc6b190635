/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FLIP_SEAL_H
#define GW_FLIP_SEAL_H

/*
 * Sealing of datagrams: keys, sessions and the window against replays. Nothing here knows sockets or peers.
 *
 * A session belongs to two boots of two hosts. Each flipd draws an X25519 key pair when it starts: the public half
 * is its boot nonce. The session's keys are a hash of three agreements (static-static: both are who the hosts file
 * says; boot-boot: nothing recorded opens later, and nothing recorded under other boots can be replayed;
 * static-boot in both directions: a stolen static key does not let others pose as somebody to its owner), of all
 * four public keys, and of the cluster key.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define SEAL_KEY_LEN 32
#define SEAL_TAG_LEN 16
#define SEAL_WINDOW 2048u

struct seal_pair {
	uint8_t secret[SEAL_KEY_LEN];
	uint8_t public[SEAL_KEY_LEN];
};

struct replay {
	uint64_t high;
	uint64_t bits[SEAL_WINDOW / 64];
};

/* Ciphers, as a mask of what a host can do. */
enum seal_cipher { SEAL_CHACHA = 1, SEAL_AES = 2 };

struct evp_cipher_ctx_st;

/* One direction under one key. */
struct seal_aead {
	struct evp_cipher_ctx_st *ctx;
};

struct seal_session {
	struct seal_aead tx, rx;
	uint8_t peer_boot[SEAL_KEY_LEN];
	uint32_t index; /* by which the peer knows us */
	uint64_t sent;	/* counter of the last datagram; the first has 1 */
	struct replay replay;
};

void seal_pair_random(struct seal_pair *p);
void seal_pair_from_secret(struct seal_pair *p, const uint8_t secret[SEAL_KEY_LEN]);

/* False if the counter was seen, is too old, or is 0. replay_mark only after the datagram proved authentic. */
bool replay_test(const struct replay *w, uint64_t counter);
void replay_mark(struct replay *w, uint64_t counter);

/* What this host's processor does well. */
unsigned seal_ciphers(void);
/* Loads what the ciphers need, while files can still be opened. */
void seal_prepare(void);

/* -EKEYREJECTED if a public key is degenerate. `ciphers`: what both sides can do. */
int seal_session_derive(struct seal_session *s, const struct seal_pair *own, const struct seal_pair *own_boot,
			const uint8_t peer[SEAL_KEY_LEN], const uint8_t peer_boot[SEAL_KEY_LEN],
			const uint8_t cluster[SEAL_KEY_LEN], unsigned ciphers) must_check;
void seal_session_done(struct seal_session *s);
/* The key that authenticates handshakes between two hosts. */
int seal_hello_key(uint8_t out[SEAL_KEY_LEN], const struct seal_pair *own, const uint8_t peer[SEAL_KEY_LEN],
		   const uint8_t cluster[SEAL_KEY_LEN]) must_check;

/* In place: `text` grows by SEAL_TAG_LEN. The counter is the nonce and must be new. */
void seal_close(struct seal_aead *a, uint64_t counter, const uint8_t *ad, size_t ad_len, uint8_t *text,
		size_t len);
/* From `text` to `out`, which may be the same; `len` includes the tag. Returns the length of the text or -EBADMSG;
 * then what is in `out` must not be looked at. */
ssize_t seal_open(struct seal_aead *a, uint64_t counter, const uint8_t *ad, size_t ad_len, const uint8_t *text,
		  size_t len, uint8_t *out) must_check;

/* The same under a long-lived key with a random nonce. */
#define SEAL_NONCE_LEN 24
void seal_close_random(const uint8_t key[SEAL_KEY_LEN], uint8_t nonce[SEAL_NONCE_LEN], const uint8_t *ad,
		       size_t ad_len, uint8_t *text, size_t len);
ssize_t seal_open_random(const uint8_t key[SEAL_KEY_LEN], const uint8_t nonce[SEAL_NONCE_LEN], const uint8_t *ad,
			 size_t ad_len, uint8_t *text, size_t len) must_check;

#endif
