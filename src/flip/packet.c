/* SPDX-License-Identifier: Apache-2.0 */
#include "flip/packet.h"

#include <errno.h>

#include "base/wire.h"

void flip_hdr_encode(const struct flip_hdr *h, uint8_t out[FLIP_HDR_LEN])
{
	struct wire_out w = wire_out(out, FLIP_HDR_LEN);

	wire_put_u8(&w, FLIP_VERSION);
	wire_put_u8(&w, h->type);
	wire_put_u8(&w, h->flags);
	wire_put_u8(&w, 0);
	wire_put_u8(&w, h->hops);
	wire_put_u8(&w, h->hops_max);
	wire_put_u16(&w, h->frag);
	wire_put_u64(&w, h->dst);
	wire_put_u64(&w, h->src);
	wire_put_u32(&w, h->messid);
	wire_put_u32(&w, h->length);
	wire_put_u32(&w, h->offset);
	wire_put_u32(&w, h->total);
	wire_put_u32(&w, h->src_inc);
	wire_put_u32(&w, h->dst_inc);
}

static bool data_ok(const struct flip_hdr *h)
{
	if (h->total > FLIP_MSG_MAX || h->offset > h->total)
		return false;
	if (!h->src || !h->dst || h->frag < FLIP_FRAG_MIN || h->frag > FLIP_FRAG_MAX)
		return false;
	if (h->type != FLIP_UNIDATA && h->type != FLIP_MULTIDATA)
		return h->length == 0;
	if (h->offset % h->frag)
		return false;
	if (h->type == FLIP_MULTIDATA && (!(h->flags & FLIP_F_RAW) || h->total < FLIP_GROUP_LEN))
		return false;
	/* A whole fragment, or what is left of the message. */
	return h->length == (h->total - h->offset < h->frag ? h->total - h->offset : h->frag) &&
	       (h->length || !h->total);
}

static bool name_ok(const struct flip_hdr *h)
{
	if (h->offset || h->total != h->length)
		return false;
	if (h->flags & FLIP_F_GROUP && h->flags & FLIP_F_PORT)
		return false;
	if (h->flags & FLIP_F_PORT)
		return h->length == FLIP_PORT_LEN && (h->type != FLIP_HEREIS || h->src);
	if (h->flags & FLIP_F_GROUP && h->type == FLIP_HEREIS)
		return h->src && h->length && h->length % FLIP_MEMBER_LEN == 0 &&
		       h->length <= FLIP_MEMBER_LEN * FLIP_MEMBERS_MAX;
	if (h->length)
		return false;
	return h->type == FLIP_LOCATE ? h->dst != 0 : h->src != 0;
}

static bool type_ok(const struct flip_hdr *h)
{
	switch (h->type) {
	case FLIP_LOCATE:
	case FLIP_HEREIS:
		return name_ok(h);
	case FLIP_NOTHERE:
	case FLIP_BUSY:
		return h->flags & FLIP_F_LOCATE ? name_ok(h) : data_ok(h);
	case FLIP_UNIDATA:
	case FLIP_MULTIDATA:
	case FLIP_UNTRUSTED:
		return data_ok(h);
	case FLIP_CREDIT:
		return h->src && h->dst && !h->offset && !h->total && h->length >= 4 &&
		       h->length <= 4 + FLIP_CREDIT_BITS / 8;
	default:
		return false;
	}
}

/* Returns the two bytes that have one value only. */
static uint16_t read_fields(struct wire_in *w, struct flip_hdr *h)
{
	uint8_t version = wire_get_u8(w), zero;

	h->type = wire_get_u8(w);
	h->flags = wire_get_u8(w);
	zero = wire_get_u8(w);
	h->hops = wire_get_u8(w);
	h->hops_max = wire_get_u8(w);
	h->frag = wire_get_u16(w);
	h->dst = wire_get_u64(w);
	h->src = wire_get_u64(w);
	h->messid = wire_get_u32(w);
	h->length = wire_get_u32(w);
	h->offset = wire_get_u32(w);
	h->total = wire_get_u32(w);
	h->src_inc = wire_get_u32(w);
	h->dst_inc = wire_get_u32(w);
	return (uint16_t)(version << 8 | zero);
}

int flip_hdr_decode(struct flip_hdr *h, const uint8_t *packet, size_t len, const uint8_t **ret_data)
{
	struct wire_in w = wire_in(packet, len);
	uint16_t fixed = read_fields(&w, h);

	if (w.bad || fixed != FLIP_VERSION << 8 || h->length != w.left || h->hops > h->hops_max)
		return -EBADMSG;
	if (!type_ok(h))
		return -EBADMSG;
	*ret_data = w.p;
	return 0;
}

int flip_hdr_peek(struct flip_hdr *h, const uint8_t *packet, size_t len)
{
	struct wire_in w = wire_in(packet, len);

	(void)read_fields(&w, h);
	return w.bad ? -EBADMSG : 0;
}

const char *flip_type_name(unsigned type)
{
	static const char *const names[FLIP_TYPE_N] = {
		[FLIP_LOCATE] = "LOCATE",	[FLIP_HEREIS] = "HEREIS",   [FLIP_UNIDATA] = "UNIDATA",
		[FLIP_MULTIDATA] = "MULTIDATA", [FLIP_NOTHERE] = "NOTHERE", [FLIP_UNTRUSTED] = "UNTRUSTED",
		[FLIP_BUSY] = "BUSY",		[FLIP_CREDIT] = "CREDIT",
	};

	return type < FLIP_TYPE_N && names[type] ? names[type] : "?";
}
