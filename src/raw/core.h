/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_RAW_CORE_H
#define GW_RAW_CORE_H

/* What raw.c and take.c share; nobody else includes it. */

#include <sys/queue.h>

#include "base/htab.h"
#include "base/timers.h"
#include "raw/raw.h"

enum message_state {
	MESSAGE_GROUP = 1, /* the group's members are sought */
	MESSAGE_AGAIN,	   /* it came back, or its endpoint has arrived: to be sent again */
	MESSAGE_SENT,	   /* FLIP has it, or had it; kept in case it comes back */
};

/* A message; one for a group becomes one for each member. */
struct message {
	TAILQ_ENTRY(message) list;
	struct timer timer; /* SENT: forgets it. AGAIN: sends it. GROUP: not used */
	struct raw_ep *ep;
	enum message_state state;
	struct raw_send s; /* of a group's copy: its dst is the member */
	flip_addr group;   /* 0: not to one */
	uint32_t messid;
	uint64_t deadline_us; /* for finding dst */
	unsigned busy, bounces;
	uint64_t asked; /* GROUP: the round of answers that it was looked at in */
};

struct raw_ep {
	struct hnode node; /* by owner and number */
	LIST_ENTRY(raw_ep) list;
	struct raw *raw;
	struct flip_ep *flip;
	void *owner;
	uint32_t number;
	bool taken;
	TAILQ_HEAD(messages, message) messages; /* oldest first */
	size_t n_under_way;
	size_t kept; /* bytes of those that were sent */
};

struct raw {
	struct flip *flip;
	const struct raw_ops *ops;
	void *ctx;
	struct raw_stats stats;
	uint64_t rounds;
	struct htab owned;
	LIST_HEAD(, raw_ep) eps;
};

struct raw_ep *raw_ep_wrap(struct raw *r, struct flip_ep *flip, void *owner, uint32_t number);
struct message *message_new(struct raw_ep *ep, const struct raw_send *s, flip_addr group,
			    enum message_state state);
/* What comes first in a message for that group; nothing, if it is 0. */
void raw_head(struct flip_data *d, flip_addr group);
void message_state(struct message *m, enum message_state state);
void message_free(struct raw *r, struct message *m);
/* Sends it, or looks for whom to send it to. */
void message_go(struct raw *r, struct message *m, uint64_t now_us);

#endif
