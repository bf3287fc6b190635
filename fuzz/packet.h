/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FUZZ_PACKET_H
#define GW_FUZZ_PACKET_H

/* FLIP packets out of a script, for targets that play another host. */

#include "base/wire.h"
#include "flip/packet.h"
#include "fuzz.h"

/*
 * The next packet, into `bytes`; returns its length. `name` puts an address of the target's in place of a small
 * number. A message number that begins with 0xff stands for the last one that the target sent.
 */
static inline size_t fuzz_packet(struct fuzz_in *in, uint8_t bytes[FLIP_PACKET_MAX], void (*name)(uint8_t at[8]),
				 uint32_t last_messid)
{
	struct wire_out length = wire_out(bytes + 28, 4), messid = wire_out(bytes + 24, 4);
	size_t len;
	const uint8_t *from = fuzz_bytes(in, FLIP_PACKET_MAX, &len);

	memcpy(bytes, from, len);
	if (len < FLIP_HDR_LEN)
		return len;
	name(bytes + 8);
	name(bytes + 16);
	/* Nobody gets a length right by chance. */
	wire_put_u32(&length, (uint32_t)(len - FLIP_HDR_LEN));
	if (bytes[24] == 0xff)
		wire_put_u32(&messid, last_messid);
	return len;
}

#endif
