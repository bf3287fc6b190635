/* SPDX-License-Identifier: Apache-2.0 */
/* Raw FLIP and groups: packets of other hosts, endpoints that arrive, and a program that sends and moves. */
#include "base/wire.h"
#include "fuzz.h"
#include "packet.h"
#include "raw/raw.h"
#include "rpc/rpc.h"

#define OWNER ((void *)&world)
#define ARRIVING 9u

static struct {
	struct rpc *rpc;
	struct raw *raw;
	uint64_t now_us;
	flip_addr group;
	uint32_t last_messid;
	flip_addr last;
} world;

static void on_transmit(void *ctx, uint32_t loc, const struct iovec *iov, int n)
{
	struct wire_in w = wire_in(iov[0].iov_base, FLIP_HDR_LEN);
	size_t len = 0;

	(void)ctx;
	(void)loc;
	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	if (len > FLIP_PACKET_MAX)
		abort();
	(void)wire_skip(&w, 8);
	world.last = wire_get_u64(&w);
	(void)wire_get_u64(&w);
	world.last_messid = wire_get_u32(&w);
}

static bool on_room(void *ctx, void *owner, size_t len)
{
	(void)ctx;
	(void)owner;
	(void)len;
	return true;
}

static const struct rpc_ops rpc_ops = { .transmit = on_transmit, .room = on_room };

static bool on_data(void *ctx, void *owner, uint32_t number, flip_addr src, flip_addr group,
		    const struct flip_data *d)
{
	(void)ctx;
	(void)src;
	(void)group;
	/* Every byte is there. */
	for (size_t i = 0; i < d->len; i++)
		world.last += d->body->data[d->off + i] & 0;
	if (owner != OWNER || !number || d->head_len || d->len > FLIP_MSG_MAX)
		abort();
	return number & 1;
}

static void on_failed(void *ctx, void *owner, uint32_t number, uint64_t id, flip_addr dst, enum flip_why why,
		      bool certain)
{
	(void)ctx;
	(void)number;
	(void)id;
	(void)dst;
	(void)certain;
	if (owner != OWNER || why < FLIP_WHY_NOT_LOCATED || why > FLIP_WHY_UNTRUSTED)
		abort();
}

static void on_lost(void *ctx, void *owner, uint32_t number, uint32_t inc)
{
	(void)ctx;
	(void)owner;
	(void)number;
	(void)inc;
}

static bool on_trusts(void *ctx, uint32_t loc)
{
	(void)ctx;
	return loc != 2;
}

static const struct raw_ops raw_ops = {
	.data = on_data, .failed = on_failed, .lost = on_lost, .trusts = on_trusts
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return 0;
}

static void start(void)
{
	struct rpc_config c;

	fuzz_seed = 4;
	memset(&world, 0, sizeof world);
	world.now_us = 20000000;
	rpc_config_default(&c);
	c.flip.reassembly_bytes = 1 << 20;
	world.rpc = rpc_new(&c, &rpc_ops, NULL, 1);
	world.raw = raw_new(rpc_flip(world.rpc), &raw_ops, NULL);
	for (uint32_t loc = 1; loc <= 3; loc++)
		flip_peer_alive(rpc_flip(world.rpc), loc, true, world.now_us);
	for (uint32_t number = 1; number <= 3; number++) {
		struct raw_ep *ep = raw_ep_new(world.raw, OWNER, number);

		if (raw_join(world.raw, ep, 0x4200, &world.group) < 0)
			abort();
	}
}

/* 1..3 and 9 stand for endpoints, 4 for whom we sent a packet to last, 5 and 6 for groups. */
static uint64_t named(uint64_t n)
{
	struct raw_ep *ep = n && n <= ARRIVING ? raw_ep_find(world.raw, OWNER, (uint32_t)n) : NULL;

	if (ep)
		return raw_ep_flip(ep)->addr;
	return n == 4 ? world.last : n == 5 ? world.group : n == 6 ? FLIP_EVERYBODY : n;
}

static void name_address(uint8_t at[8])
{
	struct wire_in in = wire_in(at, 8);
	struct wire_out out = wire_out(at, 8);

	wire_put_u64(&out, named(wire_get_u64(&in)));
}

static void packet(struct fuzz_in *in, uint32_t loc, bool broadcast)
{
	uint8_t bytes[FLIP_PACKET_MAX];
	size_t len = fuzz_packet(in, bytes, name_address, world.last_messid);

	if (len >= FLIP_HDR_LEN + 8)
		name_address(bytes + FLIP_HDR_LEN);
	flip_input(rpc_flip(world.rpc), loc, broadcast, bytes, len, world.now_us);
}

static void send(struct fuzz_in *in, struct raw_ep *ep)
{
	struct raw_send s = { .id = 1,
			      .flags = (unsigned)fuzz_get(in, 1) % 8,
			      .n = (uint32_t)fuzz_get(in, 1) % 8 };
	const uint8_t *from;
	size_t len;

	s.hops = s.n / 4;
	s.locate_us = fuzz_get(in, 2) << 8;
	s.dst = named(fuzz_get(in, 1));
	from = fuzz_bytes(in, 65535, &len);
	s.data.body = buf_copy(from, len);
	s.data.len = len;
	raw_send(world.raw, ep, &s, world.now_us);
	buf_unref(s.data.body);
}

/* What it can be taken as can be installed elsewhere. */
static void take(struct raw_ep *ep)
{
	struct buf *blob = NULL;
	struct rpc_config c;
	struct rpc *rpc;
	struct raw *raw;

	if (raw_ep_take(world.raw, ep, &blob) < 0)
		return;
	rpc_config_default(&c);
	rpc = rpc_new(&c, &rpc_ops, NULL, 1);
	raw = raw_new(rpc_flip(rpc), &raw_ops, NULL);
	if (raw_ep_install(raw, blob->data, blob->len, OWNER, raw_ep_number(ep), world.now_us) < 0)
		abort();
	rpc_work(rpc, world.now_us);
	raw_free(raw);
	rpc_free(rpc);
	buf_unref(blob);
}

static void deed(struct fuzz_in *in, uint8_t op)
{
	struct raw_ep *ep = raw_ep_find(world.raw, OWNER, 1 + op / 8 % 4);
	const uint8_t *from;
	flip_addr group;
	size_t len;

	ep = ep ? ep : raw_ep_find(world.raw, OWNER, ARRIVING);
	if (op % 8 == 0) {
		from = fuzz_bytes(in, 8192, &len);
		if (!raw_ep_find(world.raw, OWNER, ARRIVING))
			(void)!raw_ep_install(world.raw, from, len, OWNER, ARRIVING, world.now_us);
		return;
	}
	if (!ep)
		return;
	switch (op % 8) {
	case 1:
	case 2:
		send(in, ep);
		break;
	case 3:
		(void)!raw_join(world.raw, ep, fuzz_get(in, 1) << 8, &group);
		break;
	case 4:
		raw_leave(world.raw, ep, named(fuzz_get(in, 1)));
		break;
	case 5:
		take(ep);
		break;
	case 6:
		(void)!raw_ep_resume(world.raw, ep, world.now_us);
		break;
	default:
		flip_peer_alive(rpc_flip(world.rpc), 1 + op / 8 % 3, op & 0x80, world.now_us);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };

	start();
	for (unsigned i = 0; in.left && i < 200; i++) {
		uint8_t op = (uint8_t)fuzz_get(&in, 1);

		if (op % 4 == 0)
			packet(&in, 1 + op / 4 % 3, op & 0x80);
		else if (op % 4 < 3)
			deed(&in, op / 4);
		else
			world.now_us += fuzz_get(&in, 1) << op / 4 % 20;
		rpc_work(world.rpc, world.now_us);
	}
	raw_free(world.raw);
	rpc_free(world.rpc);
	return 0;
}
