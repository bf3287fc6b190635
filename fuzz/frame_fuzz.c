/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What local programs, of any user, write into flipd's socket: two connections at a flipd without a network. The
 * frames of one are of an ordinary user with small quotas. Small numbers stand for what nobody would guess.
 */
#include "flipd/local.c"
#include "fuzz.h"

#define CONNS 2

static struct flipd d;
static int ends[CONNS];
static struct conn *conns[CONNS];

/* What the rest of flipd would do. */
void flipd_work(struct flipd *f)
{
	rpc_work(f->rpc, now_us());
	local_bury(f);
}

static void on_transmit(void *ctx, uint32_t loc, const struct iovec *iov, int n)
{
	(void)ctx;
	(void)loc;
	(void)iov;
	(void)n;
}

static const struct rpc_ops ops = {
	.transmit = on_transmit,
	.room = local_room,
	.request = local_request,
	.reply = local_reply,
	.cancelled = local_cancelled,
	.lost = local_lost,
};

static void drop_datagram(void *ctx, const struct sockaddr_in *to, const uint8_t *data, size_t len)
{
	(void)ctx;
	(void)to;
	(void)data;
	(void)len;
}

static const struct peer_ops peer_ops = { .send = drop_datagram };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return 0;
}

static void connect_to(unsigned i, uid_t uid)
{
	struct ucred cred = { .uid = uid, .gid = uid };
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		abort();
	ends[i] = fds[0];
	admit(&d, fds[1], &cred);
	conns[i] = LIST_FIRST(&d.local.conns);
	conns[i]->inode = i + 1;
}

static void start(void)
{
	struct peer_config pc;
	struct rpc_config rc;

	fuzz_seed = 5;
	memset(&d, 0, sizeof d);
	d.local.fd = -EBADF;
	d.local.conns_max = CONNS_ROOT + CONNS;
	d.local.quotas = (struct quotas) { .connections = 1, .endpoints = 3, .calls = 4, .bytes = 8192 };
	d.name = xstrdup("h1");
	(void)uv_loop_init(&d.loop);
	peer_config_default(&pc);
	seal_pair_random(&pc.own);
	memset(pc.cluster, 1, sizeof pc.cluster);
	(void)snprintf(pc.name, sizeof pc.name, "h1");
	d.peers = peers_new(&pc, &peer_ops, &d, now_us());
	rpc_config_default(&rc);
	d.rpc = rpc_new(&rc, &ops, &d, now_us());
	d.raw = raw_new(rpc_flip(d.rpc), &raw_ops, &d);
	connect_to(0, 0);
	connect_to(1, 1000);
}

static void stop(void)
{
	local_close(&d);
	(void)uv_run(&d.loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&d.loop);
	raw_free(d.raw);
	rpc_free(d.rpc);
	if (!LIST_EMPTY(&d.local.users))
		abort(); /* somebody is still charged for something */
	peers_free(d.peers);
	free(d.name);
	for (unsigned i = 0; i < CONNS; i++)
		(void)close(ends[i]);
}

static bool is_alive(const struct conn *wanted)
{
	const struct conn *c;

	LIST_FOREACH (c, &d.local.conns, list)
		if (c == wanted)
			return true;
	return false;
}

static void read_back(int end)
{
	uint8_t buf[8192];

	while (recv(end, buf, sizeof buf, MSG_DONTWAIT) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };

	start();
	while (in.left) {
		uint8_t op = (uint8_t)fuzz_get(&in, 1);
		unsigned i = op & 1;
		size_t len;
		const uint8_t *bytes;

		if (op & 2) { /* raw bytes: a part of a frame, perhaps */
			bytes = fuzz_bytes(&in, 4096, &len);
			(void)!send(ends[i], bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		} else {
			struct frame f = { .type = (uint16_t)(op & 4 ? FRAME_HELLO : op >> 3),
					   .aux = FRAME_VERSION };
			uint8_t head[FRAME_HDR_LEN];

			f.flags = (uint16_t)fuzz_get(&in, 1);
			f.endpoint = (uint32_t)fuzz_get(&in, 1);
			f.id = fuzz_get(&in, 1);
			f.client = f.id; /* a token, or the number of a connection that is to move */
			f.uid = f.gid = f.id % 2 ? 1000 : 0;
			memset(f.port.bytes, (int)fuzz_get(&in, 1), GW_PORT_LEN);
			if (!(op & 4))
				f.aux = fuzz_get(&in, 2);
			bytes = fuzz_bytes(&in, 4096, &len);
			f.length = (uint32_t)len;
			frame_encode(&f, head);
			(void)!send(ends[i], head, sizeof head, MSG_DONTWAIT | MSG_NOSIGNAL);
			(void)!send(ends[i], bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		}
		if (is_alive(conns[i]))
			on_event(&conns[i]->poll, 0, UV_READABLE | UV_WRITABLE);
		(void)uv_run(&d.loop, UV_RUN_NOWAIT);
		read_back(ends[i]);
	}
	stop();
	return 0;
}
