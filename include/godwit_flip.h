/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GODWIT_FLIP_H
#define GODWIT_FLIP_H

/*
 * Raw FLIP: messages between addresses, and to groups of them, wherever they are and while they move.
 *
 * What RPC is made of, for protocols that are not RPC. A message is delivered whole or not at all; it may be lost,
 * and seldom doubled or overtaken, when networks and hosts fail. A migration of either side is not a failure: what
 * was sent to somebody who is being moved is sent again where he is then.
 *
 * An endpoint has an address of its own, which is fresh, and any number of groups that it listens on besides.
 * Whoever knows the private address of a group can listen on it, whoever knows its address F(private) can send to
 * it. An endpoint is a connection to flipd, used by one thread at a time; it moves with its program.
 *
 * All calls return GW_OK (0) or a negative gw_status where nothing else is said.
 */

#include "godwit.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef uint64_t gw_flip_addr;

/* A fresh private address, and F, which is one-way. F(0) is 0. */
gw_flip_addr gw_flip_random(void);
gw_flip_addr gw_flip_publish(gw_flip_addr private_addr);

struct gw_flip;

/* 0 or -errno. `socket_path` NULL means the default. */
int gw_flip_open(const char *socket_path, struct gw_flip **ret_flip);
/* NULL is permitted. What it has sent goes on, as far as it has left this host's flipd. */
void gw_flip_close(struct gw_flip *flip);
gw_flip_addr gw_flip_address(const struct gw_flip *flip);
/* Readable when gw_flip_receive may have something; also look with a timeout of 0 after every other call. */
int gw_flip_fd(const struct gw_flip *flip);

/* Listens on the group F(private_group); private_group 0: on what is broadcast. GW_TRYAGAIN: an endpoint may be in
 * 64 groups, and 100 endpoints of a host in one. */
int gw_flip_join(struct gw_flip *flip, gw_flip_addr private_group);
int gw_flip_leave(struct gw_flip *flip, gw_flip_addr private_group);

enum gw_flip_flag {
	GW_FLIP_INVAL = 0x1, /* the way to the address is doubted: locate it first */
	/* Only to hosts whose root is root on this one, and that say the same of it (root_from in godwit.conf):
	 * GW_UNSAFE otherwise. What is sent is sealed on its way in any case. */
	GW_FLIP_SECURITY = 0x4,
};

/*
 * Sends a message of at most GW_MSG_MAX bytes; GW_OK says that flipd has it. If it cannot be delivered, an event
 * says so later, under the number *ret_id (may be NULL). `locate_ms`: how long to look for the address at most, 0
 * for the default, 5200; when every host that is alive has said no, that is the end of it.
 */
int gw_flip_unicast(struct gw_flip *flip, gw_flip_addr to, int flags, const void *data, size_t len,
		    unsigned locate_ms, uint64_t *ret_id);
/* To all others in a group, once at least `n` have been found (0: to whoever is in it). Of members that cannot be
 * reached then nothing is heard. Who has joined within the last ten seconds may be missed if his announcement was
 * lost. */
int gw_flip_multicast(struct gw_flip *flip, gw_flip_addr group, unsigned n, int flags, const void *data,
		      size_t len, unsigned locate_ms, uint64_t *ret_id);
/* To all others that listen for broadcasts, across at most `hops` networks (0: any). */
int gw_flip_broadcast(struct gw_flip *flip, unsigned hops, const void *data, size_t len);

struct gw_flip_event {
	/* GW_OK: a message. Else what became of one of ours: GW_NOTFOUND (its receiver is nowhere, or too few are
	 * in the group), GW_UNSAFE, GW_TRYAGAIN (too many are under way), GW_FAILURE (its host does not answer).
	 */
	int status;
	gw_flip_addr source; /* of a message */
	gw_flip_addr group;  /* ... 0: it was sent to this endpoint alone; 1: it was broadcast */
	size_t len;	     /* ... of which gw_flip_receive stored as much as there is room for */
	uint64_t id;	     /* of one of ours */
	int certain;	     /* ... it has not arrived; else it may have */
};

/*
 * Waits for an event, at most `timeout_ms` (-1: for ever). GW_TRYAGAIN: there was none in time; GW_ABORTED: a
 * signal; GW_FAILURE: the connection to flipd is lost, and with it the address. Open another endpoint then.
 */
int gw_flip_receive(struct gw_flip *flip, struct gw_flip_event *ret, void *buf, size_t size, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
