/* SPDX-License-Identifier: Apache-2.0 */
/* What flipd tells about itself. */
#include "flipd/conn.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/util.h"
#include "base/wire.h"

#define HOST_LEN_MAX (4 + 2 * GW_HOST_MAX + 64 + 9)
#define COUNTER_LEN_MAX 96

static void put_string(struct wire_out *w, const char *s)
{
	size_t len = MIN(strlen(s), (size_t)255);

	wire_put_u8(w, len);
	wire_put_bytes(w, s, len);
}

static void put_host(struct wire_out *w, const struct peer_info *info, const char *address, const char *via,
		     uint64_t ago_us, unsigned flags)
{
	put_string(w, info->name);
	put_string(w, address);
	wire_put_u64(w, ago_us);
	wire_put_u8(w, flags);
	wire_put_u8(w, info->hops);
	put_string(w, via);
}

struct buf *report_hosts(struct flipd *d)
{
	uint32_t n = peers_count(d->peers);
	struct buf *b = buf_new((n + 1) * HOST_LEN_MAX);
	struct wire_out w = wire_out(b->data, b->len);
	uint64_t now = now_us();

	put_host(&w, &(struct peer_info) { .name = d->name }, d->address ? d->address : "", "", 0,
		 FRAME_HOST_SELF | FRAME_HOST_ALIVE);
	for (uint32_t loc = 1; loc <= n; loc++) {
		char text[INET_ADDRSTRLEN] = "";
		struct peer_info info;

		if (!peers_info(d->peers, loc, &info) || !info.heard_us)
			continue;
		inet_ntop(AF_INET, &info.addr.sin_addr, text, sizeof(text));
		put_host(&w, &info, text, info.via ? peers_name(d->peers, info.via) : "", now - info.heard_us,
			 info.alive ? FRAME_HOST_ALIVE : 0);
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
	const struct raw_stats *w = raw_stats(d->raw);
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
		{ "box_spread", p->spread },
		{ "box_relayed", p->relayed },
		{ "box_no_way", p->no_way },
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
		{ "raw_sent", w->sent },
		{ "raw_received", w->received },
		{ "raw_again", w->again },
		{ "raw_failed", w->failed },
		{ "raw_full", w->full },
		{ "raw_strays", w->strays },
		{ "local_connections", d->local.n_conns },
		{ "local_accepted", d->local.accepted },
		{ "local_refused", d->local.refused },
		{ "local_over_quota", d->local.over_quota },
	};

	return encode(rows, ARRAY_LEN(rows));
}

/* --- the table --- */

#define ROW_LEN_MAX 128u

struct table {
	struct flipd *d;
	const struct conn *only;
	struct buf *b;
	struct wire_out w;
};

static void begin_row(struct table *t, enum frame_row kind)
{
	if (t->w.cap - t->w.len < ROW_LEN_MAX) {
		struct buf *more = buf_new(t->b->len * 2);

		memcpy(more->data, t->b->data, t->w.len);
		buf_unref(t->b);
		t->b = more;
		t->w.p = more->data;
		t->w.cap = more->len;
	}
	wire_put_u8(&t->w, kind);
}

/* Bytes for its program that the program has not read: in our queue, and in the socket's (SIOCOUTQ counts what the
 * other end of a stream has not read, and the kernel's bookkeeping with it). */
static uint32_t unread(const struct conn *c)
{
	int in_socket = 0;

	if (ioctl(c->fd, SIOCOUTQ, &in_socket) < 0)
		in_socket = 0;
	return (uint32_t)(c->out_bytes + (size_t)in_socket);
}

static bool is_hidden(const struct table *t, const struct conn *owner)
{
	return t->only && owner != t->only && (!owner || owner->uid != t->only->uid);
}

static void put_row(struct table *t, const struct rpc_ep_info *info, uint8_t flags)
{
	const struct conn *owner = info->owner;

	if (is_hidden(t, owner))
		return;
	begin_row(t, FRAME_ROW_ENDPOINT);
	wire_put_u64(&t->w, info->addr);
	wire_put_u32(&t->w, info->inc);
	wire_put_u32(&t->w, info->number);
	wire_put_u32(&t->w, owner ? owner->uid : UINT32_MAX);
	wire_put_u8(&t->w, flags | (info->busy ? FRAME_EP_BUSY : 0) | (info->ghost ? FRAME_EP_GHOST : 0));
	wire_put_u32(&t->w, info->held);
	wire_put_u32(&t->w, info->replied);
	wire_put_u32(&t->w, info->calling);
	wire_put_u32(&t->w, info->clients);
	wire_put_u32(&t->w, info->ports);
	wire_put_u32(&t->w, info->locating);
	wire_put_u32(&t->w, info->waiting);
	wire_put_u32(&t->w, info->sending);
	wire_put_u32(&t->w, owner ? unread(owner) : 0);
}

static void put_endpoint(void *ctx, const struct rpc_ep_info *info)
{
	put_row(ctx, info, 0);
}

static void put_raw_endpoint(void *ctx, const struct raw_ep_info *info)
{
	struct rpc_ep_info row = {
		.owner = info->owner,
		.number = info->number,
		.inc = info->inc,
		.addr = info->addr,
		.busy = info->busy,
		.ports = info->groups,
		.sending = info->under_way,
	};

	put_row(ctx, &row, FRAME_EP_RAW);
}

/* Whoever knows a port may use it, so they are nobody's but their owner's. */
static void put_port(void *ctx, const struct gw_port *put, flip_addr addr, const void *owner, bool here)
{
	const struct conn *c = owner;
	struct table *t = ctx;

	if (t->only && (!c || c->uid != t->only->uid))
		return;
	begin_row(t, FRAME_ROW_PORT);
	wire_put_bytes(&t->w, put->bytes, GW_PORT_LEN);
	wire_put_u64(&t->w, addr);
	wire_put_u8(&t->w, here);
}

static void put_route(void *ctx, flip_addr addr, uint32_t loc, uint32_t inc)
{
	struct table *t = ctx;

	begin_row(t, FRAME_ROW_ROUTE);
	wire_put_u64(&t->w, addr);
	wire_put_u32(&t->w, inc);
	put_string(&t->w, peers_name(t->d->peers, loc));
}

struct buf *report_table(struct flipd *d, const struct conn *only)
{
	struct table t = { .d = d, .only = only, .b = buf_new(64 * ROW_LEN_MAX) };

	t.w = wire_out(t.b->data, t.b->len);
	rpc_each_ep(d->rpc, put_endpoint, &t);
	raw_each_ep(d->raw, put_raw_endpoint, &t);
	rpc_each_port(d->rpc, put_port, &t);
	flip_each_route(rpc_flip(d->rpc), put_route, &t);
	t.b->len = t.w.len;
	return t.b;
}
