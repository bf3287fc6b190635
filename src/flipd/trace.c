/* SPDX-License-Identifier: Apache-2.0 */
/* Who asked for it hears of every packet that leaves or arrives; whoever does not keep up hears how many he
 * missed. */
#include "flipd/conn.h"

#include <string.h>
#include <time.h>

#include "base/util.h"

/* FLIP's header, RPC's, and the user's. */
#define TRACE_BYTES (FLIP_HDR_LEN + RPC_HDR_LEN + RPC_USER_HDR_LEN)
#define BEHIND_BYTES (1u << 20)

void trace_packet(struct flipd *d, bool sent, uint32_t loc, const struct iovec *iov, int n)
{
	const char *host = loc == FLIP_LOC_ALL ? "" : peers_name(d->peers, loc);
	struct frame f = { .type = FRAME_TRACED, .flags = sent ? FRAME_F_SENT : 0, .id = (uint64_t)realtime_us() };
	uint8_t bytes[GW_HOST_MAX + TRACE_BYTES];
	size_t at = MIN(strlen(host), (size_t)GW_HOST_MAX - 1), end = at + TRACE_BYTES, total = 0;
	struct conn *c;

	memcpy(bytes, host, at);
	f.aux = at;
	for (int i = 0; i < n; i++) {
		size_t take = MIN(iov[i].iov_len, end - at);

		memcpy(bytes + at, iov[i].iov_base, take);
		at += take;
		total += iov[i].iov_len;
	}
	f.status = (int32_t)total;
	LIST_FOREACH (c, &d->local.conns, list) {
		struct rpc_body body = { .len = at };

		if (!c->tracing)
			continue;
		if (c->out_bytes > BEHIND_BYTES) {
			c->untraced++;
			continue;
		}
		f.uid = c->untraced;
		f.length = (uint32_t)at;
		c->untraced = 0;
		body.buf = buf_copy(bytes, at);
		conn_answer(c, &f, &body);
		buf_unref(body.buf);
	}
}
