/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/frame.h"

#include <errno.h>
#include <stdlib.h>

#include "base/wire.h"

void frame_encode(const struct frame *f, uint8_t out[FRAME_HDR_LEN])
{
	struct wire_out w = wire_out(out, FRAME_HDR_LEN);

	wire_put_u32(&w, f->length);
	wire_put_u16(&w, f->type);
	wire_put_u16(&w, f->flags);
	wire_put_u32(&w, f->endpoint);
	wire_put_u32(&w, (uint32_t)f->status);
	wire_put_u64(&w, f->id);
	wire_put_bytes(&w, f->port.bytes, GW_PORT_LEN);
	wire_put_u64(&w, f->client);
	wire_put_u32(&w, f->uid);
	wire_put_u32(&w, f->gid);
	wire_put_u64(&w, f->aux);
}

int frame_decode(struct frame *f, const uint8_t in[FRAME_HDR_LEN])
{
	struct wire_in w = wire_in(in, FRAME_HDR_LEN);

	f->length = wire_get_u32(&w);
	f->type = wire_get_u16(&w);
	f->flags = wire_get_u16(&w);
	f->endpoint = wire_get_u32(&w);
	f->status = (int32_t)wire_get_u32(&w);
	f->id = wire_get_u64(&w);
	wire_get_bytes(&w, f->port.bytes, GW_PORT_LEN);
	f->client = wire_get_u64(&w);
	f->uid = wire_get_u32(&w);
	f->gid = wire_get_u32(&w);
	f->aux = wire_get_u64(&w);
	return f->length > FRAME_PAYLOAD_MAX ? -EMSGSIZE : 0;
}

const char *frame_socket_path(void)
{
	const char *path = getenv("GODWIT_FLIP_SOCK");

	return path && *path ? path : "/run/godwit/flip.sock";
}
