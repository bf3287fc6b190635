/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways to hosts on other networks.
 *
 * Theory of operation. A datagram for a host that a box leads to is sealed for that host like any other, and then
 * travels inside a DATA for the box: the box sees where it is to go and nothing else, and takes it from hosts of
 * the cluster only. It passes it on likewise, to the host itself or to the next box.
 *
 * A way is learned from broadcasts (broadcast.c) as a hint, and used when something sealed has come that way. It
 * is kept while anything comes that way, so that two boxes between the same networks do not take turns, and left
 * for a shorter one, or for any other when it has fallen silent or its box is gone.
 */
#include "flip/peer_core.h"

#include <string.h>

#include "base/util.h"

/* hops (1): boxes passed  zero (3)  key id of the receiver (8) */
#define RELAY_HDR 12u

_Static_assert(PEER_RELAY_LEN == RELAY_HDR + PEER_DATA_HDR + SEAL_TAG_LEN, "as the header says");

bool path_known(const struct path *path)
{
	return path->via || path->addr.sin_port;
}

static bool goes_on(struct peers *p, const struct path *next, const struct iovec *iov, int n, uint64_t now_us)
{
	struct peer *box = p->peers[next->via];

	if (box->revoked)
		return false;
	/* Whoever leads on is on one of our networks; if not any more, better ways will be heard of. */
	if (!box->have_session || box->path.via) {
		peer_want_session(p, box, now_us);
		return false;
	}
	peer_send_data(p, box, &box->session, &box->path, DATA_RELAY, iov, n, now_us);
	return true;
}

void path_send(struct peers *p, const struct peer *peer, const struct path *path, const uint8_t *data, size_t len,
	       uint64_t now_us)
{
	uint8_t head[RELAY_HDR] = { 0 };
	struct iovec iov[2] = { { head, sizeof(head) }, { (void *)(uintptr_t)data, len } };

	if (!path->via) {
		peer_out(p, &path->addr, data, len);
		return;
	}
	memcpy(head + 4, peer->id, PEER_ID_LEN);
	if (len + PEER_RELAY_LEN > PEER_DATAGRAM_MAX || !goes_on(p, path, iov, 2, now_us))
		p->stats.no_way++;
}

bool path_is_better(const struct peers *p, const struct peer *peer, const struct path *from, uint64_t now_us)
{
	const struct path *path = &peer->path;

	if (path_known(path) && path->via == from->via)
		return false;
	return !path_known(path) || from->hops < path->hops ||
	       now_us - peer->path_us > 5 * p->config.beacon_us / 2 || (path->via && !p->peers[path->via]->alive);
}

void path_take(struct peers *p, struct peer *peer, const struct path *from, uint64_t now_us)
{
	bool same = path_known(&peer->path) && peer->path.via == from->via;
	uint8_t hops = peer->path.hops;

	if (!same && !path_is_better(p, peer, from, now_us))
		return;
	peer->path = *from;
	peer->path_us = now_us;
	if (hops != from->hops && p->ops->distance)
		p->ops->distance(p->ctx, peer->loc, from->hops);
}

/* We are the box. */
static void relay(struct peers *p, const struct peer *from, uint8_t *data, size_t len, uint64_t now_us)
{
	struct peer *to = peer_by_id(p, data + 4);
	struct iovec iov = { data, len };
	struct path next;

	if (!p->config.forward || !to || to == from || !path_known(&to->path) || to->path.via == from->loc ||
	    data[0] >= PEER_HOPS_MAX) {
		p->stats.no_way++;
		return;
	}
	data[0]++;
	next = to->path;
	next.via = next.via ? next.via : to->loc;
	if (goes_on(p, &next, &iov, 1, now_us))
		p->stats.relayed++;
	else
		p->stats.no_way++;
}

void box_input(struct peers *p, struct peer *box, uint8_t *data, size_t len, uint64_t now_us)
{
	struct path from = { .via = box->loc };

	if (len < RELAY_HDR + 4 || data[0] > PEER_HOPS_MAX || data[RELAY_HDR] == T_BROADCAST) {
		p->stats.bad++;
		return;
	}
	if (memcmp(data + 4, p->id, PEER_ID_LEN) != 0) {
		relay(p, box, data, len, now_us);
		return;
	}
	from.hops = (uint8_t)(MAX(data[0], 1) + 1);
	peer_datagram(p, &from, data + RELAY_HDR, len - RELAY_HDR, now_us);
}
