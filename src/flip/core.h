/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FLIP_CORE_H
#define GW_FLIP_CORE_H

/* What the files of the FLIP core share; nobody else includes it. */

#include <sys/queue.h>

#include "base/htab.h"
#include "base/timers.h"
#include "flip/flip.h"

#define LOC_WORDS (FLIP_LOCS_MAX / 64)

struct loc_set {
	uint64_t words[LOC_WORDS];
};

static inline void loc_set(struct loc_set *s, uint32_t loc, bool on)
{
	if (on)
		s->words[loc / 64] |= 1ull << loc % 64;
	else
		s->words[loc / 64] &= ~(1ull << loc % 64);
}

static inline bool loc_has(const struct loc_set *s, uint32_t loc)
{
	return s->words[loc / 64] >> loc % 64 & 1;
}

static inline unsigned loc_count(const struct loc_set *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < LOC_WORDS; i++)
		n += (unsigned)__builtin_popcountll(s->words[i]);
	return n;
}

static inline bool loc_empty(const struct loc_set *s)
{
	for (unsigned i = 0; i < LOC_WORDS; i++) {
		if (s->words[i])
			return false;
	}
	return true;
}

/* Something to hand up in flip_work. */
struct upcall {
	STAILQ_ENTRY(upcall) next;
	enum { UP_DELIVER, UP_NOTDELIVER, UP_LOCATED, UP_ANNOUNCED, UP_LOST, UP_GROUP } kind;
	flip_addr ep;
	union {
		struct flip_delivery delivery;
		struct flip_failure failure;
		struct {
			uint8_t port[FLIP_PORT_LEN];
			flip_addr addr;
		} located;
		flip_addr announced;
		uint32_t lost_inc;
		flip_addr group;
	};
};

/* A path to one location: flow.c. */
struct link {
	uint32_t loc;
	uint32_t frag;	   /* as of the last message */
	uint32_t frag_max; /* what came through when longer ones did not; 0 = no such thing */
	uint64_t frag_max_until_us;
	uint32_t cwnd, ssthresh, inflight; /* bytes */
	uint64_t srtt_us, rttvar_us;
	uint64_t base_us[2], base_until_us; /* the shortest round trips of this period and of the last */
	uint32_t seq;			    /* of the last fragment sent, over all messages */
	uint32_t recover;		    /* losses of fragments up to this one have been answered for */
	TAILQ_HEAD(out_queue, out) outs;
};

/* A message on its way out: waiting for a route, or longer than a fragment. */
struct out {
	struct hnode node;
	TAILQ_ENTRY(out) queue; /* its link's, or its locate's */
	struct flip *f;
	struct link *link; /* NULL while it waits for a route */
	struct locate *locate;
	struct timer timer;
	flip_addr src, dst;
	uint32_t src_inc, messid;
	struct flip_data data;
	uint32_t total;
	/* Only with a link. */
	uint32_t frag, n_frags; /* as the path was when the message began */
	uint32_t n_acked, next_new, tries, first_unacked;
	uint32_t n_lost;    /* fragments to send again */
	uint32_t top_seq;   /* the highest seq of a fragment that has arrived */
	uint32_t *seqs;	    /* of each fragment's last transmission; 0 = not sent or lost */
	uint8_t *acked;	    /* a bit each */
	uint64_t timed_us;  /* when timed_seq was sent */
	uint32_t timed_seq; /* 0 = no measurement under way */
	bool resent;
};

/* A message on its way in. */
struct in {
	struct hnode node;
	TAILQ_ENTRY(in) age;
	struct timer timer;
	flip_addr src, dst;
	uint32_t messid, loc, src_inc;
	uint32_t total, frag, n_frags, n_got, next, since_credit;
	struct buf *buf;
	uint8_t got[];
};

/* The question where an address or a port is: locate.c. */
struct locate {
	struct hnode node;
	struct timer timer;
	bool is_port, busy, settling;
	bool near;  /* some hosts are farther than the question goes */
	bool quiet; /* it does not ask for noes */
	flip_addr addr;
	uint8_t port[FLIP_PORT_LEN];
	uint32_t id;
	uint64_t interval_us, deadline_us, timeout_us;
	uint64_t busy_us; /* when BUSY was last heard */
	uint64_t busy_interval_us;
	flip_addr busy_addr;
	uint8_t hops, noes;
	struct loc_set awaited;
	TAILQ_HEAD(locate_queue, out) outs;
};

struct announcement {
	struct timer timer;
	LIST_ENTRY(announcement) list;
	flip_addr addr;
	unsigned left;
};

/* What this host knows of a group: group.c. */
struct group {
	struct hnode node;
	struct timer timer;
	flip_addr addr;
	uint32_t id; /* of the question */
	bool asking;
	uint64_t asked_us; /* when everybody had answered last; 0: never */
	uint64_t used_us;
	uint64_t interval_us, deadline_us;
	size_t wanted;
	struct loc_set awaited;
	struct member {
		flip_addr addr;
		uint32_t id; /* of the question that it was last named in an answer to */
	} * members;
	size_t n, cap;
};

#define RECENT_N 1024u

struct flip {
	struct flip_config config;
	const struct flip_ops *ops;
	void *ctx;
	struct flip_stats stats;
	struct timers timers;
	struct routes routes;
	struct htab eps, outs, ins, locates, groups;
	size_t n_joined; /* memberships of groups, of all endpoints */
	const struct flip_raw_ops *raw;
	void *raw_ctx;
	STAILQ_HEAD(, upcall) upcalls;
	TAILQ_HEAD(in_age, in) ins_by_age;
	LIST_HEAD(, announcement) announcements;
	struct link *links[FLIP_LOCS_MAX];
	struct loc_set alive;
	uint8_t distance[FLIP_LOCS_MAX]; /* networks to cross; 0 or 1: it is on one of ours */
	uint64_t started_us;
	uint64_t now_us; /* as of the last event */
	bool closing;
	size_t reassembly_bytes;
	uint32_t locate_id;
	/* Messages that arrived whole lately: a late copy of a fragment must not begin them anew. */
	struct {
		flip_addr src, dst;
		uint32_t messid;
	} recent[RECENT_N];
};

static inline uint64_t message_hash(flip_addr a, flip_addr b, uint32_t messid)
{
	return hash_u64(a ^ hash_u64(b ^ messid));
}

/* The list of live hosts is complete by then. */
static inline uint64_t flip_settled_us(const struct flip *f)
{
	return f->started_us + f->config.settle_us;
}

/* flip.c */
/* May a message with these flags go to, or come from, that location? */
bool flip_admits(const struct flip *f, uint8_t flags, uint32_t loc);
/* A message for an endpoint that is not up: does it concern something that is still owed? */
bool flip_owes(struct flip *f, struct flip_ep *ep, flip_addr src, const struct flip_data *d);
struct upcall *flip_upcall(struct flip *f, int kind, flip_addr ep);
void flip_fail(struct flip *f, flip_addr ep, flip_addr dst, uint32_t messid, enum flip_why why, bool certain);
void flip_packet(struct flip *f, uint32_t loc, struct flip_hdr *h, const void *data);
/* The same to each host that is alive. */
void flip_packet_each(struct flip *f, struct flip_hdr *h, const void *data);
void flip_learn(struct flip *f, flip_addr addr, uint32_t loc, uint32_t inc);

/* out.c */
struct out *out_find(struct flip *f, flip_addr src, uint32_t messid);
/* A route appeared, or the location is given. */
void out_start(struct flip *f, struct out *o, uint32_t loc, uint64_t now_us);
void out_free(struct flip *f, struct out *o);
void out_fail(struct flip *f, struct out *o, enum flip_why why, bool certain);
void out_credit(struct flip *f, const struct flip_hdr *h, const uint8_t *data, uint64_t now_us);

/* flow.c */
/* The path to a location, as it is now. */
struct link *link_get(struct flip *f, uint32_t loc);
/* Data bytes that a packet to a location may have. */
uint32_t link_frag(const struct flip *f, uint32_t loc);
/* Fragments of this length vanish on that path: shorter ones from now on, false if there are none. */
bool link_narrow(struct flip *f, struct link *l, uint32_t frag);
void link_pump(struct flip *f, struct link *l, uint64_t now_us);
/* The fragment with number `seq` was answered for after so long. */
void link_rtt(struct link *l, uint32_t seq, uint64_t rtt_us, uint64_t now_us);
void link_progress(struct link *l, uint32_t bytes);
/* The fragment with number `seq` was lost on its way. */
void link_loss(struct flip *f, struct link *l, uint32_t seq);
void link_timeout(struct flip *f, struct link *l);
/* How long to wait for an answer after so many times in vain. */
uint64_t link_rto(const struct link *l, uint32_t tries);
/* A fragment is lost when one that left so much later has arrived. */
uint32_t link_reorder(const struct link *l);

/* in.c */
void in_unidata(struct flip *f, uint32_t loc, const struct flip_hdr *h, const uint8_t *data, uint64_t now_us);
void in_free(struct flip *f, struct in *in);
void in_local(struct flip *f, struct flip_ep *ep, const struct flip_ep *src, uint32_t messid,
	      const struct flip_data *d);

/* locate.c */
void locate_address(struct flip *f, struct out *o, uint64_t now_us);
void locate_question(struct flip *f, uint32_t loc, const struct flip_hdr *h, const uint8_t *data);
void locate_answer(struct flip *f, uint32_t loc, const struct flip_hdr *h, const uint8_t *data, uint64_t now_us);
void locate_peer_dead(struct flip *f, uint32_t loc, uint64_t now_us);
/* A route to the address is known: its waiting messages go. */
void locate_resolved(struct flip *f, flip_addr addr, uint64_t now_us);
bool locate_pending(struct flip *f, flip_addr addr);
void locate_leave(struct flip *f, struct out *o);
void locate_free(struct flip *f, struct locate *l);

/* group.c */
void group_question(struct flip *f, uint32_t loc, const struct flip_hdr *h);
void group_answer(struct flip *f, uint32_t loc, const struct flip_hdr *h, const uint8_t *data, uint64_t now_us);
void group_peer_dead(struct flip *f, uint32_t loc, uint64_t now_us);
void group_free(struct flip *f, struct group *g);

#endif
