/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_MOVERS_H
#define GW_PROCD_MOVERS_H

#include "mover.pb-c.h"
#include "procd/procd.h"

/*
 * A mover: one process, one side of one migration. It is spoken to over a socket pair; when that closes it puts
 * back whatever it did and goes. Its death is an ordinary event.
 */
struct mover;

typedef Godwit__Mover__MoverMessage mover_message;
#define MOVER_KIND(x) GODWIT__MOVER__MOVER_MESSAGE__KIND_##x

struct mover_ops {
	/* `m` is valid until return. */
	void (*message)(void *arg, const mover_message *m);
	/* It is gone, or is about to be: nothing more comes. The owner then calls mover_end. */
	void (*gone)(void *arg);
};

/* `side`: "source" or "destination". */
int mover_start(struct procd *p, const char *side, const struct mover_ops *ops, void *arg, struct mover **ret,
		struct err *e) must_check;
/* The same with a user's rights and no more; for the sides of images, which touch no process. */
int mover_start_as(struct procd *p, const char *side, uid_t uid, gid_t gid, const struct mover_ops *ops, void *arg,
		   struct mover **ret, struct err *e) must_check;
/* Sends a message of one kind; `body` is that kind's message. To a mover that has died it succeeds: `gone`
 * follows. */
int mover_say(struct mover *m, Godwit__Mover__MoverMessage__KindCase kind, void *body, const int *fds,
	      size_t n_fds) must_check;
/* SIGKILL, for one that missed its deadline. */
void mover_kill(struct mover *m);
/* Hangs up. It exits by itself, or is killed after 5 s, and is reaped behind the scenes; no callback comes any
 * more. NULL is permitted. */
void mover_end(struct mover *m);

#endif
