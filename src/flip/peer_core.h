/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FLIP_PEER_CORE_H
#define GW_FLIP_PEER_CORE_H

/* What the files of the peer layer share: peer.c (sessions), broadcast.c, box.c (paths through other hosts). */

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/timers.h"
#include "flip/peer.h"

#define PEER_VERSION 1
#define BROADCAST_AD (4 + PEER_ID_LEN)
#define BROADCAST_HDR (BROADCAST_AD + SEAL_NONCE_LEN)
#define BROADCAST_TEXT (SEAL_KEY_LEN + 8)

enum { T_BROADCAST = 1, T_HELLO, T_DATA };
enum {
	DATA_PING = 0x01,  /* please answer */
	DATA_RELAY = 0x02, /* carries a datagram for, or from, a host on another network */
};

struct queued {
	STAILQ_ENTRY(queued) next;
	size_t len;
	uint8_t data[];
};

/* How a host is reached: at an address on one of our networks, or through a box. */
struct path {
	struct sockaddr_in addr; /* sin_port 0: not known */
	uint32_t via;		 /* the box, 0 if none */
	uint8_t hops;		 /* networks that are crossed, 1 if it is on one of ours */
};

struct peer {
	struct timer timer; /* HELLO again, or is it still there? */
	uint32_t loc;
	char name[GW_HOST_MAX];
	uint8_t public[SEAL_KEY_LEN], hello_key[SEAL_KEY_LEN];
	uint8_t id[PEER_ID_LEN];
	bool listed, revoked, alive, have_session, have_next;
	struct path path, hint; /* proven, and where a broadcast or HELLO seemed to come from */
	uint64_t path_us;	/* when anything came that way last */
	uint64_t heard_us, answered_us;
	unsigned hellos; /* unanswered */
	struct seal_session session, next;
	uint8_t broadcast_boot[SEAL_KEY_LEN]; /* that broadcasts carried last */
	struct replay broadcasts;
	STAILQ_HEAD(, queued) queue;
	unsigned n_queued;
};

struct peers {
	struct peer_config config;
	const struct peer_ops *ops;
	void *ctx;
	struct peer_stats stats;
	struct timers timers;
	struct timer beacon;
	struct seal_pair boot;
	uint8_t id[PEER_ID_LEN];
	uint64_t broadcast_counter;
	uint32_t n; /* locations 1..n */
	struct peer *peers[PEERS_MAX + 1];
};

/* peer.c */
struct peer *peer_by_id(struct peers *p, const uint8_t *id);
size_t peer_gather(uint8_t *to, const struct iovec *iov, int n);
/* To one address, or to everybody (NULL). */
void peer_out(struct peers *p, const struct sockaddr_in *to, const uint8_t *data, size_t len);
/* Begins a handshake unless one is under way. */
void peer_want_session(struct peers *p, struct peer *peer, uint64_t now_us);
void peer_send_data(struct peers *p, const struct peer *peer, struct seal_session *s, const struct path *to,
		    uint8_t flags, const struct iovec *iov, int n, uint64_t now_us);
/* A datagram, whichever way it came. */
void peer_datagram(struct peers *p, const struct path *from, uint8_t *data, size_t len, uint64_t now_us);

/* broadcast.c */
void broadcast_send(struct peers *p, uint8_t hops_max, const struct iovec *iov, int n);
void broadcast_input(struct peers *p, const struct path *from, uint8_t *d, size_t len, uint64_t now_us);

/* box.c */
bool path_known(const struct path *path);
/* Sends a datagram along a path: as it is, or in one for a box. */
void path_send(struct peers *p, const struct peer *peer, const struct path *path, const uint8_t *data, size_t len,
	       uint64_t now_us);
/* The peer has proved that it is reached that way. */
void path_take(struct peers *p, struct peer *peer, const struct path *from, uint64_t now_us);
/* Is a way that a broadcast has come worth trying, in place of the one that is used? */
bool path_is_better(const struct peers *p, const struct peer *peer, const struct path *from, uint64_t now_us);
/* What a DATA with DATA_RELAY from `box` carries. */
void box_input(struct peers *p, struct peer *box, uint8_t *data, size_t len, uint64_t now_us);

#endif
