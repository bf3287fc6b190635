/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FLIP_PACKET_H
#define GW_FLIP_PACKET_H

/*
 * The FLIP packet. All numbers are in network order.
 *
 *	 0 version  1 type  2 flags  3 zero  4 hops  5 hops_max  6 frag
 *	 8 dst (8)  16 src (8)
 *	24 messid  28 length (of this packet's data)  32 offset (in the message)  36 total (length of the message)
 *	40 src_inc (incarnation of src)  44 dst_inc (what the sender believes dst's to be, 0 if it has no idea)
 *	48 data
 *
 * A message longer than `frag` bytes travels as fragments that are each `frag` long, but the last.
 *
 * - LOCATE: broadcast. Who has dst (FLIP_F_PORT: who serves the 16-byte port in the data)? src is the asking
 *   flipd.
 * - HEREIS: src is at the sender (FLIP_F_PORT: it serves the port in the data). An answer echoes messid; an
 *   announcement (FLIP_F_ANNOUNCE) was not asked for.
 *   FLIP_F_GROUP: dst (src in the answer) is a group, and HEREIS says who of it is at the sender, in data: address
 *   (8), incarnation (4) of each.
 * - UNIDATA: data from src to dst. With FLIP_F_ASK its arrival is answered with a CREDIT if it is a fragment. With
 *   FLIP_F_RAW it is between programs that use FLIP themselves; without, it is RPC's. FLIP_F_SAFE: only hosts that
 *   trust each other may carry it.
 * - MULTIDATA: a UNIDATA with FLIP_F_RAW to one member of a group, whose address is the message's first 8 bytes.
 * - NOTHERE: with FLIP_F_LOCATE, "not here" to a LOCATE that asked for such answers; else a UNIDATA packet comes
 *   back, its header (src and dst swapped) without its data.
 * - UNTRUSTED: as NOTHERE, but dst's host does not trust the sender's, and FLIP_F_SAFE asks for that.
 * - BUSY: as NOTHERE, but the address is here and is being migrated; try again soon.
 * - CREDIT: which fragments of a message have arrived. dst is its sender, data: number of fragments that arrived
 *   without a gap, then a bit for each one from there.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "flip/addr.h"

#define FLIP_VERSION 1
#define FLIP_HDR_LEN 48
/* Data bytes in a fragment where nothing is known of the path: with all headers it fits 1500-byte frames. */
#define FLIP_FRAG 1360
#define FLIP_FRAG_MIN 256
#define FLIP_FRAG_MAX 8192
/* The longest message: RPC's largest body and headers. */
#define FLIP_MSG_MAX ((16u << 20) + 4096u)
#define FLIP_PORT_LEN 16
/* Networks that a packet may cross. */
#define FLIP_HOPS_MAX 25u
#define FLIP_CREDIT_BITS 1024u
/* Members of one group on one host: a HEREIS names them all. */
#define FLIP_MEMBERS_MAX 100u
#define FLIP_MEMBER_LEN 12u
#define FLIP_GROUP_LEN 8u
#define FLIP_PACKET_MAX (FLIP_HDR_LEN + FLIP_FRAG_MAX)

enum flip_type {
	FLIP_LOCATE = 1,
	FLIP_HEREIS,
	FLIP_UNIDATA,
	FLIP_MULTIDATA,
	FLIP_NOTHERE,
	FLIP_UNTRUSTED,
	FLIP_BUSY,
	FLIP_CREDIT,
	FLIP_TYPE_N,
};

enum flip_flag {
	FLIP_F_PORT = 0x01,	/* about a port, not an address */
	FLIP_F_ANSWER = 0x02,	/* LOCATE: say so too if it is not here */
	FLIP_F_LOCATE = 0x04,	/* NOTHERE, BUSY: answers a LOCATE */
	FLIP_F_ANNOUNCE = 0x08, /* HEREIS: nobody asked */
	FLIP_F_ASK = 0x10,	/* UNIDATA, MULTIDATA: a CREDIT at once, please */
	FLIP_F_RAW = 0x20,	/* UNIDATA, MULTIDATA: not RPC's */
	FLIP_F_GROUP = 0x40,	/* about a group */
	FLIP_F_SAFE = 0x80,	/* UNIDATA, MULTIDATA: not to hosts that are not trusted */
};

struct flip_hdr {
	uint8_t type;
	uint8_t flags;
	uint8_t hops, hops_max;
	uint16_t frag;
	flip_addr dst, src;
	uint32_t messid, length, offset, total;
	uint32_t src_inc, dst_inc;
};

/* Writes FLIP_HDR_LEN bytes. */
void flip_hdr_encode(const struct flip_hdr *h, uint8_t out[FLIP_HDR_LEN]);
/*
 * Checks and reads a packet; *ret_data points into it (h->length bytes). -EBADMSG if a field is impossible:
 * lengths, offsets, hop counts, addresses and data are those that the type may have.
 */
int flip_hdr_decode(struct flip_hdr *h, const uint8_t *packet, size_t len, const uint8_t **ret_data) must_check;
/* The header of a packet as it stands, for people who look at traffic; -EBADMSG if it is shorter than one. */
int flip_hdr_peek(struct flip_hdr *h, const uint8_t *packet, size_t len) must_check;
const char *flip_type_name(unsigned type);

#endif
