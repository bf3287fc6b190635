/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_RESERVE_H
#define GW_PROCD_RESERVE_H

#include "procd/procd.h"

/*
 * A name for a job that is about to be: free in the whole cluster, and nobody else's until it is dropped.
 *
 * Every host alive is asked to let the name go by (RESERVE). Two hosts that want the same name at the same time
 * see each other's reservation; the one whose own name sorts first wins. One that has got it keeps it: whoever
 * asks later is refused, also while the job is nowhere yet (a restart's first appears at its destination, some
 * time after). A host that cannot be asked cannot object; jobs of the same name then meet when it comes back, and
 * the one started later has to be ended by hand.
 *
 * A job that has ended gives its name up to its own user.
 */
struct reservation {
	struct reservation *next;
	struct procd *p;
	char name[NAME_MAX_LEN + 1];
	uid_t uid;
	bool lost; /* to another host */
	bool held; /* for good */
	bool dropped;
	unsigned waiting; /* for answers of other hosts */
	struct err e;
	void (*fn)(void *arg, const struct err *e);
	void *arg;
};

/* Calls `fn` once, perhaps at once, when it is held or, with a code in `e`, is not to be had; in either case it is
 * still to be dropped. *ret is set before that. `c`: who asks. */
void reserve_name(struct procd *p, const char *name, const struct call *c, uid_t uid,
		  void (*fn)(void *arg, const struct err *e), void *arg, struct reservation **ret);
/* At any time; `fn` is not called any more. NULL is permitted. */
void reserve_drop(struct reservation *r);
/* Serves RESERVE. */
void reserve_serve(struct procd *p, struct call *c);

#endif
