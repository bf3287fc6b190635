/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_LIB_CLIENT_H
#define GW_LIB_CLIENT_H

/*
 * The asynchronous client of flipd: what lies under godwit.h, and what procd uses itself.
 *
 * One `struct gwc` is one connection to flipd. Nothing here ever blocks (but gwc_wait, and calls after gwc_block,
 * for programs without an event loop): calls queue a frame and try to write it; answers arrive through callbacks,
 * which run only inside gwc_dispatch. Poll gwc_fd() for gwc_events(), call gwc_dispatch() when it is ready.
 * Callbacks may call anything here but gwc_close and gwc_dispatch. Many transactions may be under way at the same
 * time, and many requests may be held and answered in any order, at any later time.
 *
 * Endpoints. A connection begins with endpoint GWC_MAIN, which has a FLIP address of its own. It may open further
 * ones, each with its own private address, incarnation and ports: procd opens one for each job, so that it can
 * move. Endpoints die with the connection. Endpoint numbers are chosen by the library, never 0 and never used
 * again.
 *
 * Moving an endpoint, at the source S and the destination D:
 *
 * - S gwc_endpoint_take: BUSY begins, and the communication state is copied out, in one step of flipd's event
 *   loop. From here on flipd answers BUSY to whatever is addressed to the endpoint, port locates too: senders
 *   wait, nothing fails. Requests that were delivered earlier (they may still be in the socket: they arrive
 *   before take's callback) stay with this server. Answer them with gwc_reply as usual, before or after; their
 *   replies leave from S. No new request arrives.
 * - D gwc_endpoint_install: the blob becomes an endpoint here, with the next incarnation and the same ports, and
 *   is announced: waiting senders try again at once.
 * - S gwc_endpoint_close: S forgets it, after D has it.
 * - If the move failed, instead, and only if D has not installed it: S gwc_endpoint_resume. BUSY ends, the
 *   endpoint goes on at S.
 *
 * Client transactions of the endpoint that are under way when it is taken go along with the blob: at D their
 * replies arrive through gwc_ops.orphan_reply; at S their callbacks get GWC_MOVED when the endpoint is closed,
 * and after gwc_endpoint_resume they simply go on. While it is taken no new ones can be started.
 *
 * When flipd goes away, every pending callback gets GW_FAILURE, then ops.disconnected is called once. Close the
 * client and open a new one (gwc_open fails with -ECONNREFUSED or -ENOENT until flipd is back); the new connection
 * has a new address; ports are registered again by whoever serves them.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "godwit.h"

#define GWC_MAIN 1u
/* Status of a transaction that was moved away with its endpoint. */
#define GWC_MOVED (-30)
/* Requests that flipd hands to one connection before earlier ones are answered; more wait at their clients. */
#define GWC_REQUESTS_MAX 4096
/* Bytes that may wait to be written to flipd; beyond it calls return -ENOBUFS. */
#define GWC_QUEUE_MAX (64u << 20)
/* The longest blob of gwc_endpoint_take. */
#define GWC_BLOB_MAX (16u << 20)

struct gwc;

struct gwc_request {
	uint64_t id; /* for gwc_reply; never used again on this connection */
	uint32_t endpoint;
	uint64_t client;   /* FLIP address of the sender */
	struct gw_hdr hdr; /* hdr.port is the put-port */
	const void *data;  /* valid until the callback returns */
	size_t len;
	uid_t uid; /* of the sender, as its flipd knows it by SO_PEERCRED */
	gid_t gid;
	const char *
		host; /* name of the sender's host as in the hosts file (this host's own if local), until return */
	bool local;   /* the sender is on this host */
};

struct gwc_host {
	char name[GW_HOST_MAX];
	char address[64];      /* numeric, as last seen; "" for this host; the box's if there is one */
	char via[GW_HOST_MAX]; /* the box that leads there; "" if the host is on one of this one's networks */
	unsigned hops;	       /* networks to cross */
	uint64_t heard_us_ago; /* since the last authentic datagram */
	bool self;
	bool alive; /* heard lately */
};

struct gwc_counter {
	const char *name;
	uint64_t value;
};

/* What flipd has: endpoints of programs, ports served here or known to be served elsewhere, and where addresses
 * are. Root sees all, others what is theirs. */
enum gwc_row_kind { GWC_ROW_ENDPOINT = 1, GWC_ROW_PORT, GWC_ROW_ROUTE };
struct gwc_row {
	enum gwc_row_kind kind;
	uint64_t address;
	uint32_t incarnation;		  /* endpoints, routes */
	char host[GW_HOST_MAX];		  /* routes */
	struct gw_port port;		  /* ports: the put-port */
	bool here;			  /* ports: served by the endpoint with this address */
	uint32_t number;		  /* endpoints: which of its connection */
	uid_t uid;			  /* ... whose, (uid_t)-1: its program has gone */
	bool busy, ghost;		  /* ... being moved; gone, and still owing something */
	bool raw;			  /* ... a raw one: `ports` are its groups */
	uint32_t held, replied;		  /* ... requests that its program has; replies not acknowledged */
	uint32_t calling, clients, ports; /* ... transactions under way; clients it remembers; ports it serves */
	uint32_t locating, waiting;	  /* ... of the transactions: without a server yet; known to be served */
	uint32_t sending, unread;	  /* ... long messages on their way; bytes that its program has not read */
};

/* A packet that left or arrived. */
struct gwc_traced {
	uint64_t at_us; /* CLOCK_REALTIME */
	bool sent;
	char host[GW_HOST_MAX]; /* to or from it; "" for all */
	uint32_t left_out;	/* packets before it that were not shown, because we did not keep up */
	const uint8_t *bytes;	/* its first n bytes, which include FLIP's and RPC's headers; valid until return */
	size_t n, len;
};

/* Any may be NULL. `user` is what gwc_open was given. */
struct gwc_ops {
	/* The connection is lost; all other callbacks have been called. */
	void (*disconnected)(void *user);
	/* gwc_events() changed: poll for other events from now on. Also called from inside other gwc_ calls. */
	void (*events_changed)(void *user, int events);
	/* Somebody serves the address of `endpoint` with a higher incarnation: flipd has stopped serving it here.
	 */
	void (*endpoint_lost)(void *user, uint32_t endpoint, uint32_t incarnation);
	/* The client of a request that is being held has broken it off or is gone. It may be answered or not. */
	void (*request_cancelled)(void *user, uint64_t request);
	/* After gwc_trace: every packet but those between programs of this host, which are none. */
	void (*traced)(void *user, const struct gwc_traced *packet);
	/* The reply to a transaction that arrived here inside an installed endpoint; `cookie` is as given to
	 * gwc_trans. */
	void (*orphan_reply)(void *user, uint32_t endpoint, uint64_t cookie, int status, const struct gw_hdr *hdr,
			     const void *data, size_t len);
	/* A long request (its put-port), or the reply to the transaction `id`, is arriving: where to put its data,
	 * *ret_room bytes at most; they are handed up from there. NULL: anywhere. */
	void *(*place)(void *user, bool request, uint64_t id, const struct gw_port *put, size_t *ret_room);
	/* A message for a raw endpoint, sent to it or (`group` not 0) to a group that it is in. */
	void (*raw_data)(void *user, uint32_t endpoint, uint64_t source, uint64_t group, const void *data,
			 size_t len);
	/* The message that gwc_raw_send called `id` has not been delivered or, if that is not certain, may not
	 * have been. `status`: GW_NOTFOUND, GW_UNSAFE, GW_TRYAGAIN (too many are under way), GW_FAILURE. */
	void (*raw_failed)(void *user, uint32_t endpoint, uint64_t id, uint64_t destination, int status,
			   bool certain);
};

/* `status` is GW_OK (hdr, data and len are the reply, valid until return) or a negative gw_status. */
typedef void gwc_reply_fn(void *arg, int status, const struct gw_hdr *hdr, const void *data, size_t len);
typedef void gwc_request_fn(void *arg, const struct gwc_request *request);
/* `result` is 0 or -errno. */
typedef void gwc_done_fn(void *arg, int result);
/* `address` is a FLIP address. */
typedef void gwc_address_fn(void *arg, int result, uint64_t address);
typedef void gwc_take_fn(void *arg, int result, const void *blob, size_t len);
typedef void gwc_hosts_fn(void *arg, int result, const struct gwc_host *hosts, size_t n);
typedef void gwc_counters_fn(void *arg, int result, const struct gwc_counter *counters, size_t n);
typedef void gwc_table_fn(void *arg, int result, const struct gwc_row *rows, size_t n);

/* `path` NULL: $GODWIT_FLIP_SOCK or /run/godwit/flip.sock. `ops` must outlive the client. Connecting to a local
 * socket is immediate. Returns 0 or -errno. */
int gwc_open(const char *path, const struct gwc_ops *ops, void *user, struct gwc **ret_c,
	     struct err *e) must_check;
/* Frees everything; pending callbacks are not called. NULL is permitted. */
void gwc_close(struct gwc *c);

int gwc_fd(const struct gwc *c);
/* POLLIN, with POLLOUT while something waits to be written. */
int gwc_events(const struct gwc *c);
/* Reads and writes what is possible now and runs callbacks. 0, or -ECONNRESET once the connection is lost (after
 * ops.disconnected) and ever after. */
int gwc_dispatch(struct gwc *c);
/* For programs without an event loop: from now on calls wait until flipd has taken what they say, so that nothing
 * has to be copied. */
void gwc_block(struct gwc *c);
/* Whether a signal came meanwhile, since this was asked last. */
bool gwc_interrupted(struct gwc *c);
/* Are data being put where ops.place has said? */
bool gwc_placing(const struct gwc *c);
/* Polls and dispatches once; timeout in ms, -1 for ever. 0, -ETIMEDOUT, -EINTR or -ECONNRESET. */
int gwc_wait(struct gwc *c, int timeout_ms);

/*
 * Starts a transaction from an endpoint: the request goes to whoever serves hdr->port. `data` is copied. The
 * callback is called exactly once, unless the client is closed. `locate_ms`: how long to look for a server, 0 for
 * the default. Returns an id > 0, or -ENOBUFS, -EMSGSIZE, -ENOTCONN.
 */
int64_t gwc_trans(struct gwc *c, uint32_t endpoint, const struct gw_hdr *hdr, const void *data, size_t len,
		  unsigned locate_ms, gwc_reply_fn *fn, void *arg);
/* Breaks one off: its callback gets GW_ABORTED if no server had it yet, otherwise the server is told
 * (request_cancelled there) and the transaction goes on until its reply. */
void gwc_cancel(struct gwc *c, int64_t id);
/* No interest any more: as gwc_cancel, and the callback is never called. */
void gwc_forget(struct gwc *c, int64_t id);

/* Opens a further endpoint with a fresh private address and incarnation. Its number is usable at once. */
uint32_t gwc_endpoint_open(struct gwc *c, uint32_t incarnation);
/* Closes it; requests it holds fail at their clients, but those of an endpoint that was taken are still answered.
 */
void gwc_endpoint_close(struct gwc *c, uint32_t endpoint);

/*
 * Serves a get-port on an endpoint: `fn` is called for each request. Several ports per endpoint, several endpoints
 * per port (anywhere) are possible. `done` (may be NULL) hears 0, -EACCES (well-known port, and not root),
 * -EEXIST, -ENOENT (no such endpoint), -ENOSPC.
 */
int gwc_serve(struct gwc *c, uint32_t endpoint, const struct gw_port *get, gwc_request_fn *fn, void *arg,
	      gwc_done_fn *done, void *done_arg);
void gwc_unserve(struct gwc *c, uint32_t endpoint, const struct gw_port *get);
/* Answers a request, at any time. flipd keeps the reply until the client has it. hdr->port is ignored.
 * 0, -ENOBUFS, -EMSGSIZE or -ENOTCONN. */
int gwc_reply(struct gwc *c, uint64_t request, const struct gw_hdr *hdr, const void *data, size_t len);

/* Moving an endpoint: see above. The blob is opaque and versioned; carry it as bytes. */
int gwc_endpoint_take(struct gwc *c, uint32_t endpoint, gwc_take_fn *fn, void *arg);
int gwc_endpoint_resume(struct gwc *c, uint32_t endpoint, gwc_done_fn *fn, void *arg);
/* All ports of the blob are served by `serve`. Returns the new endpoint's number through ret_endpoint at once;
 * `fn` hears 0, -EINVAL (not a blob), -EEXIST (this flipd serves the address with this or a higher incarnation
 * already), -EACCES. The bytes name ports to serve and users to speak for: `bounds` says for how much of that the
 * caller vouches, NULL for all that it may do itself. */
struct gwc_bounds {
	struct gw_port put; /* the only port */
	uid_t uid;	    /* and the only user */
	gid_t gid;
};

int gwc_endpoint_install(struct gwc *c, const void *blob, size_t len, const struct gwc_bounds *bounds,
			 gwc_request_fn *serve, void *serve_arg, gwc_done_fn *fn, void *arg,
			 uint32_t *ret_endpoint);

/*
 * A program that moves takes its own connection along; procd sees to it, as root. At the source gwc_conn_take,
 * once the program has been stopped: `inode` is that of flipd's end of the connection (unix_diag names it). From
 * then on flipd keeps still: what is in the program's socket does not change any more, and partners hear BUSY. At
 * the destination gwc_conn_install, for the connection that has come with FRAME_CONN_ARRIVE and this token. Then,
 * at the source, gwc_conn_end with `moved`; without, if it did not move after all. If this client goes, it did not
 * move.
 */
typedef void gwc_conn_fn(void *arg, int result, uid_t uid, gid_t gid, const void *blob, size_t len);
int gwc_conn_take(struct gwc *c, uint64_t inode, gwc_conn_fn *fn, void *arg);
int gwc_conn_end(struct gwc *c, uint64_t inode, bool moved, gwc_done_fn *fn, void *arg);
/* From here on that is decided, and only gwc_conn_end, by whomever, ends it. Not `decided`: it is about to be; if
 * we go, flipd waits a while for somebody who knows. */
int gwc_conn_hold(struct gwc *c, uint64_t inode, bool decided);
/* `fn` hears 0, also for one that is installed already; -ENOENT: nobody has come with that token; or what is wrong
 * with the blob, and then the program finds its connection closed. */
int gwc_conn_install(struct gwc *c, uint64_t token, uid_t uid, gid_t gid, const void *blob, size_t len,
		     gwc_done_fn *fn, void *arg);

/*
 * Raw FLIP: raw.c. A raw endpoint has an address of its own, and may listen on others, which are groups. It moves
 * with its connection only. `fn` hears its address, or -errno; closed by gwc_endpoint_close.
 */
uint32_t gwc_raw_open(struct gwc *c, gwc_address_fn *fn, void *arg);
/* `private_group` 0: what is broadcast. `fn` hears the group's address; -ENOSPC, -ENOENT. */
int gwc_raw_join(struct gwc *c, uint32_t endpoint, uint64_t private_group, gwc_address_fn *fn, void *arg);
void gwc_raw_leave(struct gwc *c, uint32_t endpoint, uint64_t group);
struct gwc_raw_to {
	uint64_t destination; /* 0: whoever listens for what is broadcast */
	bool group;
	bool inval;	    /* do not believe the way that is known */
	bool safe;	    /* not to a host whose root is not root here too */
	uint32_t n, hops;   /* of a group: how many others at least; networks to cross at most, 0: any */
	unsigned locate_ms; /* 0: the default */
};
/* Returns an id > 0 for ops.raw_failed, or as gwc_trans. */
int64_t gwc_raw_send(struct gwc *c, uint32_t endpoint, const struct gwc_raw_to *to, const void *data, size_t len);

/* This host and the hosts whose flipd has been heard. */
int gwc_hosts(struct gwc *c, gwc_hosts_fn *fn, void *arg);
/* What flipd counts: datagrams, drops, retries, ... */
int gwc_counters(struct gwc *c, gwc_counters_fn *fn, void *arg);
/* Endpoints, ports, routes. */
int gwc_table(struct gwc *c, gwc_table_fn *fn, void *arg);
/* Shows every packet from now on, as ops.traced; root only. */
int gwc_trace(struct gwc *c);

#endif
