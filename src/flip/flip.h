/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FLIP_FLIP_H
#define GW_FLIP_FLIP_H

/*
 * FLIP: unreliable messages between addresses, wherever they are. A core without I/O.
 *
 * One `struct flip` is the FLIP of one host. Events come in through calls: a packet (flip_input), a message to
 * send (flip_send), time (flip_work), hosts that appear and vanish (flip_peer_alive). Actions go out through
 * flip_ops. Everything that goes up (deliver, notdeliver, located, lost, announced) is called from flip_work only,
 * never from inside another call: after each batch of events call flip_work, and again at flip_next().
 *
 * A location is a host: FLIP_LOC_HERE, or a number that the layer below gives its peers. What the layer below
 * delivers is authentic: it came from the host with that location. Broadcasts are not (anyone who ever held the
 * cluster key can make them): they carry only questions and hints, and change nothing by themselves.
 *
 * A message of one fragment is sent and forgotten; longer ones are kept until all of their fragments have arrived,
 * are sent at a rate that the path carries, and only missing fragments are sent again. The layer above learns
 * through notdeliver that a message was certainly or possibly not delivered; silence means nothing.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/timers.h"
#include "base/wire.h"
#include "flip/packet.h"
#include "flip/route.h"

#define FLIP_LOC_HERE 0u
/* As a destination of transmit: all hosts, by broadcast. */
#define FLIP_LOC_ALL (UINT32_MAX - 1)
#define FLIP_LOCS_MAX 1024u
#define FLIP_HEAD_MAX 64u
#define FLIP_LOCATE_DEFAULT_US 5200000u
/* Groups of an endpoint. */
#define FLIP_GROUPS_MAX 64u

/* A message: some bytes of its sender's protocol, then a piece of a shared buffer. */
struct flip_data {
	uint8_t head[FLIP_HEAD_MAX];
	size_t head_len;
	struct buf *body; /* may be NULL */
	size_t off, len;
	uint8_t flags; /* FLIP_F_RAW, FLIP_F_SAFE; FLIP_F_GROUP: it goes as MULTIDATA */
};

/* How an endpoint answers. */
enum flip_ep_state {
	FLIP_EP_UP = 1,
	FLIP_EP_BUSY,  /* being migrated: BUSY to everything */
	FLIP_EP_GHOST, /* gone; still sends what it owes, and takes what concerns that */
};

struct flip_ep {
	struct hnode node;
	flip_addr private_addr, addr;
	uint32_t inc;
	uint32_t messid; /* of the next message */
	enum flip_ep_state state;
	bool hidden;
	bool raw; /* a program's own: hears what has FLIP_F_RAW, and nothing else */
	flip_addr *groups;
	size_t n_groups;
	void *user;
};

struct flip_delivery {
	flip_addr src;
	uint32_t src_inc, loc, messid;
	struct flip_data data; /* the receiver refs what it keeps */
};

enum flip_why {
	FLIP_WHY_NOT_LOCATED = 1, /* it is nowhere */
	FLIP_WHY_NOTHERE,	  /* it has left where it was believed to be */
	FLIP_WHY_BUSY,		  /* it is moving */
	FLIP_WHY_TIMEOUT,	  /* its host does not answer; only for messages of several fragments */
	FLIP_WHY_UNTRUSTED,	  /* its host and this one do not trust each other; only with FLIP_F_SAFE */
};

struct flip_failure {
	flip_addr dst;
	uint32_t messid;
	enum flip_why why;
	bool certain; /* the message was not delivered */
};

enum flip_here { FLIP_NOT_HERE, FLIP_IS_HERE, FLIP_HERE_BUSY };

struct flip_ops {
	/* Sends a packet to a location; may drop it. Called at any time. */
	void (*transmit)(void *ctx, uint32_t loc, const struct iovec *iov, int n);
	/* Data bytes that a packet to a location may have so that the path carries it in one frame; FLIP_FRAG if
	 * NULL. Called at any time. */
	uint32_t (*frag)(void *ctx, uint32_t loc);
	void (*deliver)(void *ctx, struct flip_ep *ep, const struct flip_delivery *d);
	void (*notdeliver)(void *ctx, struct flip_ep *ep, const struct flip_failure *f);
	/* A one-fragment message for an endpoint that is not up: does it concern something that is still owed?
	 * Called at any time. */
	bool (*owed)(void *ctx, struct flip_ep *ep, flip_addr src, const struct flip_data *d);
	/* Is the port served here, and by whom? Called at any time. */
	enum flip_here (*port_here)(void *ctx, const uint8_t port[FLIP_PORT_LEN], struct flip_ep **ret_ep);
	/* Does anybody still wait for the end of flip_locate_port? Always, if NULL. Called at any time. */
	bool (*port_wanted)(void *ctx, const uint8_t port[FLIP_PORT_LEN]);
	/* The end of flip_locate_port: who serves it, or addr 0. */
	void (*located)(void *ctx, const uint8_t port[FLIP_PORT_LEN], flip_addr addr);
	/* The address has a new home. */
	void (*announced)(void *ctx, flip_addr addr);
	/* A higher incarnation of the endpoint lives elsewhere. It has become a ghost. */
	void (*lost)(void *ctx, struct flip_ep *ep, uint32_t inc);
};

/* The same for endpoints that are raw: flip_raw. */
struct flip_raw_ops {
	void (*deliver)(void *ctx, struct flip_ep *ep, const struct flip_delivery *d);
	void (*notdeliver)(void *ctx, struct flip_ep *ep, const struct flip_failure *f);
	void (*announced)(void *ctx, flip_addr addr);
	void (*lost)(void *ctx, struct flip_ep *ep, uint32_t inc);
	/* The end of flip_locate_group, whoever has been found. */
	void (*group_located)(void *ctx, flip_addr group);
	/* Is that host trusted? All are, if NULL. Called at any time. */
	bool (*trusts)(void *ctx, uint32_t loc);
};

struct flip_config {
	flip_addr host;		 /* public address of this host's flipd: the source of its questions */
	uint64_t settle_us;	 /* how long after the start the list of live hosts may be incomplete */
	uint64_t locate_us;	 /* first interval between the questions of a locate */
	uint64_t locate_max_us;	 /* of an address: then it is nowhere */
	size_t reassembly_bytes; /* all messages that are arriving, together */
	uint32_t window;	 /* bytes under way to one location: where the congestion window starts */
};

struct flip_stats {
	uint64_t in, out, bad, dropped, delivered, nothere, busy, locates, fragments_resent, messages_timed_out;
	uint64_t announcements, routes_rejected;
};

struct flip;

/* Sensible values; `host` is fresh. */
void flip_config_default(struct flip_config *c);
struct flip *flip_new(const struct flip_config *c, const struct flip_ops *ops, void *ctx, uint64_t now_us);
void flip_free(struct flip *f);
/* Who has the raw endpoints. */
void flip_raw(struct flip *f, const struct flip_raw_ops *ops, void *ctx);
const struct flip_stats *flip_stats(const struct flip *f);
flip_addr flip_host(const struct flip *f);

/* A packet from `loc`, authentic unless `broadcast`. */
void flip_input(struct flip *f, uint32_t loc, bool broadcast, const uint8_t *packet, size_t len, uint64_t now_us);
/* Runs timers and hands up what has been received. */
void flip_work(struct flip *f, uint64_t now_us);
/* When flip_work is next needed; TIMERS_NEVER if only events can bring something. */
uint64_t flip_next(const struct flip *f);
/* A host is (not) there. Locates wait for the answers of those that are; routes to one that is not are forgotten.
 */
void flip_peer_alive(struct flip *f, uint32_t loc, bool alive, uint64_t now_us);
/* A host is so many networks away: questions that go less far do not reach it. 1 if nothing else is said. */
void flip_peer_distance(struct flip *f, uint32_t loc, uint8_t hops);

/* An endpoint listens on F(private_addr). NULL if the address is served here already or a higher incarnation of it
 * is known elsewhere. */
struct flip_ep *flip_ep_new(struct flip *f, flip_addr private_addr, uint32_t inc, void *user);
/* What it has not delivered up is dropped; what it has sent goes on. */
void flip_ep_free(struct flip *f, struct flip_ep *ep);
/* A ghost that owes nothing any more and waits for its owner only: nothing reaches it. */
void flip_ep_hide(struct flip *f, struct flip_ep *ep);
struct flip_ep *flip_ep_find(struct flip *f, flip_addr addr);
/*
 * An endpoint that moves. Its state as bytes, whoever's it is, begins with FLIP_EP_HEAD_LEN of them: magic (4)
 * version (2) zero (2)  private address (8)  incarnation (4)  messid (4). flip_ep_get makes the endpoint here, in
 * its next incarnation: -EBADMSG, or -EEXIST as flip_ep_new.
 */
#define FLIP_EP_HEAD_LEN 24u
void flip_ep_put(struct wire_out *w, const struct flip_ep *ep, uint32_t magic, uint16_t version);
int flip_ep_get(struct flip *f, struct wire_in *w, uint32_t magic, uint16_t version,
		struct flip_ep **ret_ep) must_check;
/* Tells every host where the endpoint is now, a few times. */
void flip_ep_announce(struct flip *f, struct flip_ep *ep, uint64_t now_us);

/*
 * Sends a message; takes a reference to its body. `loc`: send it there whatever the routes say, FLIP_LOC_NONE to
 * follow them or locate the address. Returns its message id.
 */
uint32_t flip_send(struct flip *f, struct flip_ep *ep, flip_addr dst, uint32_t loc, const struct flip_data *d,
		   uint64_t now_us);
/* Is the message still waiting for a route, or for fragments to arrive? */
bool flip_sending(struct flip *f, const struct flip_ep *ep, uint32_t messid);
/* Nobody needs it any more. */
void flip_cancel(struct flip *f, const struct flip_ep *ep, uint32_t messid);
/* The route to an address is doubted: the next message locates it. */
void flip_invalidate(struct flip *f, flip_addr addr);
uint32_t flip_location(struct flip *f, flip_addr addr);
/* Every address that a way is known to. */
void flip_each_route(const struct flip *f, void (*fn)(void *ctx, flip_addr addr, uint32_t loc, uint32_t inc),
		     void *ctx);
/* Finds who serves a port elsewhere, for at most `timeout_us`; ends with `located`. Asking again while it runs can
 * only make it longer. Without `located` it ends when nobody waits for it any more. */
void flip_locate_port(struct flip *f, const uint8_t port[FLIP_PORT_LEN], uint64_t timeout_us, uint64_t now_us);
/* Is a search for the port under way that was told BUSY a moment ago? */
bool flip_port_busy(struct flip *f, const uint8_t port[FLIP_PORT_LEN], uint64_t now_us);
/* As flip_send, under the number of an earlier message of the endpoint: one that is known not to have arrived, or
 * of which its receiver drops what it has got before. */
void flip_send_again(struct flip *f, struct flip_ep *ep, uint32_t messid, flip_addr dst, const struct flip_data *d,
		     uint64_t now_us);
/* For those whose work is FLIP's: their timers fire in flip_work, with the struct flip as ctx. */
struct timers *flip_timers(struct flip *f);
/* As of the last event. */
uint64_t flip_now(const struct flip *f);

/*
 * Groups: group.c. An endpoint listens on F(private_group) as well, beside any number of others; whoever is new is
 * announced. Joining twice changes nothing. -ENOSPC: it is in FLIP_GROUPS_MAX already, or FLIP_MEMBERS_MAX of this
 * host are in the group.
 */
int flip_join(struct flip *f, struct flip_ep *ep, flip_addr group) must_check;
void flip_leave(struct flip *f, struct flip_ep *ep, flip_addr group);
bool flip_ep_in(const struct flip_ep *ep, flip_addr group);
/*
 * Who is in the group, here and elsewhere, as far as this host knows: addresses, the caller's to free. False: it
 * was not asked lately; then flip_locate_group asks, for at most `timeout_us` and until it has found `n`, and ends
 * with group_located.
 */
bool flip_group(struct flip *f, flip_addr group, flip_addr **ret_members, size_t *ret_n, uint64_t now_us);
void flip_locate_group(struct flip *f, flip_addr group, size_t n, uint64_t timeout_us, uint64_t now_us);
/* That member is nowhere. */
void flip_group_drop(struct flip *f, flip_addr group, flip_addr member);
/* How many networks lie between this host and an address, 0 if it is here or nobody knows. */
unsigned flip_distance(struct flip *f, flip_addr addr);

#endif
