/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broadcasts, and how boxes spread them.
 *
 * Theory of operation. A box (peer_config.forward) repeats each broadcast that it hears on its other networks, put
 * whole into a broadcast of its own that says how many networks it has crossed. Whoever hears that knows two
 * things that belong together: the host is out there, and this box leads to it.
 *
 * What is repeated must not go round for ever. Every broadcast has a counter of its sender's, which was seen or
 * was not: the window against replays suppresses loops, and a second copy by another way, too. The number of
 * networks is bounded by what the sender allowed: a LOCATE begins with its own network.
 */
#include "flip/peer_core.h"

#include <string.h>

#include "base/util.h"
#include "base/wire.h"
#include "flip/flip.h"

static size_t seal_up(struct peers *p, uint8_t *d, uint8_t hops, uint8_t hops_max, const struct iovec *iov, int n)
{
	struct wire_out w = wire_out(d, PEER_DATAGRAM_MAX);
	uint8_t *nonce, *text;
	size_t len;

	wire_put_u8(&w, T_BROADCAST);
	wire_put_u8(&w, PEER_VERSION);
	wire_put_u8(&w, hops);
	wire_put_u8(&w, hops_max);
	wire_put_bytes(&w, p->id, PEER_ID_LEN);
	nonce = wire_room(&w, SEAL_NONCE_LEN);
	text = d + w.len;
	wire_put_bytes(&w, p->boot.public, SEAL_KEY_LEN);
	wire_put_u64(&w, ++p->broadcast_counter);
	len = BROADCAST_TEXT + peer_gather(d + w.len, iov, n);
	seal_close_random(p->config.cluster, nonce, d, BROADCAST_AD, text, len);
	return BROADCAST_HDR + len + SEAL_TAG_LEN;
}

void broadcast_send(struct peers *p, uint8_t hops_max, const struct iovec *iov, int n)
{
	uint8_t d[PEER_DATAGRAM_MAX];

	peer_out(p, NULL, d, seal_up(p, d, 0, hops_max, iov, n));
}

/* A box: to the networks that it did not come from. */
static void spread(struct peers *p, const struct path *from, const uint8_t *whole, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)whole, len };
	uint8_t d[PEER_DATAGRAM_MAX];

	p->stats.spread++;
	p->ops->spread(p->ctx, d, seal_up(p, d, from->hops, 0, &iov, 1));
}

static bool may_spread(const struct peers *p, const struct path *from, uint8_t hops_max, size_t len)
{
	return p->config.forward && p->ops->spread && from->hops < MIN(hops_max, PEER_HOPS_MAX) &&
	       BROADCAST_HDR + BROADCAST_TEXT + len + SEAL_TAG_LEN <= PEER_DATAGRAM_MAX;
}

/* A sign of life. It proves nothing: it can make us ask. */
static void noticed(struct peers *p, struct peer *peer, const uint8_t *boot, const struct path *from,
		    uint64_t now_us)
{
	if (!peer->have_session || memcmp(peer->session.peer_boot, boot, SEAL_KEY_LEN) != 0) {
		peer->hint = *from;
		peer_want_session(p, peer, now_us);
		return;
	}
	peer->heard_us = now_us;
	if (path_is_better(p, peer, from, now_us)) {
		peer->hint = *from;
		peer_send_data(p, peer, &peer->session, from, DATA_PING, NULL, 0, now_us);
	}
	if (!peer->alive)
		peer_want_session(p, peer, now_us);
}

/* Not seen before? A copy that comes by the way in use shows at least that this is open. */
static bool is_new(struct peers *p, struct peer *peer, const uint8_t *boot, uint64_t counter,
		   const struct path *from, uint64_t now_us)
{
	if (memcmp(peer->broadcast_boot, boot, SEAL_KEY_LEN) != 0) {
		memcpy(peer->broadcast_boot, boot, SEAL_KEY_LEN);
		peer->broadcasts = (struct replay) { 0 };
	}
	if (path_known(&peer->path) && peer->path.via == from->via)
		peer->path_us = now_us;
	if (!replay_test(&peer->broadcasts, counter)) {
		p->stats.replayed++;
		return false;
	}
	replay_mark(&peer->broadcasts, counter);
	return true;
}

/* What a box repeats: somebody else's broadcast, whole. Boxes do not repeat what they repeat, but that. */
static void unwrap(struct peers *p, uint32_t box, uint8_t hops, uint8_t *inner, size_t len, uint64_t now_us)
{
	struct path from = { .via = box, .hops = (uint8_t)(hops + 1) };

	if (hops > PEER_HOPS_MAX || len < 4 || inner[0] != T_BROADCAST || inner[1] != PEER_VERSION || inner[2]) {
		p->stats.bad++;
		return;
	}
	broadcast_input(p, &from, inner, len, now_us);
}

void broadcast_input(struct peers *p, const struct path *from, uint8_t *d, size_t len, uint64_t now_us)
{
	uint8_t boot[SEAL_KEY_LEN], whole[PEER_DATAGRAM_MAX], hops = d[2], hops_max = d[3];
	bool onward = may_spread(p, from, hops_max, len) && !hops;
	struct wire_in w;
	struct peer *peer;
	uint64_t counter;
	ssize_t n;

	if (len < BROADCAST_HDR + BROADCAST_TEXT + SEAL_TAG_LEN || !memcmp(d + 4, p->id, PEER_ID_LEN))
		return;
	peer = peer_by_id(p, d + 4);
	if (!peer) {
		p->stats.unknown++;
		return;
	}
	if (onward)
		memcpy(whole, d, len);
	n = seal_open_random(p->config.cluster, d + BROADCAST_AD, d, BROADCAST_AD, d + BROADCAST_HDR,
			     len - BROADCAST_HDR);
	if (n < 0) {
		p->stats.bad++;
		return;
	}
	w = wire_in(d + BROADCAST_HDR, (size_t)n);
	wire_get_bytes(&w, boot, sizeof(boot));
	counter = wire_get_u64(&w);
	if (w.bad || !is_new(p, peer, boot, counter, from, now_us))
		return;
	if (onward)
		spread(p, from, whole, len);
	noticed(p, peer, boot, from, now_us);
	if (hops)
		unwrap(p, peer->loc, hops, d + BROADCAST_HDR + BROADCAST_TEXT, w.left, now_us);
	else if (w.left)
		p->ops->packet(p->ctx, peer->loc, true, w.p, w.left, now_us);
}
