/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FLIPD_FLIPD_H
#define GW_FLIPD_FLIPD_H

/*
 * flipd: the network of its host. The protocols are cores without I/O (flip/, rpc/); this is their I/O: the UDP
 * socket (net.c), local programs (local.c), the clock and the keys (main.c), and the cell that all of it runs in
 * (sandbox.c).
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/conf.h"
#include "base/err.h"
#include "base/htab.h"
#include "flip/peer.h"
#include "flipd/inject.h"
#include "lib/frame.h"
#include "raw/raw.h"
#include "rpc/rpc.h"

#define FLIPD_PORT 3547
#define FLIPD_GROUP "239.255.35.47"
#define NET_IFS_MAX 32u
#define NET_PEERS_MAX 256u
#define NET_BATCH 60000u
#define NET_BATCH_N 44u /* as many datagrams as the kernel splits one send into, of the length of a fragment */

struct flipd;

struct net {
	int fd;
	uv_poll_t poll;
	bool gso;
	/* Interfaces that carry multicast, and their addresses; configured peers. */
	int ifs[NET_IFS_MAX];
	size_t n_ifs;
	struct sockaddr_in peers[NET_PEERS_MAX];
	size_t n_peers;
	/* Connected to one address after the other: the kernel says how long a packet its path carries. */
	int path_fd;
	struct path {
		uint32_t frag;
		uint64_t until_us;
	} paths[PEERS_MAX + 1]; /* by location */
	/* The interfaces with these addresses only, if there are any: `address`, and `forward`'s. */
	struct in_addr only[NET_IFS_MAX];
	size_t n_only;
	bool forward_peers; /* of a box: they count as a network */
	struct arrival {
		struct sockaddr_in from;
		int ifindex; /* of a box: that it was multicast to, 0 if it was not */
	} arrival;	     /* of the datagram that is being handled */
	/* Datagrams of one length for one address, not sent yet. */
	struct sockaddr_in to;
	uint8_t batch[NET_BATCH + PEER_DATAGRAM_MAX];
	size_t batch_len, piece, batch_n;
	uint64_t sent, received, dropped, send_errors;
};

struct conn;

/* What each user may take up of flipd; root is not limited (quota.c). */
struct quotas {
	uint64_t connections, endpoints, calls, bytes;
};

/* What a user takes up. */
struct user {
	LIST_ENTRY(user) list;
	uid_t uid;
	size_t refs;
	const struct quotas *quotas;
	size_t n_conns, n_eps;
	size_t n_calls;	  /* requests that are not over, or not read by their server */
	size_t in_bytes;  /* what he has sent, wherever it waits */
	size_t out_bytes; /* what he has not read */
	uint64_t turn_ms;
	size_t turn; /* of the loop's time, in bytes, since then */
};

struct local {
	int fd;
	uv_poll_t poll;
	uv_timer_t again; /* accepts again after descriptors ran out */
	LIST_HEAD(, conn) conns;
	LIST_HEAD(, user) users;
	struct quotas quotas;
	size_t conns_max;
	size_t n_conns, n_doomed;
	uint64_t accepted, refused, over_quota;
};

struct flipd {
	uv_loop_t loop;
	uv_timer_t timer, scan;
	uv_signal_t sigterm, sigint, sighup;
	uint64_t timer_us; /* when it fires */
	char *etc, *run, *name, *address;
	struct conf *conf;
	struct peer_config peer_config;
	struct peers *peers;
	struct rpc *rpc;
	struct raw *raw;
	struct net net;
	struct local local;
	int reader;			      /* see reader.c */
	char *empty;			      /* directory that becomes the root */
	struct gw_port procds[PEERS_MAX + 1]; /* procd@NAME, by location; see ports.c */
	uint32_t n_procds;
	uint64_t lies;
	unsigned n_tracers;
	/* NULL but in tests: what becomes of datagrams, and of the packets that were in them. */
	struct inject *on_wire, *in_packets;
};

/* After a batch of events: runs the cores, sends what they want sent, sets the timer. */
void flipd_work(struct flipd *d);

int net_open(struct flipd *d, struct err *e) must_check;
void net_start(struct flipd *d);
/* Looks for interfaces again. */
void net_scan(struct flipd *d);
/* Queues a datagram for an address, or for everybody (NULL). */
void net_send(struct flipd *d, const struct sockaddr_in *to, const uint8_t *data, size_t len);
/* Sends it to everybody but the network that the datagram which is being handled came from. */
void net_spread(struct flipd *d, const uint8_t *data, size_t len);
/* Data bytes that a FLIP packet to a location may have so that its datagram needs no more than one frame. */
uint32_t net_frag(struct flipd *d, uint32_t loc);
void net_flush(struct flipd *d);
void net_close(struct flipd *d);

int local_open(struct flipd *d, struct err *e) must_check;
void local_start(struct flipd *d);
void local_close(struct flipd *d);
/* Closes the connections that turned out to be dead or wrong while the cores were at work. */
void local_bury(struct flipd *d);
/* Parts of rpc_ops. */
bool local_room(void *ctx, void *owner, size_t len);
void local_request(void *ctx, void *owner, uint32_t number, const struct rpc_request *r);
void local_reply(void *ctx, void *owner, uint32_t number, uint64_t cookie, int status,
		 const struct rpc_body *body);
void local_cancelled(void *ctx, void *owner, uint64_t id);
void local_lost(void *ctx, void *owner, uint32_t number, uint32_t inc);

/* godwit.conf: user_connections, user_endpoints, user_calls, user_bytes. */
int quota_load(struct quotas *q, const struct conf *c, struct err *e) must_check;
/* The account of a user, with one more reference. */
struct user *quota_user(struct local *l, uid_t uid);
void quota_unref(struct user *u);
bool quota_may_connect(const struct user *u);
bool quota_may_open(const struct user *u);
/* May he send this request, or (as a server; more than that, so that he can answer what he holds) anything else?
 */
bool quota_may_send(const struct user *u, bool request, size_t len);
bool quota_may_receive(const struct user *u, size_t len);
/* The buffer is his until its last owner drops it. */
void quota_charge(struct user *u, bool request, struct buf *b);
/* Uses up some of his turn at time `ms`; false if it is over. */
bool quota_turn(struct user *u, uint64_t ms, size_t bytes);

/* Frames of a local program that are not its calls: answers to questions about flipd. The payload of the answer.
 */
struct buf *report_hosts(struct flipd *d);
struct buf *report_counters(struct flipd *d);
/* `only` NULL: everything; else what belongs to this owner, and what belongs to nobody. */
struct buf *report_table(struct flipd *d, const struct conn *only);

/* trace.c: a packet to or from a location, for those who watch. */
void trace_packet(struct flipd *d, bool sent, uint32_t loc, const struct iovec *iov, int n);

/* A child that reads the hosts file of `etc`; call it before there is any secret in memory. Returns a socket to
 * it. */
int reader_start(const char *etc, struct err *e) must_check;
/* The file as it is now, NUL-terminated, on the heap. */
int reader_read(int fd, char **ret_text, struct err *e) must_check;

/* Whether the host at that location may say that it serves that port. */
bool ports_may_serve(struct flipd *d, uint32_t loc, const struct gw_port *port);
/* A packet that says so although it may not. */
bool ports_is_lie(struct flipd *d, uint32_t loc, const uint8_t *packet, size_t len);
/* trust.c: whether root there is root here (root_from); for messages that ask for it. */
bool trusts_host(const struct flipd *d, uint32_t loc);
/* What the core of raw FLIP wants done: local_raw.c. */
extern const struct raw_ops raw_ops;

/* Gives up the file system for the empty directory `root` (NULL: may go on reading files), root for `godwit` or
 * nobody, all capabilities, and every system call that is not needed from here on; connects nothing but `connects`
 * (-1: nothing at all). */
int sandbox_enter(const char *root, int connects, struct err *e) must_check;

#endif
