/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/header.h"

#include <errno.h>

#include "base/wire.h"

void rpc_hdr_encode(const struct rpc_hdr *h, uint8_t out[RPC_HDR_LEN])
{
	struct wire_out w = wire_out(out, RPC_HDR_LEN);

	wire_put_u8(&w, h->type);
	wire_put_u8(&w, h->flags);
	wire_put_u16(&w, h->why);
	wire_put_u32(&w, 0);
	wire_put_u64(&w, h->tid);
	wire_put_u64(&w, h->acked);
	wire_put_bytes(&w, h->port.bytes, GW_PORT_LEN);
	wire_put_u32(&w, h->uid);
	wire_put_u32(&w, h->gid);
	wire_put_u64(&w, 0);
}

int rpc_hdr_decode(struct rpc_hdr *h, const uint8_t *p, size_t len)
{
	struct wire_in w = wire_in(p, len);
	uint64_t zero;

	h->type = wire_get_u8(&w);
	h->flags = wire_get_u8(&w);
	h->why = wire_get_u16(&w);
	zero = wire_get_u32(&w);
	h->tid = wire_get_u64(&w);
	h->acked = wire_get_u64(&w);
	wire_get_bytes(&w, h->port.bytes, GW_PORT_LEN);
	h->uid = wire_get_u32(&w);
	h->gid = wire_get_u32(&w);
	zero |= wire_get_u64(&w);
	if (w.bad || zero || h->type < RPC_REQUEST || h->type >= RPC_TYPE_N || !h->tid)
		return -EBADMSG;
	if (h->type == RPC_REQUEST || h->type == RPC_REPLY)
		return w.left >= RPC_USER_HDR_LEN && w.left <= RPC_USER_HDR_LEN + GW_MSG_MAX ? 0 : -EBADMSG;
	return w.left ? -EBADMSG : 0;
}

void rpc_user_hdr_encode(const struct gw_hdr *h, uint8_t out[RPC_USER_HDR_LEN])
{
	struct wire_out w = wire_out(out, RPC_USER_HDR_LEN);

	wire_put_u64(&w, h->priv.object);
	wire_put_u32(&w, h->priv.rights);
	wire_put_u32(&w, (uint32_t)h->command);
	wire_put_bytes(&w, h->priv.check, GW_CHECK_LEN);
	wire_put_u64(&w, h->offset);
	wire_put_u64(&w, h->size);
	wire_put_u64(&w, h->extra);
}

int rpc_user_hdr_decode(struct gw_hdr *h, const uint8_t *p, size_t len)
{
	struct wire_in w = wire_in(p, len);

	*h = (struct gw_hdr) { 0 };
	h->priv.object = wire_get_u64(&w);
	h->priv.rights = wire_get_u32(&w);
	h->command = (int32_t)wire_get_u32(&w);
	wire_get_bytes(&w, h->priv.check, GW_CHECK_LEN);
	h->offset = wire_get_u64(&w);
	h->size = wire_get_u64(&w);
	h->extra = wire_get_u64(&w);
	return w.bad ? -EBADMSG : 0;
}

const char *rpc_type_name(unsigned type)
{
	static const char *const names[RPC_TYPE_N] = {
		[RPC_REQUEST] = "REQUEST",   [RPC_REPLY] = "REPLY",	[RPC_ACK] = "ACK",
		[RPC_NAK] = "NAK",	     [RPC_ENQUIRE] = "ENQUIRE", [RPC_ALIVE] = "ALIVE",
		[RPC_RECEIVED] = "RECEIVED", [RPC_FORWARD] = "FORWARD", [RPC_FAIL] = "FAIL",
	};

	return type < RPC_TYPE_N && names[type] ? names[type] : "?";
}
