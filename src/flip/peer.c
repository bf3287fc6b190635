/* SPDX-License-Identifier: Apache-2.0 */
#include "flip/peer_core.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "base/wire.h"
#include "flip/flip.h"

#define HELLO_LEN (4 + 2 * PEER_ID_LEN + 2 * SEAL_KEY_LEN + 4 + SEAL_TAG_LEN)
/* Packets that wait for a session. */
#define QUEUE_MAX 64u
#define HELLO_FIRST_US 100000u
#define HELLO_MAX_SHIFT 5u
#define HELLO_ANSWER_US 20000u

static void beacon_fire(struct timer *t, void *ctx, uint64_t now_us);
static void peer_fire(struct timer *t, void *ctx, uint64_t now_us);

void peer_config_default(struct peer_config *c)
{
	*c = (struct peer_config) { .beacon_us = 1000000, .dead_us = 8000000 };
}

static void id_of(uint8_t id[PEER_ID_LEN], const uint8_t public[SEAL_KEY_LEN])
{
	uint8_t hash[crypto_generichash_BYTES_MIN];

	crypto_generichash(hash, sizeof(hash), public, SEAL_KEY_LEN, NULL, 0);
	memcpy(id, hash, PEER_ID_LEN);
}

struct peers *peers_new(const struct peer_config *c, const struct peer_ops *ops, void *ctx, uint64_t now_us)
{
	struct peers *p = xcalloc(1, sizeof(*p));

	p->config = *c;
	p->ops = ops;
	p->ctx = ctx;
	seal_pair_random(&p->boot);
	id_of(p->id, c->own.public);
	p->beacon.fire = beacon_fire;
	timers_arm(&p->timers, &p->beacon, now_us);
	return p;
}

static void queue_clear(struct peer *peer)
{
	struct queued *q;

	while ((q = STAILQ_FIRST(&peer->queue))) {
		STAILQ_REMOVE_HEAD(&peer->queue, next);
		free(q);
	}
	peer->n_queued = 0;
}

void peers_free(struct peers *p)
{
	if (!p)
		return;
	for (uint32_t i = 1; i <= p->n; i++) {
		queue_clear(p->peers[i]);
		seal_session_done(&p->peers[i]->session);
		seal_session_done(&p->peers[i]->next);
		sodium_memzero(p->peers[i], sizeof(*p->peers[i]));
		free(p->peers[i]);
	}
	timers_done(&p->timers);
	sodium_memzero(p, sizeof(*p));
	free(p);
}

const struct peer_stats *peers_stats(const struct peers *p)
{
	return &p->stats;
}

void peers_hosts_begin(struct peers *p)
{
	for (uint32_t i = 1; i <= p->n; i++)
		p->peers[i]->listed = false;
}

int peers_hosts_add(struct peers *p, const char *name, const uint8_t public[SEAL_KEY_LEN])
{
	struct peer *peer;
	int err;

	if (strlen(name) >= GW_HOST_MAX)
		return -ENAMETOOLONG;
	if (!memcmp(public, p->config.own.public, SEAL_KEY_LEN))
		return 0;
	for (uint32_t i = 1; i <= p->n; i++) {
		peer = p->peers[i];
		if (!memcmp(peer->public, public, SEAL_KEY_LEN) && !strcmp(peer->name, name)) {
			peer->listed = true;
			peer->revoked = false;
			return 0;
		}
	}
	if (p->n == PEERS_MAX)
		return -ENOSPC;
	peer = xcalloc(1, sizeof(*peer));
	err = seal_hello_key(peer->hello_key, &p->config.own, public, p->config.cluster);
	if (err) {
		free(peer);
		return err;
	}
	strcpy(peer->name, name);
	memcpy(peer->public, public, SEAL_KEY_LEN);
	id_of(peer->id, public);
	peer->listed = true;
	peer->timer.fire = peer_fire;
	STAILQ_INIT(&peer->queue);
	peer->loc = ++p->n;
	p->peers[p->n] = peer;
	return 0;
}

static void set_alive(struct peers *p, struct peer *peer, bool alive, uint64_t now_us)
{
	if (peer->alive == alive)
		return;
	peer->alive = alive;
	p->ops->alive(p->ctx, peer->loc, alive, now_us);
}

void peers_hosts_end(struct peers *p, uint64_t now_us)
{
	for (uint32_t i = 1; i <= p->n; i++) {
		struct peer *peer = p->peers[i];

		if (peer->listed)
			continue;
		peer->revoked = true;
		peer->have_session = peer->have_next = false;
		seal_session_done(&peer->session);
		seal_session_done(&peer->next);
		timers_disarm(&p->timers, &peer->timer);
		queue_clear(peer);
		set_alive(p, peer, false, now_us);
	}
}

struct peer *peer_by_id(struct peers *p, const uint8_t *id)
{
	for (uint32_t i = 1; i <= p->n; i++) {
		if (!p->peers[i]->revoked && !memcmp(p->peers[i]->id, id, PEER_ID_LEN))
			return p->peers[i];
	}
	return NULL;
}

void peer_out(struct peers *p, const struct sockaddr_in *to, const uint8_t *data, size_t len)
{
	p->stats.out++;
	p->ops->send(p->ctx, to, data, len);
}

size_t peer_gather(uint8_t *to, const struct iovec *iov, int n)
{
	size_t len = 0;

	for (int i = 0; i < n; i++) {
		memcpy(to + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	return len;
}

void peer_send_data(struct peers *p, const struct peer *peer, struct seal_session *s, const struct path *to,
		    uint8_t flags, const struct iovec *iov, int n, uint64_t now_us)
{
	uint8_t d[PEER_DATAGRAM_MAX];
	struct wire_out w = wire_out(d, sizeof(d));
	size_t len;

	wire_put_u8(&w, T_DATA);
	wire_put_u8(&w, PEER_VERSION);
	wire_put_u8(&w, flags);
	wire_put_u8(&w, 0);
	wire_put_u32(&w, s->index);
	wire_put_u64(&w, ++s->sent);
	len = peer_gather(d + PEER_DATA_HDR, iov, n);
	seal_close(&s->tx, s->sent, d, PEER_DATA_HDR, d + PEER_DATA_HDR, len);
	path_send(p, peer, to, d, PEER_DATA_HDR + len + SEAL_TAG_LEN, now_us);
}

static void hello_tag(const struct peer *peer, uint8_t tag[SEAL_TAG_LEN], const uint8_t *d)
{
	crypto_generichash(tag, SEAL_TAG_LEN, d, HELLO_LEN - SEAL_TAG_LEN, peer->hello_key, SEAL_KEY_LEN);
}

static void send_hello(struct peers *p, struct peer *peer, const uint8_t echo[SEAL_KEY_LEN], uint64_t now_us)
{
	static const uint8_t none[SEAL_KEY_LEN];
	const struct path *to = path_known(&peer->hint) ? &peer->hint : &peer->path;
	uint8_t d[HELLO_LEN];
	struct wire_out w = wire_out(d, sizeof(d));

	if (!path_known(to))
		return;
	wire_put_u8(&w, T_HELLO);
	wire_put_u8(&w, PEER_VERSION);
	wire_put_u16(&w, seal_ciphers());
	wire_put_bytes(&w, p->id, PEER_ID_LEN);
	wire_put_bytes(&w, peer->id, PEER_ID_LEN);
	wire_put_bytes(&w, p->boot.public, SEAL_KEY_LEN);
	wire_put_bytes(&w, echo ? echo : none, SEAL_KEY_LEN);
	wire_put_u32(&w, peer->loc);
	hello_tag(peer, d + w.len, d);
	p->stats.hellos_out++;
	path_send(p, peer, to, d, sizeof(d), now_us);
}

void peer_want_session(struct peers *p, struct peer *peer, uint64_t now_us)
{
	if (peer->hellos && timer_armed(&peer->timer))
		return;
	peer->hellos = 1;
	send_hello(p, peer, NULL, now_us);
	timers_arm(&p->timers, &peer->timer, now_us + HELLO_FIRST_US);
}

static void peer_fire(struct timer *t, void *ctx, uint64_t now_us)
{
	struct peer *peer = container_of(t, struct peer, timer);
	uint64_t silent_us = now_us - peer->heard_us;
	struct peers *p = ctx;

	if (peer->alive && silent_us >= p->config.dead_us)
		set_alive(p, peer, false, now_us);
	if (peer->hellos) {
		/* Only for somebody who is expected, or while packets wait. */
		if (!peer->alive && peer->hellos > HELLO_MAX_SHIFT) {
			queue_clear(peer);
			peer->hellos = 0;
			return;
		}
		send_hello(p, peer, NULL, now_us);
		timers_arm(&p->timers, t, now_us + (HELLO_FIRST_US << MIN(peer->hellos, HELLO_MAX_SHIFT)));
		peer->hellos++;
		return;
	}
	if (!peer->alive || !peer->have_session)
		return;
	if (silent_us >= p->config.dead_us / 2)
		peer_send_data(p, peer, &peer->session, &peer->path, DATA_PING, NULL, 0, now_us);
	timers_arm(&p->timers, t, now_us + p->config.dead_us / 8);
}

static void beacon_fire(struct timer *t, void *ctx, uint64_t now_us)
{
	struct peers *p = ctx;

	broadcast_send(p, PEER_HOPS_MAX, NULL, 0);
	timers_arm(&p->timers, t, now_us + p->config.beacon_us);
}

static void enqueue(struct peers *p, struct peer *peer, const struct iovec *iov, int n)
{
	size_t len = 0;
	struct queued *q;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	if (peer->n_queued >= QUEUE_MAX) {
		q = STAILQ_FIRST(&peer->queue);
		STAILQ_REMOVE_HEAD(&peer->queue, next);
		free(q);
		peer->n_queued--;
		p->stats.queue_drops++;
	}
	q = xmalloc(sizeof(*q) + len);
	q->len = peer_gather(q->data, iov, n);
	STAILQ_INSERT_TAIL(&peer->queue, q, next);
	peer->n_queued++;
}

void peers_send(struct peers *p, uint32_t loc, const struct iovec *iov, int n, uint64_t now_us)
{
	struct peer *peer;

	if (loc == FLIP_LOC_ALL) {
		struct flip_hdr h = { .hops_max = 1 };

		(void)!flip_hdr_peek(&h, iov[0].iov_base, iov[0].iov_len);
		broadcast_send(p, h.hops_max, iov, n);
		return;
	}
	if (!loc || loc > p->n || p->peers[loc]->revoked)
		return;
	peer = p->peers[loc];
	if (peer->have_session) {
		peer_send_data(p, peer, &peer->session, &peer->path, 0, iov, n, now_us);
		return;
	}
	enqueue(p, peer, iov, n);
	peer_want_session(p, peer, now_us);
}

/* The peer has proved that it lives in the boot of this session. */
static void heard(struct peers *p, struct peer *peer, const struct path *from, uint64_t now_us)
{
	struct queued *q;

	peer->heard_us = now_us;
	path_take(p, peer, from, now_us);
	if (!peer->alive || peer->hellos) {
		peer->hellos = 0;
		timers_arm(&p->timers, &peer->timer, now_us + p->config.dead_us / 8);
	}
	set_alive(p, peer, true, now_us);
	while ((q = STAILQ_FIRST(&peer->queue))) {
		struct iovec iov = { q->data, q->len };

		STAILQ_REMOVE_HEAD(&peer->queue, next);
		peer->n_queued--;
		peer_send_data(p, peer, &peer->session, &peer->path, 0, &iov, 1, now_us);
		free(q);
	}
}

/* Opens in place. */
static ssize_t open_with(struct peers *p, struct seal_session *s, uint8_t *d, size_t len, uint64_t counter)
{
	ssize_t n;

	if (!replay_test(&s->replay, counter)) {
		p->stats.replayed++;
		return -EALREADY;
	}
	n = seal_open(&s->rx, counter, d, PEER_DATA_HDR, d + PEER_DATA_HDR, len - PEER_DATA_HDR,
		      d + PEER_DATA_HDR);
	if (n >= 0)
		replay_mark(&s->replay, counter);
	return n;
}

/* Is it sealed under this session? Leaves the datagram as it is. */
static bool opens(struct seal_session *s, const uint8_t *d, size_t len, uint64_t counter)
{
	uint8_t scratch[PEER_DATAGRAM_MAX];

	return seal_open(&s->rx, counter, d, PEER_DATA_HDR, d + PEER_DATA_HDR, len - PEER_DATA_HDR, scratch) >= 0;
}

static void on_data(struct peers *p, const struct path *from, uint8_t *d, size_t len, uint64_t now_us)
{
	struct wire_in w = wire_in(d, len);
	uint8_t flags;
	uint32_t index;
	uint64_t counter;
	struct seal_session *s;
	struct peer *peer;
	ssize_t n = -EBADMSG;

	(void)wire_skip(&w, 2);
	flags = wire_get_u8(&w);
	(void)wire_skip(&w, 1);
	index = wire_get_u32(&w);
	counter = wire_get_u64(&w);
	if (w.bad || !index || index > p->n || p->peers[index]->revoked) {
		p->stats.unknown++;
		return;
	}
	peer = p->peers[index];
	s = &peer->session;
	if (peer->have_next && !(peer->have_session && opens(s, d, len, counter)) &&
	    opens(&peer->next, d, len, counter)) {
		seal_session_done(s);
		*s = peer->next;
		peer->next = (struct seal_session) { 0 };
		peer->have_session = true;
		peer->have_next = false;
		p->stats.sessions++;
		/* The other side may still be waiting for the proof. */
		peer_send_data(p, peer, s, from, 0, NULL, 0, now_us);
	}
	if (peer->have_session)
		n = open_with(p, s, d, len, counter);
	if (n < 0) {
		p->stats.bad++;
		return;
	}
	heard(p, peer, from, now_us);
	/* By the way it came: whether that is open is the question. */
	if (flags & DATA_PING)
		peer_send_data(p, peer, &peer->session, from, 0, NULL, 0, now_us);
	if (flags & DATA_RELAY && !from->via)
		box_input(p, peer, d + PEER_DATA_HDR, (size_t)n, now_us);
	else if (n && !(flags & DATA_RELAY))
		p->ops->packet(p->ctx, peer->loc, false, d + PEER_DATA_HDR, (size_t)n, now_us);
}

static void on_hello(struct peers *p, const struct path *from, const uint8_t *d, size_t len, uint64_t now_us)
{
	uint8_t boot[SEAL_KEY_LEN], echo[SEAL_KEY_LEN], tag[SEAL_TAG_LEN];
	struct wire_in w = wire_in(d, len);
	const uint8_t *from_id, *to_id;
	struct peer *peer;
	unsigned ciphers;
	uint32_t index;
	bool knows_me;

	(void)wire_skip(&w, 2);
	ciphers = wire_get_u16(&w);
	from_id = wire_skip(&w, PEER_ID_LEN);
	to_id = wire_skip(&w, PEER_ID_LEN);
	wire_get_bytes(&w, boot, sizeof(boot));
	wire_get_bytes(&w, echo, sizeof(echo));
	index = wire_get_u32(&w);
	if (w.bad || len != HELLO_LEN || memcmp(to_id, p->id, PEER_ID_LEN) != 0 ||
	    !(peer = peer_by_id(p, from_id))) {
		p->stats.unknown++;
		return;
	}
	hello_tag(peer, tag, d);
	if (sodium_memcmp(tag, d + HELLO_LEN - SEAL_TAG_LEN, SEAL_TAG_LEN) != 0) {
		p->stats.bad++;
		return;
	}
	p->stats.hellos_in++;
	knows_me = !memcmp(echo, p->boot.public, sizeof(echo));
	if (!(peer->have_session && !memcmp(peer->session.peer_boot, boot, sizeof(boot))) &&
	    !(peer->have_next && !memcmp(peer->next.peer_boot, boot, sizeof(boot)))) {
		peer->have_next = false;
		seal_session_done(&peer->next);
		if (seal_session_derive(&peer->next, &p->config.own, &p->boot, peer->public, boot,
					p->config.cluster, ciphers & seal_ciphers()) < 0)
			return;
		peer->next.index = index;
		peer->have_next = true;
	}
	peer->hint = *from;
	if (knows_me) {
		struct seal_session *s = peer->have_next ? &peer->next : &peer->session;

		peer_send_data(p, peer, s, from, DATA_PING, NULL, 0, now_us);
		return;
	}
	/* Whoever repeats recorded HELLOs gets few answers. */
	if (now_us - peer->answered_us < HELLO_ANSWER_US && peer->answered_us)
		return;
	peer->answered_us = now_us;
	send_hello(p, peer, boot, now_us);
}

void peer_datagram(struct peers *p, const struct path *from, uint8_t *data, size_t len, uint64_t now_us)
{
	if (len < 4 || len > PEER_DATAGRAM_MAX || data[1] != PEER_VERSION) {
		p->stats.bad++;
		return;
	}
	switch (data[0]) {
	case T_BROADCAST:
		broadcast_input(p, from, data, len, now_us);
		break;
	case T_HELLO:
		on_hello(p, from, data, len, now_us);
		break;
	case T_DATA:
		on_data(p, from, data, len, now_us);
		break;
	default:
		p->stats.bad++;
		break;
	}
}

void peers_input(struct peers *p, const struct sockaddr_in *from, uint8_t *data, size_t len, uint64_t now_us)
{
	struct path path = { .addr = *from, .hops = 1 };

	p->stats.in++;
	peer_datagram(p, &path, data, len, now_us);
}

void peers_work(struct peers *p, uint64_t now_us)
{
	timers_run(&p->timers, p, now_us);
}

uint64_t peers_next(const struct peers *p)
{
	return timers_next(&p->timers);
}

const char *peers_name(const struct peers *p, uint32_t loc)
{
	if (loc == FLIP_LOC_HERE)
		return p->config.name;
	return loc <= p->n ? p->peers[loc]->name : "";
}

uint32_t peers_count(const struct peers *p)
{
	return p->n;
}

bool peers_info(const struct peers *p, uint32_t loc, struct peer_info *ret)
{
	const struct path *path;
	const struct peer *peer;

	if (!loc || loc > p->n || p->peers[loc]->revoked)
		return false;
	peer = p->peers[loc];
	path = path_known(&peer->path) ? &peer->path : &peer->hint;
	*ret = (struct peer_info) {
		.name = peer->name,
		.addr = path->via ? p->peers[path->via]->path.addr : path->addr,
		.via = path->via,
		.hops = path->hops,
		.heard_us = peer->heard_us,
		.alive = peer->alive,
	};
	return true;
}
