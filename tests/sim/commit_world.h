/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_TESTS_COMMIT_WORLD_H
#define GW_TESTS_COMMIT_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "procd/commit.h"

/* Two hosts, their procds and movers, one job, one migration, and the network; see commit_sim.c. All of it is
 * bytes, without padding: two worlds are the same if their bytes are. */

enum record { NONE, COMMITTED, REVOKED, DELETED, READY, THAWED };

/* Up to the commit the source goes through these; what happens in them is not the commit's matter. */
enum stage { IDLE, BEGINNING, PREPARED, STUNNED, MOVING, FREEZING, OVER };

enum message { /* bits of the set of all that was ever sent */
	       M_BEGIN = 1 << 0,
	       M_BEGUN = 1 << 1,      /* from D's first boot */
	       M_BEGUN_LATE = 1 << 2, /* from its second */
	       M_COMMIT = 1 << 3,
	       M_ACK = 1 << 4, /* the answers to it */
	       M_UNKNOWN = 1 << 5,
	       M_ABORT = 1 << 6,
	       M_FORGET = 1 << 7,
	       M_QUERY_S = 1 << 8,
	       M_ABORTED = 1 << 9,
	       M_QUERY_D = 1 << 10,
	       M_RUNNING = 1 << 11,
	       M_NEVER_RAN = 1 << 12,
	       M_OTHER_BOOT = 1 << 14,
	       M_SAID_ELSE = 1 << 13, /* an answer that decides nothing */
};

enum fault { F_PROCD_S, F_PROCD_D, F_MOVER_S, F_MOVER_D, F_HOST_S, F_HOST_D, F_KILL_S, F_KILL_D, F_NOTE, F_N };

#define TODO_MAX 4

struct side {
	uint8_t host, boot, procd;
	uint8_t mover; /* 2: its procd is gone; it will find out, and go */
	uint8_t state, record;
	uint8_t copy;		/* the job, or what there is of it */
	uint8_t todo[TODO_MAX]; /* what procd is about to do: a crash may come before each */
};

struct world {
	struct side s, d;
	uint8_t stage, of_boot;		 /* D's boot, as BEGUN told; the record and QUERY carry it */
	uint8_t stopped, frozen, order;	 /* the copy at S; its mover was told to freeze it */
	uint8_t told_ready, told_frozen; /* what S's mover has said and procd has not read */
	uint8_t complete, runs, told,
		stream;			   /* the copy at D; its mover has said READY; the movers are connected */
	uint8_t home;			   /* the job's file at D: it has arrived */
	uint8_t ran, person, killed, lost; /* what a god remembers; the frozen copy at D, at S was killed */
	uint8_t was_ready;		   /* D has written READY */
	uint8_t faults[F_N];
	uint16_t said;
};

#define PROTOCOL_RULES_MAX 64
#define PROTOCOL_GOOD_N (1u << 22)

struct protocol {
	struct commit_rules rules[2]; /* the destination's, the source's */
	const struct commit_rule *find[2][16][COMMIT_E_N];
	bool used[2][PROTOCOL_RULES_MAX]; /* rules that were applied */
	uint64_t *good;			  /* hashes of states that were seen to end well; a cache: it may forget */
};

/* `source` and `destination` are kept. */
void protocol_init(struct protocol *p, struct commit_rules source, struct commit_rules destination);
void protocol_free(struct protocol *p);

enum deed {
	/* what must happen in time */
	DEED_S_TODO,
	DEED_D_TODO,
	DEED_S_HOST_STARTS,
	DEED_D_HOST_STARTS,
	DEED_S_PROCD_STARTS,
	DEED_D_PROCD_STARTS,
	DEED_BEGIN,
	DEED_BEGUN,
	DEED_BEGUN_LATE,
	DEED_STUN,
	DEED_MOVE,
	DEED_COMPLETE,
	DEED_TELL_S,
	DEED_TELL_D,
	DEED_ORDER,
	DEED_FREEZE,
	DEED_S_MOVER_GOES,
	DEED_D_MOVER_GOES,
	DEED_S_EVENT, /* + event */
	DEED_D_EVENT = DEED_S_EVENT + COMMIT_E_N,
	/* what need not */
	DEED_S_GIVES_UP = DEED_D_EVENT + COMMIT_E_N,
	DEED_D_GIVES_UP,
	DEED_S_PERSON_HERE,
	DEED_S_PERSON_THERE,
	DEED_D_PERSON_HERE,
	DEED_D_PERSON_THERE,
	DEED_FAULT, /* + fault; F_NOTE: at S, and one more at D */
	DEED_N = DEED_FAULT + F_N + 1,
};

void world_init(struct world *w);
/* Does it if it is possible now, and says whether it was; *wrong: an invariant that broke on the way. */
bool world_do(struct world *w, struct protocol *p, unsigned deed, const char **wrong);
/* NULL, or what of section "safety" does not hold. */
const char *world_is_unsafe(const struct world *w);
/* Lets everything come to its end without further faults; NULL, or what is wrong with that end. */
const char *world_settle(struct world *w, struct protocol *p);
uint64_t world_hash(const struct world *w);
const char *world_deed_name(unsigned deed);

#endif
