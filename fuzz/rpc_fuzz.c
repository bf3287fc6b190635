/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FLIP packets and RPC messages from other hosts, of which all is authentic and nothing need make sense. One host
 * with a server, a client with transactions under way and an endpoint that is being moved; a script of packets,
 * time and local deeds. In a packet, small addresses stand for endpoints here.
 */
#include "base/wire.h"
#include "flip/flip.h"
#include "fuzz.h"
#include "packet.h"
#include "rpc/rpc.h"

#define HELD 8
#define OWNER ((void *)&world)

static struct world {
	struct rpc *rpc;
	struct rpc_ep *server, *client, *moving;
	struct gw_port port, far;
	uint64_t held[HELD];
	unsigned n_held;
	uint64_t cookie, now_us;
	flip_addr last; /* that our packets went to */
	uint32_t last_messid;
} world;

static void on_transmit(void *ctx, uint32_t loc, const struct iovec *iov, int n)
{
	struct wire_in w = wire_in(iov[0].iov_base, iov[0].iov_len);

	(void)ctx;
	(void)loc;
	(void)n;
	(void)wire_skip(&w, 8);
	world.last = wire_get_u64(&w);
	(void)wire_skip(&w, 8);
	world.last_messid = wire_get_u32(&w);
}

static bool on_room(void *ctx, void *owner, size_t len)
{
	(void)ctx;
	(void)owner;
	return len % 16 != 15;
}

static void on_request(void *ctx, void *owner, uint32_t number, const struct rpc_request *r)
{
	(void)ctx;
	(void)number;
	if (owner != OWNER || r->body.off + r->body.len > r->body.buf->len || r->body.len < RPC_USER_HDR_LEN)
		abort();
	world.held[world.n_held++ % HELD] = r->id;
}

static void on_reply(void *ctx, void *owner, uint32_t number, uint64_t cookie, int status,
		     const struct rpc_body *body)
{
	(void)ctx;
	(void)number;
	if (owner != OWNER || cookie > world.cookie || (status == GW_OK) != (body != NULL))
		abort();
}

static void on_cancelled(void *ctx, void *owner, uint64_t id)
{
	(void)ctx;
	(void)owner;
	(void)id;
}

static void on_lost(void *ctx, void *owner, uint32_t number, uint32_t inc)
{
	(void)ctx;
	(void)owner;
	(void)number;
	(void)inc;
}

static const struct rpc_ops ops = {
	.transmit = on_transmit,
	.room = on_room,
	.request = on_request,
	.reply = on_reply,
	.cancelled = on_cancelled,
	.lost = on_lost,
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return 0;
}

static struct rpc_body body_of(const uint8_t *data, size_t len)
{
	struct rpc_body b = { .buf = buf_new(RPC_USER_HDR_LEN + len), .len = RPC_USER_HDR_LEN + len };

	memset(b.buf->data, 0, RPC_USER_HDR_LEN);
	if (len)
		if (len)
			memcpy(b.buf->data + RPC_USER_HDR_LEN, data, len);
	return b;
}

static void trans(struct rpc_ep *ep, const struct gw_port *port, const uint8_t *data, size_t len)
{
	struct rpc_body b = body_of(data, len);

	rpc_trans(world.rpc, ep, ++world.cookie, port, 0, 0, 1000000, &b);
	buf_unref(b.buf);
}

static void start(void)
{
	struct rpc_config c;
	struct buf *blob = NULL;

	fuzz_seed = 2;
	memset(&world, 0, sizeof world);
	world.now_us = 20000000;
	rpc_config_default(&c);
	c.flip.reassembly_bytes = 1 << 20;
	world.rpc = rpc_new(&c, &ops, NULL, world.now_us);
	for (uint32_t loc = 1; loc <= 3; loc++)
		flip_peer_alive(rpc_flip(world.rpc), loc, true, world.now_us);
	world.server = rpc_ep_new(world.rpc, 1, OWNER, 1);
	world.client = rpc_ep_new(world.rpc, 1, OWNER, 2);
	world.moving = rpc_ep_new(world.rpc, 1, OWNER, 3);
	memset(world.port.bytes, 1, GW_PORT_LEN);
	memset(world.far.bytes, 2, GW_PORT_LEN);
	if (rpc_serve(world.rpc, world.server, &world.port) < 0)
		abort();
	trans(world.client, &world.far, NULL, 0);
	trans(world.moving, &world.far, NULL, 0);
	if (rpc_ep_take(world.rpc, world.moving, false, &blob) < 0)
		abort();
	buf_unref(blob);
	rpc_work(world.rpc, world.now_us);
}

/* 0..3 stand for endpoints, and 4 for whom we sent a packet to last. */
static void name_address(uint8_t at[8])
{
	struct rpc_ep *eps[] = { world.server, world.client, world.moving };
	struct wire_in in = wire_in(at, 8);
	struct wire_out out = wire_out(at, 8);
	uint64_t n = wire_get_u64(&in);

	if (n && n <= ARRAY_LEN(eps))
		wire_put_u64(&out, rpc_ep_addr(eps[n - 1]));
	else if (n == 4)
		wire_put_u64(&out, world.last);
}

static void packet(struct fuzz_in *in, uint32_t loc, bool broadcast)
{
	uint8_t bytes[FLIP_PACKET_MAX];
	size_t len = fuzz_packet(in, bytes, name_address, world.last_messid);

	flip_input(rpc_flip(world.rpc), loc, broadcast, bytes, len, world.now_us);
}

static void deed(struct fuzz_in *in, uint8_t op)
{
	struct rpc_body b;
	size_t len;
	const uint8_t *from;

	switch (op % 6) {
	case 0:
		from = fuzz_bytes(in, 8192, &len);
		trans(world.client, op & 0x80 ? &world.port : &world.far, from, len);
		break;
	case 1:
		from = fuzz_bytes(in, 8192, &len);
		b = body_of(from, len);
		(void)rpc_reply(world.rpc, OWNER, world.held[op / 6 % HELD], &b);
		buf_unref(b.buf);
		break;
	case 2:
		rpc_cancel(world.rpc, world.client, fuzz_get(in, 1), op & 0x80);
		break;
	case 3:
		flip_peer_alive(rpc_flip(world.rpc), 1 + op / 6 % 3, op & 0x80, world.now_us);
		break;
	case 4:
		(void)!rpc_ep_resume(world.rpc, world.moving);
		break;
	default:
		flip_invalidate(rpc_flip(world.rpc), world.last);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };

	start();
	for (unsigned i = 0; in.left && i < 200; i++) {
		uint8_t op = (uint8_t)fuzz_get(&in, 1);

		if (op % 4 < 2)
			packet(&in, 1 + op / 4 % 3, op & 0x80);
		else if (op % 4 == 2)
			deed(&in, op / 4);
		else
			world.now_us += fuzz_get(&in, 1) << op / 4 % 20;
		rpc_work(world.rpc, world.now_us);
	}
	rpc_free(world.rpc);
	return 0;
}
