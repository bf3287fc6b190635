/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_LIB_CALL_H
#define GW_LIB_CALL_H

/* Private to client.c and report.c: something that flipd will answer. */

#include "base/htab.h"
#include "lib/client.h"

enum call_kind { CALL_TRANS = 1, CALL_DONE, CALL_TAKE, CALL_CONN, CALL_HOSTS, CALL_COUNTERS, CALL_TABLE };

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
	} fn;
};

/* DONE to HOSTS, COUNTERS and TABLE: what it says, to whoever asked. */
void call_answer_hosts(const struct call *call, int status, const uint8_t *p, size_t len);
void call_answer_counters(const struct call *call, int status, const uint8_t *p, size_t len);
void call_answer_table(const struct call *call, int status, const uint8_t *p, size_t len);

#endif
