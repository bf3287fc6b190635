/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts on several networks, and the boxes between them, on a clock of the test's. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/util.h"
#include "flip/flip.h"
#include "flip/peer.h"

#define HOSTS 6
#define MS 1000u
#define SECOND 1000000u

/* A host is on the networks whose bits are set; its address on network n is n.HOST. */
struct host {
	struct world *w;
	struct peers *peers;
	struct peer_config config;
	unsigned nets, from_net;
	bool off;
	uint8_t distance[HOSTS + 1];
	size_t packets[HOSTS + 1], broadcasts[HOSTS + 1]; /* by location */
};

struct datagram {
	struct datagram *next;
	unsigned from, to, net;
	size_t len;
	uint8_t data[];
};

struct world {
	unsigned n;
	uint64_t now;
	struct host host[HOSTS];
	struct datagram *first, **last;
	size_t sent, peak; /* datagrams; and most in one step */
};

static struct sockaddr_in address(unsigned host, unsigned net)
{
	return (struct sockaddr_in) { .sin_family = AF_INET,
				      .sin_port = htons(3547),
				      .sin_addr.s_addr = htonl(10u << 24 | net << 8 | (host + 1)) };
}

static void post(struct host *h, unsigned to, unsigned net, const uint8_t *data, size_t len)
{
	struct world *w = h->w;
	struct datagram *d = malloc(sizeof(*d) + len);

	*d = (struct datagram) { .from = (unsigned)(h - w->host), .to = to, .net = net, .len = len };
	memcpy(d->data, data, len);
	*w->last = d;
	w->last = &d->next;
	w->sent++;
}

/* To all hosts on those networks. */
static void flood(struct host *h, unsigned nets, const uint8_t *data, size_t len)
{
	for (unsigned net = 0; net < 4; net++) {
		for (unsigned to = 0; to < h->w->n && nets >> net & 1; to++) {
			if (&h->w->host[to] != h && h->w->host[to].nets >> net & 1)
				post(h, to, net, data, len);
		}
	}
}

static void on_send(void *ctx, const struct sockaddr_in *to, const uint8_t *data, size_t len)
{
	struct host *h = ctx;
	unsigned net, host;

	if (!to) {
		flood(h, h->nets, data, len);
		return;
	}
	net = ntohl(to->sin_addr.s_addr) >> 8 & 255;
	host = (ntohl(to->sin_addr.s_addr) & 255) - 1;
	assert_true(host < h->w->n);
	/* There is no way between networks but the boxes. */
	assert_true(h->nets >> net & 1 && h->w->host[host].nets >> net & 1);
	post(h, host, net, data, len);
}

static void on_spread(void *ctx, const uint8_t *data, size_t len)
{
	struct host *h = ctx;

	flood(h, h->nets & ~(1u << h->from_net), data, len);
}

static void on_packet(void *ctx, uint32_t loc, bool broadcast, const uint8_t *packet, size_t len, uint64_t t)
{
	struct host *h = ctx;

	(void)packet;
	(void)len;
	(void)t;
	h->packets[loc] += !broadcast;
	h->broadcasts[loc] += broadcast;
}

static void on_alive(void *ctx, uint32_t loc, bool alive, uint64_t t)
{
	(void)ctx;
	(void)loc;
	(void)alive;
	(void)t;
}

static void on_distance(void *ctx, uint32_t loc, uint8_t hops)
{
	struct host *h = ctx;

	h->distance[loc] = hops;
}

static const struct peer_ops ops = {
	.send = on_send,
	.spread = on_spread,
	.packet = on_packet,
	.alive = on_alive,
	.distance = on_distance,
};

static void arrive(struct world *w, struct datagram *d)
{
	struct sockaddr_in from = address(d->from, d->net);
	struct host *h = &w->host[d->to];

	if (h->off || w->host[d->from].off)
		return;
	h->from_net = d->net;
	peers_input(h->peers, &from, d->data, d->len, w->now);
}

/* Time passes, in steps of a millisecond; what is sent in one arrives in it. */
static void pass(struct world *w, uint64_t us)
{
	for (uint64_t end = w->now + us; w->now < end; w->now += MS) {
		size_t before = w->sent;

		for (unsigned i = 0; i < w->n; i++) {
			if (!w->host[i].off)
				peers_work(w->host[i].peers, w->now);
		}
		for (struct datagram *d; (d = w->first);) {
			w->first = d->next;
			if (!w->first)
				w->last = &w->first;
			arrive(w, d);
			free(d);
		}
		w->peak = MAX(w->peak, w->sent - before);
	}
}

/* The hosts file of one host, without host `struck` (w->n: with all). */
static void list_hosts(struct world *w, struct host *h, unsigned struck)
{
	peers_hosts_begin(h->peers);
	for (unsigned i = 0; i < w->n; i++) {
		const struct peer_config *c = &w->host[i].config;

		if (i != struck)
			assert_int_equal(peers_hosts_add(h->peers, c->name, c->own.public), 0);
	}
	peers_hosts_end(h->peers, w->now);
}

/* Hosts with these networks; those whose names are in `boxes` ("bc") forward. Location i of each is the i-th of
 * the others. */
static struct world *begin(unsigned n, const unsigned *nets, const char *boxes)
{
	struct world *w = calloc(1, sizeof(*w));

	w->n = n;
	w->now = SECOND;
	w->last = &w->first;
	for (unsigned i = 0; i < n; i++) {
		struct host *h = &w->host[i];

		h->w = w;
		h->nets = nets[i];
		peer_config_default(&h->config);
		(void)snprintf(h->config.name, sizeof(h->config.name), "%c", 'a' + (int)i);
		h->config.forward = strchr(boxes, 'a' + (int)i);
		seal_pair_random(&h->config.own);
		memset(h->config.cluster, 0x42, SEAL_KEY_LEN);
	}
	for (unsigned i = 0; i < n; i++) {
		struct host *h = &w->host[i];

		h->peers = peers_new(&h->config, &ops, h, w->now);
		list_hosts(w, h, n);
	}
	return w;
}

static void end(struct world *w)
{
	for (struct datagram *d; (d = w->first); free(d))
		w->first = d->next;
	for (unsigned i = 0; i < w->n; i++)
		peers_free(w->host[i].peers);
	free(w);
}

/* The location that a host is to another. */
static uint32_t loc_of(unsigned at, unsigned other)
{
	assert_int_not_equal(at, other);
	return other < at ? other + 1 : other;
}

static struct peer_info info_of(struct world *w, unsigned at, unsigned other)
{
	struct peer_info info;

	assert_true(peers_info(w->host[at].peers, loc_of(at, other), &info));
	return info;
}

static const char *via(struct world *w, unsigned at, unsigned other)
{
	struct peer_info info = info_of(w, at, other);

	return info.via ? peers_name(w->host[at].peers, info.via) : "";
}

/* Sends a packet and says whether it arrived. */
static bool reaches(struct world *w, unsigned from, unsigned to)
{
	size_t *got = &w->host[to].packets[loc_of(to, from)], before = *got;
	uint8_t text[FLIP_FRAG] = { 1 };
	struct iovec iov = { text, sizeof(text) };

	peers_send(w->host[from].peers, loc_of(from, to), &iov, 1, w->now);
	pass(w, 5 * MS);
	return *got == before + 1;
}

static size_t broadcasts(struct world *w, unsigned from, unsigned to, uint8_t hops_max)
{
	size_t *got = &w->host[to].broadcasts[loc_of(to, from)], before = *got;
	struct flip_hdr h = { .type = FLIP_LOCATE, .hops_max = hops_max, .frag = FLIP_FRAG, .src = 1, .dst = 2 };
	uint8_t packet[FLIP_HDR_LEN];
	struct iovec iov = { packet, sizeof(packet) };

	flip_hdr_encode(&h, packet);
	peers_send(w->host[from].peers, FLIP_LOC_ALL, &iov, 1, w->now);
	pass(w, 5 * MS);
	return *got - before;
}

enum { A, B, C, D, E, F };

static void a_box_leads_to_the_other_network(void **state)
{
	static const unsigned nets[] = { 1, 3, 2 };
	struct world *w = begin(3, nets, "b");

	(void)state;
	pass(w, 3 * SECOND);
	assert_string_equal(via(w, A, C), "b");
	assert_string_equal(via(w, C, A), "b");
	assert_string_equal(via(w, A, B), "");
	assert_true(info_of(w, A, C).alive && info_of(w, C, A).alive);
	assert_int_equal(w->host[A].distance[loc_of(A, C)], 2);
	assert_int_equal(w->host[A].distance[loc_of(A, B)], 1);
	assert_true(reaches(w, A, C) && reaches(w, C, A) && reaches(w, A, B));
	/* What the box carried it could not take for its own. */
	assert_int_equal(w->host[B].packets[loc_of(B, C)], 0);
	assert_true(peers_stats(w->host[B].peers)->relayed > 1);
	end(w);
}

static void only_boxes_forward(void **state)
{
	static const unsigned nets[] = { 1, 3, 2 };
	struct world *w = begin(3, nets, "");

	(void)state;
	pass(w, 3 * SECOND);
	assert_false(info_of(w, A, C).alive || info_of(w, C, A).alive);
	assert_true(info_of(w, B, C).alive);
	assert_int_equal(peers_stats(w->host[B].peers)->spread, 0);
	assert_false(reaches(w, A, C));
	end(w);
}

static void a_question_goes_as_far_as_it_may(void **state)
{
	static const unsigned nets[] = { 1, 3, 6, 4 };
	struct world *w = begin(4, nets, "bc");

	(void)state;
	pass(w, 3 * SECOND);
	assert_int_equal(w->host[A].distance[loc_of(A, D)], 3);
	assert_string_equal(via(w, A, D), "b");
	assert_true(reaches(w, A, D) && reaches(w, D, A));
	assert_int_equal(broadcasts(w, A, B, 1), 1);
	assert_int_equal(broadcasts(w, A, C, 1), 0);
	assert_int_equal(broadcasts(w, A, C, 2), 1);
	assert_int_equal(broadcasts(w, A, D, 2), 0);
	assert_int_equal(broadcasts(w, A, D, 3), 1);
	end(w);
}

/* Two boxes between the same networks, and a ring of three: each question arrives once. */
static void nothing_goes_round(void **state)
{
	static const unsigned pair[] = { 1, 3, 3, 2 }, ring[] = { 1, 3, 6, 5, 2, 4 };
	struct world *w = begin(4, pair, "bc");

	(void)state;
	pass(w, 3 * SECOND);
	assert_int_equal(broadcasts(w, A, D, 25), 1);
	assert_int_equal(broadcasts(w, A, B, 25), 1);
	assert_true(w->peak < 100);
	end(w);
	w = begin(6, ring, "bcd");
	pass(w, 3 * SECOND);
	for (unsigned i = B; i <= F; i++) {
		assert_int_equal(broadcasts(w, A, i, 25), 1);
		assert_true(reaches(w, A, i) && reaches(w, i, A));
	}
	assert_true(w->peak < 200);
	end(w);
}

static void another_box_takes_over(void **state)
{
	static const unsigned nets[] = { 1, 3, 3, 2 };
	struct world *w = begin(4, nets, "bc");
	unsigned box, other;

	(void)state;
	pass(w, 3 * SECOND);
	box = *via(w, A, D) == 'b' ? B : C;
	other = box == B ? C : B;
	/* Both are there: the way stays. */
	for (int i = 0; i < 50; i++) {
		assert_true(reaches(w, A, D) && reaches(w, D, A));
		pass(w, 200 * MS);
		assert_int_equal(*via(w, A, D), 'a' + (int)box);
	}
	w->host[box].off = true;
	pass(w, 4 * SECOND);
	assert_int_equal(*via(w, A, D), 'a' + (int)other);
	assert_int_equal(*via(w, D, A), 'a' + (int)other);
	assert_true(reaches(w, A, D) && reaches(w, D, A));
	assert_true(info_of(w, A, D).alive && info_of(w, D, A).alive);
	/* The first one returns; there is no reason to go back. */
	w->host[box].off = false;
	pass(w, 4 * SECOND);
	assert_int_equal(*via(w, A, D), 'a' + (int)other);
	end(w);
}

static void the_direct_way_is_better(void **state)
{
	static const unsigned nets[] = { 1, 3, 2 };
	struct world *w = begin(3, nets, "b");

	(void)state;
	pass(w, 3 * SECOND);
	assert_string_equal(via(w, A, C), "b");
	w->host[C].nets = 3; /* a cable is plugged in */
	pass(w, 3 * SECOND);
	assert_string_equal(via(w, A, C), "");
	assert_string_equal(via(w, C, A), "");
	assert_int_equal(w->host[A].distance[loc_of(A, C)], 1);
	assert_true(reaches(w, A, C) && reaches(w, C, A));
	w->host[C].nets = 2; /* and out */
	pass(w, 4 * SECOND);
	assert_string_equal(via(w, A, C), "b");
	assert_true(reaches(w, A, C) && reaches(w, C, A));
	end(w);
}

/* A box that was struck off the list leads nowhere any more. */
static void a_revoked_box_is_left(void **state)
{
	static const unsigned nets[] = { 1, 3, 3, 2 };
	struct world *w = begin(4, nets, "bc");
	unsigned box;

	(void)state;
	pass(w, 3 * SECOND);
	box = *via(w, A, D) == 'b' ? B : C;
	list_hosts(w, &w->host[A], box);
	pass(w, 5 * SECOND);
	assert_int_equal(*via(w, A, D), box == B ? 'c' : 'b');
	assert_true(reaches(w, A, D));
	end(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_box_leads_to_the_other_network),
		cmocka_unit_test(only_boxes_forward),
		cmocka_unit_test(a_question_goes_as_far_as_it_may),
		cmocka_unit_test(nothing_goes_round),
		cmocka_unit_test(another_box_takes_over),
		cmocka_unit_test(the_direct_way_is_better),
		cmocka_unit_test(a_revoked_box_is_left),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
