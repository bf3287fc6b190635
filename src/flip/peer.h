/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FLIP_PEER_H
#define GW_FLIP_PEER_H

/*
 * The hosts of the cluster, and sealed datagrams between them. A core without I/O: datagrams in, datagrams out.
 *
 * Every datagram begins with type (1), version (1) and two bytes that depend on the type. Numbers are in
 * network order.
 *
 * - BROADCAST 1: hops (1) hops_max (1)  key id of the sender (8)  nonce (24)  sealed under the cluster key: boot
 *   nonce (32) counter (8)  FLIP packet or nothing. Anyone who ever had the cluster key can make one: a hint, no
 *   more. Without a packet it is a beacon: "I am here". If hops is not 0 a box repeats a BROADCAST, which is whole
 *   in the place of the packet, from another network: so many did it cross, and hops_max are as many as it may.
 * - HELLO 2: ciphers (2): 1 ChaCha20-Poly1305, 2 AES-256-GCM, which is taken if both can  key ids of sender (8)
 *   and receiver (8)  boot nonce of the sender (32)  boot nonce of the receiver as the sender knows it, or zeros
 *   (32)  index (4)  tag (16) under the pair's hello key.
 * - DATA 3: flags (1) zero (1)  index (4): as the receiver's HELLO said  counter (8)  sealed under the session's
 *   key: a FLIP packet or nothing. Flags: 1, please answer; 2, the place of the packet has boxes passed (1) zero
 *   (3)  key id of the receiver (8)  a HELLO or DATA for that, which a box passes on.
 *
 * Handshake of A and B:
 *	A -> B	HELLO	(boot A, 0)		B derives a candidate session
 *	B -> A	HELLO	(boot B, boot A)	A derives it too
 *	A -> B	DATA	nothing			proof that A lives in that boot: B's candidate becomes its session
 *	B -> A	DATA	...			likewise
 * A replayed HELLO yields at most a candidate that nothing is ever sent under but the proof.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "flip/packet.h"
#include "flip/seal.h"
#include "godwit.h"

#define PEERS_MAX 1000u
#define PEER_ID_LEN 8
#define PEER_DATA_HDR 16
#define PEER_DATAGRAM_MAX (2048u + FLIP_FRAG_MAX)
/* Networks that anything may cross, and what a datagram has more if it crosses more than one. */
#define PEER_HOPS_MAX FLIP_HOPS_MAX
#define PEER_RELAY_LEN 44u

struct peer_config {
	char name[GW_HOST_MAX]; /* of this host */
	struct seal_pair own;
	uint8_t cluster[SEAL_KEY_LEN];
	uint64_t beacon_us;
	uint64_t dead_us; /* silence after which a host counts as gone */
	bool forward;	  /* a FLIP box: passes on what is for hosts on other networks */
};

struct peer_ops {
	/* To one address, or to everybody (NULL). May drop it. */
	void (*send)(void *ctx, const struct sockaddr_in *to, const uint8_t *data, size_t len);
	/* Of a box: to everybody but the network that the datagram which is being handled came from. */
	void (*spread)(void *ctx, const uint8_t *data, size_t len);
	/* A packet from location `loc`; authentic unless `broadcast`. */
	void (*packet)(void *ctx, uint32_t loc, bool broadcast, const uint8_t *packet, size_t len,
		       uint64_t now_us);
	void (*alive)(void *ctx, uint32_t loc, bool alive, uint64_t now_us);
	/* So many networks away, from now on; may be NULL. Before the host is alive. */
	void (*distance)(void *ctx, uint32_t loc, uint8_t hops);
};

struct peer_info {
	const char *name;
	struct sockaddr_in addr; /* sin_port 0 if unknown; the box's if one leads there */
	uint32_t via;		 /* location of that box, else 0 */
	uint8_t hops;		 /* networks to cross */
	uint64_t heard_us;	 /* 0 if never */
	bool alive;
};

struct peer_stats {
	uint64_t in, out, bad, replayed, unknown, hellos_in, hellos_out, sessions, queue_drops;
	/* Of boxes: broadcasts repeated, datagrams passed on; and those that nobody knew a way for. */
	uint64_t spread, relayed, no_way;
};

struct peers;

void peer_config_default(struct peer_config *c);
struct peers *peers_new(const struct peer_config *c, const struct peer_ops *ops, void *ctx, uint64_t now_us);
void peers_free(struct peers *p);
const struct peer_stats *peers_stats(const struct peers *p);

/* The hosts file: between begin and end, every host is named; those that are not any more are revoked. */
void peers_hosts_begin(struct peers *p);
int peers_hosts_add(struct peers *p, const char *name, const uint8_t public[SEAL_KEY_LEN]);
void peers_hosts_end(struct peers *p, uint64_t now_us);

void peers_input(struct peers *p, const struct sockaddr_in *from, uint8_t *data, size_t len, uint64_t now_us);
/* A FLIP packet to a location or FLIP_LOC_ALL. */
void peers_send(struct peers *p, uint32_t loc, const struct iovec *iov, int n, uint64_t now_us);
void peers_work(struct peers *p, uint64_t now_us);
uint64_t peers_next(const struct peers *p);

/* Location `loc`'s name (this host's for 0); "" if there is none. Locations run from 1 to peers_count. */
const char *peers_name(const struct peers *p, uint32_t loc);
uint32_t peers_count(const struct peers *p);
bool peers_info(const struct peers *p, uint32_t loc, struct peer_info *ret);

#endif
