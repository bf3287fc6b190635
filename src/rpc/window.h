/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_RPC_WINDOW_H
#define GW_RPC_WINDOW_H

/*
 * Which transactions of one client an endpoint has begun: the highest number, and a bit for each of the RPC_WINDOW
 * numbers up to it. What is older counts as begun: it is never executed (again).
 */

#include <stdbool.h>
#include <stdint.h>

#define RPC_WINDOW 1024u

struct rpc_window {
	uint64_t high;
	uint64_t bits[RPC_WINDOW / 64]; /* number n has bit n % RPC_WINDOW */
};

enum rpc_begun { RPC_NOT_BEGUN, RPC_BEGUN, RPC_TOO_OLD };

enum rpc_begun rpc_window_test(const struct rpc_window *w, uint64_t tid);
/* Marks a number that rpc_window_test calls RPC_NOT_BEGUN. */
void rpc_window_mark(struct rpc_window *w, uint64_t tid);

#endif
