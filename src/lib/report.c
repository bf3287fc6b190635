/* SPDX-License-Identifier: Apache-2.0 */
/* What flipd tells about itself, read. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "base/wire.h"
#include "lib/call.h"
#include "lib/frame.h"

/* A string with its length in front; false if it does not fit. */
static bool get_string(struct wire_in *w, char *to, size_t size)
{
	size_t n = wire_get_u8(w);
	const uint8_t *p = wire_skip(w, n);

	if (!p || n >= size)
		return false;
	memcpy(to, p, n);
	to[n] = '\0';
	return true;
}

void call_answer_hosts(const struct call *call, int status, const uint8_t *p, size_t len)
{
	struct wire_in w = wire_in(p, len);
	struct gwc_host *hosts = NULL;
	size_t n = 0;

	while (w.left && !w.bad && !status) {
		struct gwc_host h = { 0 };
		uint8_t flags;

		if (!get_string(&w, h.name, sizeof(h.name)) || !get_string(&w, h.address, sizeof(h.address)))
			break;
		h.heard_us_ago = wire_get_u64(&w);
		flags = wire_get_u8(&w);
		h.self = flags & FRAME_HOST_SELF;
		h.alive = flags & FRAME_HOST_ALIVE;
		h.hops = wire_get_u8(&w);
		if (!get_string(&w, h.via, sizeof(h.via)))
			break;
		hosts = xrealloc(hosts, (n + 1) * sizeof(*hosts));
		hosts[n++] = h;
	}
	call->fn.hosts(call->arg, status, hosts, n);
	free(hosts);
}

void call_answer_counters(const struct call *call, int status, const uint8_t *p, size_t len)
{
	struct wire_in w = wire_in(p, len);
	struct gwc_counter *counters = NULL;
	char(*names)[64] = NULL;
	size_t n = 0;

	while (w.left && !w.bad && !status) {
		names = xrealloc(names, (n + 1) * sizeof(*names));
		if (!get_string(&w, names[n], sizeof(*names)))
			break;
		counters = xrealloc(counters, (n + 1) * sizeof(*counters));
		counters[n++].value = wire_get_u64(&w);
	}
	for (size_t i = 0; i < n; i++)
		counters[i].name = names[i];
	call->fn.counters(call->arg, status, counters, n);
	free(counters);
	free(names);
}

static bool get_row(struct wire_in *w, struct gwc_row *r)
{
	uint8_t flags;

	r->kind = (enum gwc_row_kind)wire_get_u8(w);
	switch (r->kind) {
	case GWC_ROW_ENDPOINT:
		r->address = wire_get_u64(w);
		r->incarnation = wire_get_u32(w);
		r->number = wire_get_u32(w);
		r->uid = wire_get_u32(w);
		flags = wire_get_u8(w);
		r->busy = flags & FRAME_EP_BUSY;
		r->ghost = flags & FRAME_EP_GHOST;
		r->raw = flags & FRAME_EP_RAW;
		r->held = wire_get_u32(w);
		r->replied = wire_get_u32(w);
		r->calling = wire_get_u32(w);
		r->clients = wire_get_u32(w);
		r->ports = wire_get_u32(w);
		r->locating = wire_get_u32(w);
		r->waiting = wire_get_u32(w);
		r->sending = wire_get_u32(w);
		r->unread = wire_get_u32(w);
		return !w->bad;
	case GWC_ROW_PORT:
		wire_get_bytes(w, r->port.bytes, GW_PORT_LEN);
		r->address = wire_get_u64(w);
		r->here = wire_get_u8(w);
		return !w->bad;
	case GWC_ROW_ROUTE:
		r->address = wire_get_u64(w);
		r->incarnation = wire_get_u32(w);
		return get_string(w, r->host, sizeof(r->host)) && !w->bad;
	default:
		return false;
	}
}

void call_answer_table(const struct call *call, int status, const uint8_t *p, size_t len)
{
	struct wire_in w = wire_in(p, len);
	struct gwc_row *rows = NULL;
	size_t n = 0, room = 0;

	while (w.left && !w.bad && !status) {
		struct gwc_row r = { 0 };

		if (!get_row(&w, &r))
			break;
		if (n == room)
			rows = xrealloc(rows, (room = room ? 2 * room : 64) * sizeof(*rows));
		rows[n++] = r;
	}
	call->fn.table(call->arg, status, rows, n);
	free(rows);
}
