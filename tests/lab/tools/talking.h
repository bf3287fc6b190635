/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_TALKING_H
#define TESTS_TALKING_H

/* Transactions that must each be executed once: what the tools that call and the tools that serve have in common.
 */

#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "godwit.h"

/* APPEND and ECHO: data there and back. COUNT: the reply says how many this caller (hdr.extra) has made. RELAY: a
 * PAUSE at the server of which the data is the secret. */
enum command { APPEND = 1, PAUSE, END, ECHO, COUNT, RELAY };

#define CALLERS_MAX 4096u

static inline struct gw_port get_port(const char *secret)
{
	struct gw_port get;

	(void)crypto_generichash(get.bytes, sizeof get.bytes, (const uint8_t *)secret, strlen(secret), NULL, 0);
	return get;
}

static inline struct gw_port put_port(const char *secret)
{
	struct gw_port get = get_port(secret), put;

	gw_port_publish(&get, &put);
	return put;
}

static inline struct gw *connect_or_die(void)
{
	struct gw *gw;
	int err = gw_connect(NULL, &gw);

	if (err) {
		fprintf(stderr, "FAILED: flipd: %s\n", strerror(-err));
		exit(1);
	}
	return gw;
}

/* The n-th COUNT of a caller: NULL if it was executed, for the n-th time, else what was wrong. */
static inline const char *count_once(struct gw *gw, const char *secret, uint64_t who, uint64_t n)
{
	struct gw_hdr req = { .port = put_port(secret), .command = COUNT, .extra = who, .offset = n }, rep = { 0 };
	ssize_t len = gw_trans(gw, &req, NULL, 0, &rep, NULL, 0);

	if (len < 0 || rep.command != GW_OK)
		return gw_strerror(len < 0 ? (int)len : rep.command);
	return rep.extra == n && rep.offset == n ? NULL : "lost, doubled or overtaken";
}

#endif
