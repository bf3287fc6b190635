/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_HERD_H
#define GW_PROCD_HERD_H

#include <uv.h>

#include "base/err.h"
#include "shepherd.pb-c.h"

/*
 * The conversation with one shepherd: requests with ids, replies in any order, events.
 */
struct herd;

/* `r` is NULL when the shepherd (or the connection to it) is gone. Descriptors to be kept are replaced by -EBADF.
 */
typedef void herd_reply_fn(void *arg, const Godwit__Shepherd__Reply *r, int *fds, size_t n_fds);

struct herd_ops {
	void (*event)(void *arg, const Godwit__Shepherd__Reply *r);
	void (*gone)(void *arg); /* after all callbacks of pending requests; the owner then calls herd_close */
};

struct herd *herd_new(uv_loop_t *loop, int sock, const struct herd_ops *ops, void *arg);
/* Sends a request (its id is filled in). `fd` goes along unless it is negative. The callback (may be NULL) comes
 * exactly once: later, or from herd_close; never from inside this call unless it fails: then it is not called at
 * all. */
int herd_ask(struct herd *h, Godwit__Shepherd__Request *q, int fd, herd_reply_fn *fn, void *arg) must_check;
/* Pending callbacks are called with NULL. NULL is permitted. */
void herd_close(struct herd *h);

#endif
