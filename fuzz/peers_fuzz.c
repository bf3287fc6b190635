/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealed datagrams. Two hosts and the wire between them, which belongs to the enemy: he may drop, repeat, reorder,
 * change and invent datagrams. Nothing that he changed or invented may come out as a packet, and nothing that is
 * authentic may come out twice.
 */
#include <arpa/inet.h>

#include "flip/flip.h"
#include "flip/peer_core.h"
#include "fuzz.h"

#define WIRE_MAX 32

struct datagram {
	unsigned from;
	size_t len;
	uint8_t bytes[PEER_DATAGRAM_MAX];
};

struct host {
	struct world *w;
	unsigned number;
	struct peers *peers;
	struct sockaddr_in addr;
	uint8_t seen[256]; /* authentic packets, by their first byte */
};

struct world {
	struct host host[2];
	struct datagram wire[WIRE_MAX]; /* a ring of what was sent last */
	unsigned n;
	uint8_t serial;
	uint64_t now_us;
};

static struct world world;

static void on_send(void *ctx, const struct sockaddr_in *to, const uint8_t *data, size_t len)
{
	struct host *h = ctx;
	struct datagram *d = &h->w->wire[h->w->n++ % WIRE_MAX];

	(void)to;
	if (len > sizeof d->bytes)
		abort();
	d->from = h->number;
	d->len = len;
	memcpy(d->bytes, data, len);
}

static void on_packet(void *ctx, uint32_t loc, bool broadcast, const uint8_t *packet, size_t len, uint64_t now_us)
{
	struct host *h = ctx;

	(void)now_us;
	if (broadcast)
		return;
	/* Every packet that is sent has a serial number of its own and says so five times. */
	if (loc != 1 || len != 5 || h->seen[packet[0]]++)
		abort();
	for (size_t i = 1; i < len; i++)
		if (packet[i] != packet[0])
			abort();
}

static void on_alive(void *ctx, uint32_t loc, bool alive, uint64_t now_us)
{
	(void)ctx;
	(void)loc;
	(void)alive;
	(void)now_us;
}

static void on_spread(void *ctx, const uint8_t *data, size_t len)
{
	on_send(ctx, NULL, data, len);
}

static const struct peer_ops ops = {
	.send = on_send, .spread = on_spread, .packet = on_packet, .alive = on_alive
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return 0;
}

static void start(struct world *w)
{
	struct peer_config c[2];

	memset(w, 0, sizeof *w);
	w->now_us = 1000000;
	for (unsigned i = 0; i < 2; i++) {
		peer_config_default(&c[i]);
		(void)snprintf(c[i].name, sizeof c[i].name, "h%u", i + 1);
		seal_pair_random(&c[i].own);
		memset(c[i].cluster, 7, sizeof c[i].cluster);
		c[i].forward = i;
		w->host[i] = (struct host) { .w = w,
					     .number = i,
					     .addr = { AF_INET, htons(3547), { htonl(0x0a000001 + i) }, { 0 } } };
		w->host[i].peers = peers_new(&c[i], &ops, &w->host[i], w->now_us);
	}
	for (unsigned i = 0; i < 2; i++) {
		peers_hosts_begin(w->host[i].peers);
		if (peers_hosts_add(w->host[i].peers, c[!i].name, c[!i].own.public) < 0)
			abort();
		peers_hosts_end(w->host[i].peers, w->now_us);
	}
}

static void send_packet(struct world *w, unsigned from, uint32_t loc)
{
	uint8_t packet[5];
	struct iovec iov = { packet, sizeof packet };

	if (w->serial == 255)
		return;
	memset(packet, ++w->serial, sizeof packet);
	peers_send(w->host[from].peers, loc, &iov, 1, w->now_us);
}

static void deliver(struct world *w, const struct datagram *d, unsigned to, size_t change, uint8_t by, size_t len)
{
	uint8_t bytes[PEER_DATAGRAM_MAX];

	len = MIN(len, d->len);
	memcpy(bytes, d->bytes, len);
	if (change < len)
		bytes[change] ^= by;
	peers_input(w->host[to].peers, &w->host[!to].addr, bytes, len, w->now_us);
}

static void invent(struct world *w, struct fuzz_in *in, unsigned to)
{
	uint8_t bytes[512];
	size_t len;
	const uint8_t *from = fuzz_bytes(in, sizeof bytes, &len);

	memcpy(bytes, from, len);
	peers_input(w->host[to].peers, &w->host[!to].addr, bytes, len, w->now_us);
}

/* What the other host sends under its session as if it came through it. */
static void invent_relayed(struct world *w, struct fuzz_in *in, unsigned to)
{
	struct peers *p = w->host[to].peers;
	uint8_t bytes[512];
	size_t len;
	const uint8_t *from = fuzz_bytes(in, sizeof bytes, &len);

	memcpy(bytes, from, len);
	if (len > 4 + PEER_ID_LEN && bytes[0] & 1)
		memcpy(bytes + 4, bytes[0] & 2 ? p->id : p->peers[1]->id, PEER_ID_LEN);
	box_input(p, p->peers[1], bytes, len, w->now_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, MIN(size, (size_t)2048) };
	struct world *w = &world;

	fuzz_seed = 1;
	start(w);
	while (in.left) {
		uint8_t op = (uint8_t)fuzz_get(&in, 1);
		const struct datagram *d = &w->wire[(w->n - 1 - (op >> 4)) % WIRE_MAX];

		switch (op % 8) {
		case 0:
			send_packet(w, op >> 4 & 1, op & 0x80 ? FLIP_LOC_ALL : 1);
			break;
		case 1:
		case 2:
			deliver(w, d, !d->from, SIZE_MAX, 0, SIZE_MAX);
			break;
		case 3:
			deliver(w, d, !d->from, fuzz_get(&in, 1), (uint8_t)fuzz_get(&in, 1) | 1, SIZE_MAX);
			break;
		case 4:
			deliver(w, d, op & 0x80 ? d->from : !d->from, SIZE_MAX, 0, fuzz_get(&in, 1));
			break;
		case 5:
			invent(w, &in, op >> 4 & 1);
			break;
		case 6:
			invent_relayed(w, &in, op >> 4 & 1);
			break;
		default:
			w->now_us += fuzz_get(&in, 1) << (op >> 4);
			for (unsigned i = 0; i < 2; i++)
				peers_work(w->host[i].peers, w->now_us);
		}
	}
	for (unsigned i = 0; i < 2; i++)
		peers_free(w->host[i].peers);
	return 0;
}
