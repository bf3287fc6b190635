/* SPDX-License-Identifier: Apache-2.0 */
/* What flipd tells about itself. */
#include "flipd/flipd.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

#include "base/util.h"
#include "base/wire.h"

#define HOST_LEN_MAX (2 + GW_HOST_MAX + 64 + 9)
#define COUNTER_LEN_MAX 96

static void put_string(struct wire_out *w, const char *s)
{
	size_t len = MIN(strlen(s), (size_t)255);

	wire_put_u8(w, len);
	wire_put_bytes(w, s, len);
}

static void put_host(struct wire_out *w, const char *name, const char *address, uint64_t ago_us, unsigned flags)
{
	put_string(w, name);
	put_string(w, address);
	wire_put_u64(w, ago_us);
	wire_put_u8(w, flags);
}

struct buf *report_hosts(struct flipd *d)
{
	uint32_t n = peers_count(d->peers);
	struct buf *b = buf_new((n + 1) * HOST_LEN_MAX);
	struct wire_out w = wire_out(b->data, b->len);
	uint64_t now = now_us();

	put_host(&w, d->name, d->address ? d->address : "", 0, FRAME_HOST_SELF | FRAME_HOST_ALIVE);
	for (uint32_t loc = 1; loc <= n; loc++) {
		char text[INET_ADDRSTRLEN] = "";
		struct peer_info info;

		if (!peers_info(d->peers, loc, &info) || !info.heard_us)
			continue;
		inet_ntop(AF_INET, &info.addr.sin_addr, text, sizeof(text));
		put_host(&w, info.name, text, now - info.heard_us, info.alive ? FRAME_HOST_ALIVE : 0);
	}
	b->len = w.len;
	return b;
}

struct row {
	const char *name;
	uint64_t value;
};

static struct buf *encode(const struct row *rows, size_t n)
{
	struct buf *b = buf_new(n * COUNTER_LEN_MAX);
	struct wire_out w = wire_out(b->data, b->len);

	for (size_t i = 0; i < n; i++) {
		put_string(&w, rows[i].name);
		wire_put_u64(&w, rows[i].value);
	}
	b->len = w.len;
	return b;
}

struct buf *report_counters(struct flipd *d)
{
	const struct flip_stats *f = flip_stats(rpc_flip(d->rpc));
	const struct rpc_stats *r = rpc_stats(d->rpc);
	const struct peer_stats *p = peers_stats(d->peers);
	const struct row rows[] = {
		{ "net_sent", d->net.sent },
		{ "net_received", d->net.received },
		{ "net_send_errors", d->net.send_errors },
		{ "seal_bad", p->bad },
		{ "seal_replayed", p->replayed },
		{ "seal_unknown", p->unknown },
		{ "seal_sessions", p->sessions },
		{ "seal_queue_drops", p->queue_drops },
		{ "port_lies", d->lies },
		{ "flip_in", f->in },
		{ "flip_out", f->out },
		{ "flip_bad", f->bad },
		{ "flip_dropped", f->dropped },
		{ "flip_delivered", f->delivered },
		{ "flip_nothere", f->nothere },
		{ "flip_busy", f->busy },
		{ "flip_locates", f->locates },
		{ "flip_announcements", f->announcements },
		{ "flip_routes_rejected", f->routes_rejected },
		{ "flip_fragments_resent", f->fragments_resent },
		{ "flip_messages_timed_out", f->messages_timed_out },
		{ "rpc_requests", r->requests },
		{ "rpc_replies", r->replies },
		{ "rpc_duplicates", r->duplicates },
		{ "rpc_retries", r->retries },
		{ "rpc_busy", r->busy },
		{ "rpc_failures", r->failures },
		{ "rpc_notfound", r->notfound },
		{ "rpc_full", r->full },
		{ "local_connections", d->local.n_conns },
		{ "local_accepted", d->local.accepted },
		{ "local_refused", d->local.refused },
		{ "local_over_quota", d->local.over_quota },
	};

	return encode(rows, ARRAY_LEN(rows));
}
