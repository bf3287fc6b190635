/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_RPC_CORE_H
#define GW_RPC_CORE_H

/* What the files of the RPC core share; nobody else includes it. */

#include <sys/queue.h>

#include "base/htab.h"
#include "base/timers.h"
#include "rpc/rpc.h"
#include "rpc/window.h"

#define PORTS_PER_EP_MAX 64u
#define PORT_CACHE_MAX 1024u
#define FAILOVERS_MAX 8u

/* A port that a local endpoint serves, or one that is cached as served elsewhere (then ep is NULL). */
struct port {
	struct hnode node;
	LIST_ENTRY(port) ep_list;
	TAILQ_ENTRY(port) lru;
	struct gw_port port;
	struct rpc_ep *ep;
	flip_addr addr;
};

enum trans_state { TRANS_LOCATE = 1, TRANS_SEND, TRANS_WAIT };

/* A transaction at its client. */
struct trans {
	struct hnode node; /* by tid, in the endpoint */
	TAILQ_ENTRY(trans) by_tid;
	TAILQ_ENTRY(trans) locating;
	struct timer timer;
	struct rpc_ep *ep;
	uint64_t tid, cookie;
	struct gw_port port;
	uint32_t uid, gid;
	struct rpc_body body;
	enum trans_state state;
	flip_addr dst;
	uint32_t messid;   /* of the last message about it */
	bool sent_request; /* that message was the request */
	bool busy;	   /* the timer waits for a moving server, or a full one */
	bool cancelled, forgotten;
	unsigned unsure; /* copies of the request that may have arrived */
	unsigned tries, busy_tries, failovers, bounces, misses;
	unsigned doubts;      /* how often in a row a server that had it said that it lacks it */
	bool doubted;	      /* ... and it has not been asked again since */
	uint64_t deadline_us; /* for finding a server */
	uint64_t locate_us;
};

/* A user of a host who asks an endpoint things: what he takes up there. */
struct asker {
	struct hnode node;
	uint32_t loc, uid;
	unsigned n_clients, n_held;
	TAILQ_HEAD(asker_lru, client) clients; /* most recently heard first */
};

/* What an endpoint knows of one client. */
struct client {
	struct hnode node;
	TAILQ_ENTRY(client) lru; /* most recently heard first */
	TAILQ_ENTRY(client) of_asker;
	struct asker *asker; /* NULL: it came with the endpoint and has not asked here yet */
	flip_addr addr;
	uint64_t heard_us;
	struct rpc_window window;
	LIST_HEAD(, serve) serves;
};

/* A transaction at its server: held by the program, or replied and not yet acknowledged. */
struct serve {
	struct hnode node; /* by id */
	LIST_ENTRY(serve) list;
	struct timer timer;
	struct rpc_ep *ep;
	struct client *client;
	struct asker *asker; /* while it is held */
	uint64_t id, tid;
	uint32_t messid;
	bool replied, busy, cancelled;
	bool elsewhere; /* the endpoint's former home answers it */
	unsigned tries, busy_tries, bounces, misses;
	struct rpc_body body; /* of the reply */
};

/* The acknowledgement of a reply that has not been sent yet. */
struct ack {
	LIST_ENTRY(ack) list;
	struct timer timer;
	struct rpc_ep *ep;
	flip_addr server;
	uint32_t loc;
	uint64_t tid;
};

struct rpc_ep {
	struct hnode node; /* by owner and number */
	LIST_ENTRY(rpc_ep) list;
	struct flip_ep *flip;
	void *owner;
	uint32_t number;
	bool taken, closed;
	bool whole;   /* taken with all that it serves: the old home keeps nothing */
	bool went;    /* ... at some time, and it may be known elsewhere what became of it */
	uint64_t tid; /* of the last transaction */
	unsigned n_held, n_serves, n_ports;
	TAILQ_HEAD(trans_queue, trans) trans;
	struct htab trans_by_tid, clients, askers;
	TAILQ_HEAD(client_lru, client) client_lru;
	LIST_HEAD(, port) ports;
	LIST_HEAD(, ack) acks;
};

struct rpc {
	struct rpc_config config;
	const struct rpc_ops *ops;
	void *ctx;
	struct flip *flip;
	struct rpc_stats stats;
	struct timers timers;
	uint64_t now_us;
	LIST_HEAD(, rpc_ep) eps;
	struct htab ports, port_cache, serves, owned;
	TAILQ_HEAD(port_lru, port) port_lru;
	TAILQ_HEAD(locating_queue, trans) locating;
	uint64_t serve_id;
};

/* rpc.c */
struct port *rpc_local_port(struct rpc *r, const struct gw_port *put);
int rpc_port_add(struct rpc *r, struct rpc_ep *ep, const struct gw_port *put);
void rpc_port_cache(struct rpc *r, const struct gw_port *put, flip_addr addr);
flip_addr rpc_port_cached(struct rpc *r, const struct gw_port *put);
void rpc_port_uncache(struct rpc *r, const struct gw_port *put, flip_addr addr);
struct rpc_ep *rpc_ep_wrap(struct rpc *r, struct flip_ep *flip, void *owner, uint32_t number);
void rpc_ep_reap(struct rpc *r, struct rpc_ep *ep);
/* Sends a message without a body; returns its messid. */
uint32_t rpc_say(struct rpc *r, struct rpc_ep *ep, flip_addr to, uint32_t loc, const struct rpc_hdr *h);
uint32_t rpc_send(struct rpc *r, struct rpc_ep *ep, flip_addr to, const struct rpc_hdr *h,
		  const struct rpc_body *body);

/* client.c */
struct trans *trans_new(struct rpc_ep *ep, uint64_t tid, uint64_t cookie, const struct rpc_body *body);
/* Its endpoint is taken: it says nothing more from here. */
void trans_suspend(struct rpc *r, struct trans *t);
void trans_drop(struct rpc *r, struct trans *t);
void trans_end(struct rpc *r, struct trans *t, int status);
void trans_find_server(struct rpc *r, struct trans *t);
void trans_poke(struct rpc *r, struct trans *t);
void client_message(struct rpc *r, struct rpc_ep *ep, const struct flip_delivery *d, const struct rpc_hdr *h,
		    const struct rpc_body *body);
bool client_notdeliver(struct rpc *r, struct rpc_ep *ep, const struct flip_failure *f);
void client_announced(struct rpc *r, struct rpc_ep *ep, flip_addr addr);
/* Sends what acknowledgements are due to nobody's company. */
void client_flush_acks(struct rpc *r, struct rpc_ep *ep);
/* Tells a server that its client has lost interest. */
void trans_signal(struct rpc *r, struct trans *t);
void ack_drop(struct rpc *r, struct ack *a);

/* asker.c */
/* The account of a user of a host at an endpoint; makes one. */
struct asker *asker_get(struct rpc_ep *ep, uint32_t loc, uint32_t uid);
void asker_reap(struct rpc_ep *ep, struct asker *a);
/* Whether a window for one more client of his may be made; forgets one that he has left alone for long. */
bool asker_has_room(struct rpc *r, struct rpc_ep *ep, struct asker *a);
void asker_add_client(struct asker *a, struct client *c);
void asker_drop_client(struct rpc_ep *ep, struct client *c);
void asker_hold(struct asker *a, struct serve *s);
void asker_unhold(struct rpc_ep *ep, struct serve *s);

/* server.c */
struct client *client_find(struct rpc_ep *ep, flip_addr addr);
struct client *client_new(struct rpc *r, struct rpc_ep *ep, flip_addr addr);
void client_drop(struct rpc *r, struct rpc_ep *ep, struct client *c);
/* `id` names the request to the program; 0: a fresh one. */
struct serve *serve_new(struct rpc *r, struct rpc_ep *ep, struct client *c, uint64_t tid, uint64_t id);
/* What its program holds, by that name. */
struct serve *serve_named(struct rpc *r, const void *owner, uint64_t id);
/* The serve belongs to another endpoint with the same address now, in place of what that knew of it. */
void serve_adopt(struct rpc *r, struct serve *s, struct client *c, struct rpc_ep *ep);
void serve_drop(struct rpc *r, struct serve *s);
void server_message(struct rpc *r, struct rpc_ep *ep, const struct flip_delivery *d, const struct rpc_hdr *h,
		    const struct rpc_body *body);
void server_notdeliver(struct rpc *r, struct rpc_ep *ep, const struct flip_failure *f);
void server_announced(struct rpc *r, struct rpc_ep *ep, flip_addr addr);
/* Requests that the program holds will never be answered. */
void server_fail_held(struct rpc *r, struct rpc_ep *ep);
/* Its endpoint is taken as a whole: nothing more is said of its replies, until server_go_on says them again. */
void server_suspend(struct rpc *r, struct rpc_ep *ep);
void server_go_on(struct rpc *r, struct rpc_ep *ep);
/* All that it served is served elsewhere. */
void server_drop_all(struct rpc *r, struct rpc_ep *ep);
/* What former homes owe is the next home's business now. */
void server_forget_elsewhere(struct rpc *r, struct rpc_ep *ep);
bool server_owes(struct rpc_ep *ep, flip_addr client, const struct rpc_hdr *h);

#endif
