/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_RPC_H
#define GW_PROCD_RPC_H

#include "procd/procd.h"

/* Connects to flipd, now or as soon as it is there, and serves procd@HOST; again whenever the connection is lost.
 */
void rpc_open(struct procd *p);
void rpc_close(struct procd *p);

/* Serves job:NAME at an endpoint of its own. Also called again for each job after a reconnection. */
void rpc_serve_job(struct job *j);
/* A job arrives with its communication state; `done` hears the result. -errno: `done` is not called. */
int rpc_install_job(struct job *j, const void *blob, size_t len, gwc_done_fn *done, void *arg) must_check;
void rpc_unserve_job(struct job *j);

/* Answers and frees a call. */
void call_reply(struct call *c, Godwit__Procd__Reply *r);
void call_ok(struct call *c);
void call_again(struct call *c);
void call_fail(struct call *c, const struct err *e);
void call_refuse(struct call *c, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Asks job `name`, wherever it is now, the same and passes its answer on. The caller's rights have been checked.
 */
void call_forward(struct call *c, const char *name);

/*
 * A request to another procd, or to a job. `reply` is NULL when there was none; `why` then says so (never NULL),
 * and `status` is the transaction's. The callback comes once, never from inside this call.
 */
typedef void rpc_reply_fn(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why);
int rpc_ask(struct procd *p, const char *port_prefix, const char *name, Godwit__Procd__Request *q,
	    unsigned locate_ms, rpc_reply_fn *fn, void *arg) must_check;

#endif
