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
 */

#define LINGER_PER_PAGE 4
#define LINGER_PAYLOAD 832

struct linger_call {
	size_t thread; /* index in r->threads, whose regs say where home is: rip behind the call */
	long nr;
	uint64_t arg[6];
	uint8_t in_payload; /* bit i: arg[i] is an offset in payload */
	uint64_t done;	    /* to be added to the result */
	int64_t result;	    /* what the interrupted call is to look like: -ERESTARTSYS, -ERESTARTNOHAND */
	uint8_t payload[LINGER_PAYLOAD];
	size_t fix_at, fix_to; /* if fix_to is not 0: the word at fix_at in payload becomes the address of fix_to
				  in payload */
};

/* Maps what is needed and changes the threads' regs (and r->threads[i].regs), so that they are in those calls when
 * they are let go. A thread that is in such a call already keeps its place, and what was done so far. The agent
 * must be mapped; it may leave afterwards. */
int linger_enter(struct remote *r, struct linger_call *list, size_t n, struct err *e) must_check;
/* While the job runs: are there such mappings? Remembers them. */
int linger_find(struct remote *r, struct err *e) must_check;
/* All threads stopped, agent mapped: unmaps those that were found if no thread is in any. */
int linger_sweep(struct remote *r, struct err *e) must_check;

#endif
