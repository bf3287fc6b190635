/* SPDX-License-Identifier: Apache-2.0 */
/* The communication state of a job that arrives: bytes of another host's procd. */
#include "fuzz.h"
#include "rpc/rpc.h"

static void on_transmit(void *ctx, uint32_t loc, const struct iovec *iov, int n)
{
	(void)ctx;
	(void)loc;
	(void)iov;
	(void)n;
}

static bool on_room(void *ctx, void *owner, size_t len)
{
	(void)ctx;
	(void)owner;
	(void)len;
	return true;
}

static void on_request(void *ctx, void *owner, uint32_t number, const struct rpc_request *r)
{
	(void)ctx;
	(void)owner;
	(void)number;
	(void)r;
}

static void on_reply(void *ctx, void *owner, uint32_t number, uint64_t cookie, int status,
		     const struct rpc_body *body)
{
	(void)ctx;
	(void)owner;
	(void)number;
	(void)cookie;
	(void)status;
	(void)body;
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char owner;
	struct fuzz_in in = { data, size };
	uint8_t how = (uint8_t)fuzz_get(&in, 1);
	struct rpc_bounds bounds = { .root = how & 1 }, all = { .root = true };
	struct rpc_ep *ep = NULL;
	struct buf *blob = NULL;
	struct rpc_config c;
	struct rpc *r;

	fuzz_seed = 3;
	rpc_config_default(&c);
	r = rpc_new(&c, &ops, NULL, 1);
	if (!rpc_ep_install(r, in.p, in.left, &bounds, &owner, 1, &ep)) {
		rpc_work(r, 1000);
		rpc_work(r, 100000000);
		/* What was taken in can go on to a third host. */
		if (how & 2 && !rpc_ep_take(r, ep, how & 4, &blob)) {
			struct rpc *next = rpc_new(&c, &ops, NULL, 1);

			if (rpc_ep_install(next, blob->data, blob->len, &all, &owner, 1, &ep))
				abort();
			rpc_free(next);
			buf_unref(blob);
		}
		rpc_work(r, 1000000000);
	}
	rpc_free(r);
	return 0;
}
