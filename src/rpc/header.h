/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_RPC_HEADER_H
#define GW_RPC_HEADER_H

/*
 * What RPC messages look like inside FLIP messages. Every message begins with 56 bytes in network order:
 *
 *	 0 type  1 flags  2 why (NAK)  4 zero (4)
 *	 8 tid: number of the transaction, counted by the client's endpoint
 *	16 acked: the client has the replies of all transactions up to this one
 *	24 port (16, of a REQUEST)  40 uid  44 gid  48 zero (8)
 *
 * A REQUEST or REPLY goes on with the user's header (rpc_user_hdr, 56 bytes) and data, which RPC does not look at.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "godwit.h"

#define RPC_HDR_LEN 56
#define RPC_USER_HDR_LEN 56

enum rpc_type {
	RPC_REQUEST = 3,
	RPC_REPLY,
	RPC_ACK,      /* I have it */
	RPC_NAK,      /* I do not have it, see why */
	RPC_ENQUIRE,  /* client: are you still working on it? */
	RPC_ALIVE,    /* server: yes */
	RPC_RECEIVED, /* did you get my request (RPC_F_REPLY: my reply)? */
	RPC_FORWARD,  /* groups: not sent yet, ignored */
	RPC_FAIL,     /* server: it was begun here and is lost */
	RPC_TYPE_N,
};

enum rpc_flag {
	RPC_F_RETRANS = 0x01,  /* REQUEST: an earlier copy may have arrived */
	RPC_F_REPLY = 0x02,    /* ACK, NAK, RECEIVED: about the reply, not the request */
	RPC_F_SIGTRANS = 0x04, /* ENQUIRE: the client would like to break it off */
};

enum rpc_why {
	RPC_WHY_LACK = 1, /* never seen: send it (again) */
	RPC_WHY_PORT,	  /* the endpoint does not serve that port; this copy was dropped */
	RPC_WHY_FULL,	  /* too much to do; this copy was dropped */
};

struct rpc_hdr {
	uint8_t type, flags;
	uint16_t why;
	uint64_t tid, acked;
	struct gw_port port;
	uint32_t uid, gid;
};

/* "REQUEST"; "?" if there is no such type. */
const char *rpc_type_name(unsigned type);
void rpc_hdr_encode(const struct rpc_hdr *h, uint8_t out[RPC_HDR_LEN]);
/* Reads the first RPC_HDR_LEN bytes of a message of `len`; -EBADMSG if they are impossible. */
int rpc_hdr_decode(struct rpc_hdr *h, const uint8_t *p, size_t len) must_check;

/* The user's header without its port, which travels in the RPC header. */
void rpc_user_hdr_encode(const struct gw_hdr *h, uint8_t out[RPC_USER_HDR_LEN]);
int rpc_user_hdr_decode(struct gw_hdr *h, const uint8_t *p, size_t len) must_check;

#endif
