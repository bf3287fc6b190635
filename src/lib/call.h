/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_LIB_CALL_H
#define GW_LIB_CALL_H

/* Private to client.c, raw.c and report.c: something that flipd will answer. */

#include <sys/uio.h>

#include "base/htab.h"
#include "lib/client.h"
#include "lib/frame.h"

enum call_kind {
	CALL_TRANS = 1,
	CALL_DONE,
	CALL_TAKE,
	CALL_CONN,
	CALL_HOSTS,
	CALL_COUNTERS,
	CALL_TABLE,
	CALL_ADDRESS
};

struct call {
	struct hnode node;
	uint64_t id;
	enum call_kind kind;
	uint32_t endpoint;
	void *arg;
	union {
		gwc_reply_fn *reply;
		gwc_done_fn *done;
		gwc_take_fn *take;
		gwc_conn_fn *conn;
		gwc_hosts_fn *hosts;
		gwc_counters_fn *counters;
		gwc_table_fn *table;
		gwc_address_fn *address;
	} fn;
};

struct call *call_new(struct gwc *c, enum call_kind kind, void *arg);
/* Posts the frame of a call; takes the call back if that fails. */
int call_post(struct gwc *c, struct call *call, struct frame *f, const struct iovec *payload, int n);
/* Writes a frame, or what of it the socket takes now; the rest is queued. */
int call_post_frame(struct gwc *c, const struct frame *f, const struct iovec *payload, int n);
/* The next endpoint's number, and a number for something that is not a call. */
uint32_t call_endpoint(struct gwc *c);
uint64_t call_id(struct gwc *c);

/* DONE to HOSTS, COUNTERS and TABLE: what it says, to whoever asked. */
void call_answer_hosts(const struct call *call, int status, const uint8_t *p, size_t len);
void call_answer_counters(const struct call *call, int status, const uint8_t *p, size_t len);
void call_answer_table(const struct call *call, int status, const uint8_t *p, size_t len);

#endif
