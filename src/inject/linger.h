/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_INJECT_LINGER_H
#define GW_INJECT_LINGER_H

#include "inject/remote.h"

/*
 * A call that goes on in a few instructions of ours after everything else of us has gone: a write of which a part
 * was done when we stopped the thread, a wait whose timeout lies in memory that is not ours to change. The thread
 * makes the call there, adds what was done before to the result, and goes home. The mapping (two pages for each
 * LINGER_PER_PAGE calls) stays behind and moves along like any other memory; linger_sweep unmaps it when nobody is
 * in it any more.
 *
 * A stop cuts a transfer there short as it does anywhere. So before a stop the slots are *armed*: an armed thread
 * that finds its call short goes on with the rest, wherever and by whomever it is let go. All others come home
 * with the part, as they must if a signal's handler has run.
 */

#define LINGER_PER_PAGE 4
#define LINGER_PAYLOAD 824

/* Where the call says what is to be transferred, so that the thread can go on with the rest by itself. */
enum linger_shape {
	LINGER_ONCE,	/* it cannot: one call and home */
	LINGER_BUFFER,	/* second argument, length in the third */
	LINGER_BUFFER0, /* first argument, length in the second */
	LINGER_VECTOR,	/* second and third, in payload */
	LINGER_MESSAGE, /* a struct msghdr in payload, its vector, too */
	LINGER_COUNT,	/* a number in the fourth */
};

struct linger_call {
	size_t thread; /* index in r->threads, whose regs say where home is: rip behind the call */
	long nr;
	uint64_t arg[6];
	uint8_t in_payload; /* bit i: arg[i] is an offset in payload */
	uint64_t done;	    /* to be added to the result */
	int64_t result;	    /* what the interrupted call is to look like: -ERESTARTSYS, -ERESTARTNOHAND */
	uint8_t payload[LINGER_PAYLOAD];
	enum linger_shape shape;
	bool armed;
	size_t fix_at, fix_to; /* if fix_to is not 0: the word at fix_at in payload becomes the address of fix_to
				  in payload */
};

/* Maps what is needed and changes the threads' regs (and r->threads[i].regs), so that they are in those calls when
 * they are let go. A thread that is in such a call already keeps its place, and what was done so far. The agent
 * may be mapped or not, and leave afterwards. */
int linger_enter(struct remote *r, struct linger_call *list, size_t n, struct err *e) must_check;
/* While the job runs: are there such mappings? Remembers them. */
int linger_find(struct remote *r, struct err *e) must_check;
/* Is a thread that sleeps or has stopped at `rip` in such a call? */
bool linger_holds_at(const struct remote *r, uint64_t rip);
/* Around a stop: arms all slots that were found; disarms those whose thread was not cut short. */
void linger_arm(struct remote *r);
void linger_disarm(struct remote *r);

/* What a rescued thread needs: fills `l` and returns true, or leaves it alone. */
typedef bool linger_judge(void *arg, const struct remote *r, const struct remote_thread *t, struct linger_call *l);

/*
 * While the job runs: stops these threads, which may be in the middle of transfers, one moment before everything
 * is stopped, puts those that this cuts short into lingering calls, armed, and lets them go. It is done by a
 * process of its own, which outlives its parent: whenever the caller dies, a call that has been cut goes on.
 */
void linger_rescue(struct remote *r, const pid_t *tids, size_t n, linger_judge *judge, void *arg);
/* All threads stopped, agent mapped: unmaps those that were found if no thread is in any. */
int linger_sweep(struct remote *r, struct err *e) must_check;

#endif
