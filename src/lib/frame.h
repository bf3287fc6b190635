/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_LIB_FRAME_H
#define GW_LIB_FRAME_H

/*
 * What goes over flipd's local socket, a stream of frames: 64 bytes in network order, then a payload.
 *
 *	 0 length of the payload  4 type (2)  6 flags (2)  8 endpoint  12 status
 *	16 id (8)  24 port (16)  40 client (8)  48 uid  52 gid  56 aux (8)
 *
 * Fields that a type does not mention are zero.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "godwit.h"
#include "rpc/header.h"

#define FRAME_HDR_LEN 64
#define FRAME_BODY_MAX (RPC_USER_HDR_LEN + GW_MSG_MAX)
#define FRAME_PAYLOAD_MAX (FRAME_BODY_MAX + GW_HOST_MAX)
#define FRAME_VERSION 1

enum frame_type {
	/* To flipd. */
	FRAME_HELLO = 1, /* aux: FRAME_VERSION; must be the first */
	FRAME_TRANS,  /* endpoint, id, port (put), aux: locate time in ms (0 = default), payload: user header, data
		       */
	FRAME_CANCEL, /* endpoint, id; flags: FRAME_F_FORGET */
	FRAME_EP_OPEN,	  /* endpoint, aux: incarnation */
	FRAME_EP_CLOSE,	  /* endpoint */
	FRAME_SERVE,	  /* endpoint, id, port (get): answered by DONE */
	FRAME_UNSERVE,	  /* endpoint, port (get) */
	FRAME_PUTREP,	  /* id of the request, payload: user header, data */
	FRAME_EP_TAKE,	  /* endpoint, id: DONE with the blob */
	FRAME_EP_RESUME,  /* endpoint, id: DONE */
	FRAME_EP_INSTALL, /* endpoint, id, payload: blob: DONE. FRAME_F_BOUND: no port but port, no transaction
			   * but of uid and gid */
	FRAME_HOSTS,	  /* id: DONE, payload: hosts */
	FRAME_COUNTERS,	  /* id: DONE, payload: counters */
	FRAME_TABLE,	  /* id: DONE, payload: the table */
	FRAME_TRACE,	  /* from root only: TRACED for every packet from now on */
	/* To flipd, from root only: a program moves, and its connection with it. See flipd/travel.c. */
	FRAME_CONN_TAKE, /* id, client: inode of flipd's end: DONE with the blob, aux: uid << 32 | gid */
	FRAME_CONN_HOLD, /* id, client: inode; it stays taken, also when we are gone, until somebody ENDs it; with
			  * FRAME_F_UNSURE for ten seconds only: DONE */
	FRAME_CONN_END,	 /* id, client: inode; flags: FRAME_F_MOVED, it lives elsewhere: DONE */
	FRAME_CONN_ARRIVE,  /* id, client: token, payload: what the program had not read yet. This connection will
			     * be that of a program that arrives: DONE, then the payload */
	FRAME_CONN_INSTALL, /* id, client: token, uid, gid, payload: blob: DONE */
	/* To flipd: raw FLIP. FRAME_EP_CLOSE closes such an endpoint too. */
	FRAME_RAW_OPEN,	 /* endpoint, id: DONE, aux: its address */
	FRAME_RAW_JOIN,	 /* endpoint, id, client: private address of a group: DONE, aux: the group's address */
	FRAME_RAW_LEAVE, /* endpoint, client: the group's address */
	FRAME_RAW_SEND,	 /* endpoint, id, client: destination, flags: FRAME_F_INVAL, FRAME_F_SAFE, FRAME_F_GROUP,
			  * uid: least number of members, gid: networks to cross at most (0 = any), aux: locate time
			  * in ms (0 = default), payload: the message. RAW_FAILED, or nothing */
	/* From flipd. */
	FRAME_REPLY = 64, /* endpoint, id of the transaction, status, payload: user header, data */
	FRAME_REQUEST,	  /* endpoint, id, port (put), client, uid, gid, aux: length of the host's name;
			   * payload: the name, user header, data; flags: FRAME_F_LOCAL */
	FRAME_CANCELLED,  /* id of the request */
	FRAME_LOST,	  /* endpoint, aux: incarnation */
	FRAME_DONE,	  /* id, status: 0 or -errno, payload */
	FRAME_TRACED, /* a packet. id: when, CLOCK_REALTIME in us; status: its length; uid: packets that were left
		       * out before it; aux: length of the other host's name, "" for all; payload: the name, the
		       * packet's beginning; flags: FRAME_F_SENT */
	FRAME_RAW_DATA,	  /* endpoint, id: source, client: the group, or 0; payload: the message */
	FRAME_RAW_FAILED, /* endpoint, id, client: destination, status: why, flags: FRAME_F_UNSURE */
};

enum frame_flag {
	FRAME_F_FORGET = 0x01,
	FRAME_F_LOCAL = 0x02,
	FRAME_F_BOUND = 0x04,
	FRAME_F_MOVED = 0x08,
	FRAME_F_SENT = 0x10,
	FRAME_F_INVAL = 0x20,
	FRAME_F_SAFE = 0x40,
	FRAME_F_GROUP = 0x80,
	FRAME_F_UNSURE = 0x100, /* it may have arrived */
};

struct frame {
	uint32_t length;
	uint16_t type, flags;
	uint32_t endpoint;
	int32_t status;
	uint64_t id;
	struct gw_port port;
	uint64_t client;
	uint32_t uid, gid;
	uint64_t aux;
};

void frame_encode(const struct frame *f, uint8_t out[FRAME_HDR_LEN]);
/* -EMSGSIZE if the payload is longer than any may be. */
int frame_decode(struct frame *f, const uint8_t in[FRAME_HDR_LEN]) must_check;

/* $GODWIT_FLIP_SOCK or the default. */
const char *frame_socket_path(void);

/* Payload of DONE to HOSTS: per host name (1 + n), address (1 + n), heard_us_ago (8), flags (1): 1 self, 2 alive,
 * hops (1), box that leads there (1 + n).
 * Payload of DONE to COUNTERS: per counter name (1 + n), value (8). */
enum { FRAME_HOST_SELF = 1, FRAME_HOST_ALIVE = 2 };
/*
 * Payload of DONE to TABLE, row by row: kind (1), then
 *	endpoint  address (8) incarnation (4) number (4) uid (4) flags (1: 1 busy, 2 ghost, 4 raw)
 *		  held (4) replied (4) calling (4) clients (4) ports (4)
 *		  locating (4) waiting (4) sending (4) unread (4)
 *	port	  port (16) address (8) here (1)
 *	route	  address (8) incarnation (4) host (1 + n)
 * Root sees all, others their own endpoints and ports.
 */
enum frame_row { FRAME_ROW_ENDPOINT = 1, FRAME_ROW_PORT, FRAME_ROW_ROUTE };
enum { FRAME_EP_BUSY = 1, FRAME_EP_GHOST = 2, FRAME_EP_RAW = 4 /* ports: its groups, sending: what waits */ };

#endif
