/* SPDX-License-Identifier: Apache-2.0 */
/* Routes, and messages between two FLIPs whose packets the test holds in its hands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/util.h"
#include "flip/flip.h"

#define QUEUE_MAX 4096

struct packet {
	uint32_t to;
	bool broadcast;
	size_t len;
	uint8_t data[FLIP_PACKET_MAX];
};

struct node {
	struct flip *flip;
	uint32_t loc, other; /* its location as the other knows it, and the other's */
	struct packet *queue[QUEUE_MAX];
	size_t n;
	uint32_t frag; /* what it believes that the path carries; 0: has no idea */
	size_t path;   /* what it does carry, if not 0: longer packets vanish */
	/* What was handed up. */
	unsigned delivered, failed, located, lost, announced;
	struct flip_failure failure;
	uint8_t *last;
	size_t last_len;
	flip_addr located_addr;
	uint32_t lost_inc;
	struct flip_ep *serves; /* the endpoint that serves any port */
	bool bored;		/* nobody here waits for a port any more */
};

static uint64_t now;

static void on_transmit(void *ctx, uint32_t loc, const struct iovec *iov, int n)
{
	struct node *node = ctx;
	struct packet *p = malloc(sizeof(*p));
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	if (node->path && len > node->path) {
		free(p);
		return;
	}
	assert_true(node->n < QUEUE_MAX);
	p->to = loc;
	p->broadcast = loc == FLIP_LOC_ALL;
	p->len = 0;
	for (int i = 0; i < n; i++) {
		memcpy(p->data + p->len, iov[i].iov_base, iov[i].iov_len);
		p->len += iov[i].iov_len;
	}
	node->queue[node->n++] = p;
}

static uint32_t on_frag(void *ctx, uint32_t loc)
{
	const struct node *node = ctx;

	(void)loc;
	return node->frag ? node->frag : FLIP_FRAG;
}

static void on_deliver(void *ctx, struct flip_ep *ep, const struct flip_delivery *d)
{
	struct node *node = ctx;

	(void)ep;
	node->delivered++;
	free(node->last);
	node->last_len = d->data.head_len + d->data.len;
	node->last = malloc(node->last_len + 1);
	memcpy(node->last, d->data.head, d->data.head_len);
	if (d->data.len)
		memcpy(node->last + d->data.head_len, d->data.body->data + d->data.off, d->data.len);
}

static void on_notdeliver(void *ctx, struct flip_ep *ep, const struct flip_failure *f)
{
	struct node *node = ctx;

	(void)ep;
	node->failed++;
	node->failure = *f;
}

static bool on_owed(void *ctx, struct flip_ep *ep, flip_addr src, const struct flip_data *d)
{
	(void)ctx;
	(void)ep;
	(void)src;
	return d->len && d->body->data[d->off] == 'o';
}

static enum flip_here on_port_here(void *ctx, const uint8_t port[FLIP_PORT_LEN], struct flip_ep **ret_ep)
{
	struct node *node = ctx;

	(void)port;
	*ret_ep = node->serves;
	if (!node->serves)
		return FLIP_NOT_HERE;
	return node->serves->state == FLIP_EP_BUSY ? FLIP_HERE_BUSY : FLIP_IS_HERE;
}

static bool on_port_wanted(void *ctx, const uint8_t port[FLIP_PORT_LEN])
{
	const struct node *node = ctx;

	(void)port;
	return !node->bored;
}

static void on_located(void *ctx, const uint8_t port[FLIP_PORT_LEN], flip_addr addr)
{
	struct node *node = ctx;

	(void)port;
	node->located++;
	node->located_addr = addr;
}

static void on_announced(void *ctx, flip_addr addr)
{
	struct node *node = ctx;

	(void)addr;
	node->announced++;
}

static void on_lost(void *ctx, struct flip_ep *ep, uint32_t inc)
{
	struct node *node = ctx;

	(void)ep;
	node->lost++;
	node->lost_inc = inc;
}

static const struct flip_ops ops = {
	.transmit = on_transmit,
	.frag = on_frag,
	.deliver = on_deliver,
	.notdeliver = on_notdeliver,
	.owed = on_owed,
	.port_here = on_port_here,
	.port_wanted = on_port_wanted,
	.located = on_located,
	.announced = on_announced,
	.lost = on_lost,
};

static int setup(void **state)
{
	struct node *n = calloc(2, sizeof(*n));
	struct flip_config c;

	now = 1000000;
	for (uint32_t i = 0; i < 2; i++) {
		flip_config_default(&c);
		n[i].loc = i + 1;
		n[i].other = 2 - i;
		n[i].flip = flip_new(&c, &ops, &n[i], now);
		flip_peer_alive(n[i].flip, n[i].other, true, now);
	}
	now += c.settle_us;
	*state = n;
	return 0;
}

static int teardown(void **state)
{
	struct node *n = *state;

	for (int i = 0; i < 2; i++) {
		flip_free(n[i].flip);
		for (size_t j = 0; j < n[i].n; j++)
			free(n[i].queue[j]);
		free(n[i].last);
	}
	free(n);
	return 0;
}

static void deliver(struct node *from, struct node *to, size_t i)
{
	const struct packet *p = from->queue[i];

	flip_input(to->flip, from->loc, p->broadcast, p->data, p->len, now);
}

/* Carries packets both ways until there are none. `skip`: every skip-th is lost, `backwards`: the last is the
 * first. */
static void carry(struct node *a, struct node *b, unsigned skip, bool backwards)
{
	static unsigned count;

	flip_work(a->flip, now);
	flip_work(b->flip, now);
	for (struct node *from = a; a->n || b->n; from = from == a ? b : a) {
		struct node *to = from == a ? b : a;
		size_t n = from->n;

		for (size_t k = 0; k < n; k++) {
			if (!skip || ++count % skip)
				deliver(from, to, backwards ? n - 1 - k : k);
		}
		for (size_t k = 0; k < n; k++)
			free(from->queue[k]);
		memmove(from->queue, from->queue + n, (from->n - n) * sizeof(from->queue[0]));
		from->n -= n;
		now += 50;
		flip_work(a->flip, now);
		flip_work(b->flip, now);
	}
}

static uint32_t send(struct node *from, struct flip_ep *ep, flip_addr dst, size_t len)
{
	struct buf *b = buf_new(len);
	struct flip_data d = { .head = "head", .head_len = 4, .body = b, .len = len };
	uint32_t id;

	for (size_t i = 0; i < len; i++)
		b->data[i] = (uint8_t)(i * 7 + i / 1000);
	id = flip_send(from->flip, ep, dst, FLIP_LOC_NONE, &d, now);
	buf_unref(b);
	return id;
}

static uint32_t send_text(struct node *from, struct flip_ep *ep, flip_addr dst, const char *text)
{
	struct flip_data d = { .body = buf_copy(text, strlen(text)), .len = strlen(text) };
	uint32_t id = flip_send(from->flip, ep, dst, FLIP_LOC_NONE, &d, now);

	buf_unref(d.body);
	return id;
}

static bool last_is(const struct node *n, size_t len)
{
	if (n->last_len != len + 4 || memcmp(n->last, "head", 4) != 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (n->last[4 + i] != (uint8_t)(i * 7 + i / 1000))
			return false;
	}
	return true;
}

static void routes_go_up_and_never_down(void **state)
{
	struct routes r;

	(void)state;
	routes_init(&r);
	assert_true(routes_learn(&r, 77, 1, 5, 0));
	assert_false(routes_learn(&r, 77, 2, 4, 0));
	assert_int_equal(routes_find(&r, 77, 0)->loc, 1);
	assert_true(routes_learn(&r, 77, 2, 6, 0));
	routes_forget(&r, 77, 1); /* an old rumour */
	assert_int_equal(routes_find(&r, 77, 0)->loc, 2);
	routes_forget(&r, 77, 2);
	assert_null(routes_find(&r, 77, 0));
	assert_int_equal(routes_floor(&r, 77), 6);
	assert_false(routes_learn(&r, 77, 1, 5, 0));
	assert_true(routes_learn(&r, 77, 3, 6, 0));
	for (flip_addr a = 1000; a < 1000 + 2 * ROUTES_MAX; a++)
		assert_true(routes_learn(&r, a, 4, 1, 0));
	assert_int_equal(r.by_addr.n, ROUTES_MAX);
	routes_forget_location(&r, 4);
	assert_null(routes_find(&r, 1000 + 2 * ROUTES_MAX - 1, 0));
	routes_done(&r);
}

/* Programs of one request come and go; who moved is remembered for longer. */
static void idle_routes_are_forgotten(void **state)
{
	struct routes r;
	uint64_t at_us = 0;

	(void)state;
	routes_init(&r);
	assert_true(routes_learn(&r, 77, 1, 5, at_us));
	for (flip_addr a = 1000; a < 3000; a++, at_us += ROUTES_IDLE_US / 100) {
		assert_true(routes_learn(&r, a, 4, 1, at_us));
		assert_non_null(routes_find(&r, 1000, at_us)); /* one that is in use */
	}
	assert_true(r.by_addr.n <= 103);
	assert_non_null(routes_find(&r, 1000, at_us));
	assert_int_equal(routes_floor(&r, 77), 5);
	assert_int_equal(routes_floor(&r, 1001), 0);
	at_us += ROUTES_IDLE_MOVED_US;
	for (flip_addr a = 5000; a < 5010; a++)
		assert_true(routes_learn(&r, a, 4, 1, at_us));
	routes_done(&r);
}

static void messages_of_all_lengths_arrive(void **state)
{
	static const size_t lens[] = {
		0, 1, FLIP_FRAG - 5, FLIP_FRAG - 4, FLIP_FRAG - 3, 2 * FLIP_FRAG - 4, 100000, 1 << 20
	};
	struct node *a = *state, *b = a + 1;
	struct flip_ep *x = flip_ep_new(a->flip, flip_addr_random(), 1, NULL);
	struct flip_ep *y = flip_ep_new(b->flip, flip_addr_random(), 1, NULL);

	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		uint32_t id = send(a, x, y->addr, lens[i]);

		carry(a, b, 0, false);
		assert_int_equal(b->delivered, i + 1);
		assert_true(last_is(b, lens[i]));
		assert_false(flip_sending(a->flip, x, id));
	}
	assert_int_equal(a->failed, 0);
}

static void long_messages_survive_loss_and_disorder(void **state)
{
	struct node *a = *state, *b = a + 1;
	struct flip_ep *x = flip_ep_new(a->flip, flip_addr_random(), 1, NULL);
	struct flip_ep *y = flip_ep_new(b->flip, flip_addr_random(), 1, NULL);

	for (unsigned round = 0; round < 4; round++) {
		(void)send(a, x, y->addr, 300000);
		for (int i = 0; i < 200 && b->delivered <= round; i++) {
			carry(a, b, 7 + round, round & 1);
			now += 100000;
		}
		assert_int_equal(b->delivered, round + 1);
		assert_true(last_is(b, 300000));
	}
	assert_true(flip_stats(a->flip)->fragments_resent > 0);
}

static void fragments_are_as_long_as_the_path_carries(void **state)
{
	static const size_t lens[] = { 1000, FLIP_FRAG + 1, 5000, 300000 };
	struct node *a = *state, *b = a + 1;
	struct flip_ep *x = flip_ep_new(a->flip, flip_addr_random(), 1, NULL);
	struct flip_ep *y = flip_ep_new(b->flip, flip_addr_random(), 1, NULL);
	uint64_t before;

	(void)send(a, x, y->addr, 10);
	carry(a, b, 0, false);
	a->frag = FLIP_FRAG_MAX;
	before = flip_stats(a->flip)->out;
	(void)send(a, x, y->addr, 10 * FLIP_FRAG_MAX - 4);
	carry(a, b, 0, false);
	assert_int_equal(b->delivered, 2);
	assert_int_equal(flip_stats(a->flip)->out - before, 10);

	/* Something on the way swallows what is longer than an Ethernet frame, and then even shorter ones. */
	for (unsigned round = 0; round < 2; round++) {
		a->path = round ? 1200 : 1468;
		for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
			unsigned delivered = b->delivered;

			(void)send(a, x, y->addr, lens[i]);
			for (int k = 0; k < 50 && b->delivered == delivered; k++) {
				carry(a, b, 0, false);
				now += 100000;
			}
			assert_int_equal(b->delivered, delivered + 1);
			assert_true(last_is(b, lens[i]));
		}
	}
	assert_int_equal(a->failed, 0);

	/* Once it is known, nothing is tried in vain, until it has been long ago. */
	before = flip_stats(a->flip)->fragments_resent;
	(void)send(a, x, y->addr, 300000);
	carry(a, b, 0, false);
	assert_int_equal(flip_stats(a->flip)->fragments_resent, before);
	a->path = 0;
	now += 70000000;
	(void)send(a, x, y->addr, 10);
	carry(a, b, 0, false);
	before = flip_stats(a->flip)->out;
	(void)send(a, x, y->addr, 10 * FLIP_FRAG_MAX - 4);
	carry(a, b, 0, false);
	assert_true(last_is(b, 10 * FLIP_FRAG_MAX - 4));
	assert_int_equal(flip_stats(a->flip)->out - before, 10);
}

static void nobody_is_found_nowhere_at_once(void **state)
{
	struct node *a = *state, *b = a + 1;
	struct flip_ep *x = flip_ep_new(a->flip, flip_addr_random(), 1, NULL);
	uint8_t port[FLIP_PORT_LEN] = { 1 };
	uint64_t start = now;

	(void)send(a, x, 0x4200, 5);
	flip_locate_port(a->flip, port, 5000000, now);
	carry(a, b, 0, false);
	assert_int_equal(a->failed, 1);
	assert_int_equal(a->failure.why, FLIP_WHY_NOT_LOCATED);
	assert_int_equal(a->located, 1);
	assert_true(a->located_addr == 0);
	assert_true(now - start < 10000);
}

/* How far the questions in a's queue go; those that do not reach b get lost on the way there. */
static size_t questions(struct node *a, struct node *b, uint8_t distance, uint8_t ret[], size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n; i++) {
		const struct packet *p = a->queue[i];

		if (n < max && p->len >= FLIP_HDR_LEN && p->data[1] == FLIP_LOCATE)
			ret[n++] = p->data[5];
		if (!p->broadcast || p->data[5] >= distance)
			deliver(a, b, i);
		free(a->queue[i]);
	}
	a->n = 0;
	flip_work(b->flip, now);
	for (size_t i = 0; i < b->n; i++) {
		deliver(b, a, i);
		free(b->queue[i]);
	}
	b->n = 0;
	flip_work(a->flip, now);
	return n;
}

/* A host five networks away: each question goes farther, the next follows at once where all in reach have
 * answered, and only the one that has gone all the way is the end of it. */
static void questions_go_farther_and_farther(void **state)
{
	struct node *a = *state, *b = a + 1;
	struct flip_ep *x = flip_ep_new(a->flip, flip_addr_random(), 1, NULL);
	struct flip_ep *y = flip_ep_new(b->flip, flip_addr_random(), 1, NULL);
	static const uint8_t growing[] = { 1, 3, 7 };
	uint64_t start = now;
	uint8_t hops[8];
	size_t n = 0;

	flip_peer_distance(a->flip, a->other, 5);
	(void)send(a, x, y->addr, 5);
	while (n < 3 && now < start + 1000000) {
		n += questions(a, b, 5, hops + n, ARRAY_LEN(hops) - n);
		now += 10;
		flip_work(a->flip, now);
	}
	assert_int_equal(n, 3);
	assert_memory_equal(hops, growing, 3);
	assert_true(now < start + 1000);
	carry(a, b, 0, false);
	assert_int_equal(b->delivered, 1);
	/* Nobody: the ones that did not reach b ended nothing. */
	(void)send(a, x, 0x4200, 5);
	while (!a->failed && now < start + 10000000) {
		(void)questions(a, b, 5, hops, ARRAY_LEN(hops));
		now += 10;
		flip_work(a->flip, now);
	}
	assert_int_equal(a->failure.why, FLIP_WHY_NOT_LOCATED);
	assert_true(now < start + 2000000);
}

static void a_silent_host_is_waited_for(void **state)
{
	struct node *a = *state;
	uint8_t port[FLIP_PORT_LEN] = { 1 };
	uint64_t start = now;

	flip_locate_port(a->flip, port, 5000000, now);
	while (!a->located) {
		now = flip_next(a->flip);
		flip_work(a->flip, now);
	}
	assert_true(now - start >= 5000000 && now - start < 5100000);
}

/* How many questions a puts in so long a time; b answers them. */
static unsigned questions_in(struct node *a, struct node *b, uint64_t us)
{
	uint64_t until = now + us, before = flip_stats(a->flip)->out;

	while (carry(a, b, 0, false), now < until)
		now = MIN(MAX(flip_next(a->flip), now), until);
	return (unsigned)(flip_stats(a->flip)->out - before);
}

static void a_busy_port_is_asked_for_less_and_less(void **state)
{
	struct node *a = *state, *b = a + 1;
	struct flip_ep *other = flip_ep_new(b->flip, flip_addr_random(), 1, NULL);
	uint8_t port[FLIP_PORT_LEN] = { 1 };
	unsigned n;

	b->serves = flip_ep_new(b->flip, flip_addr_random(), 1, NULL);
	b->serves->state = FLIP_EP_BUSY;
	flip_locate_port(a->flip, port, 5000000, now);
	n = questions_in(a, b, 1000000) + 1;
	assert_true(n >= 6 && n <= 10);
	/* However long it takes. */
	n = questions_in(a, b, 60000000);
	assert_true(n >= 300 && n <= 400);
	assert_int_equal(a->located, 0);
	/* That something else has arrived somewhere is no reason to ask; that this has, is. */
	flip_ep_announce(b->flip, other, now);
	assert_true(questions_in(a, b, 1000000) <= 10);
	b->serves->state = FLIP_EP_UP;
	flip_ep_announce(b->flip, b->serves, now);
	(void)questions_in(a, b, 1000);
	assert_int_equal(a->located, 1);
	assert_true(a->located_addr == b->serves->addr);
}

static void a_search_that_nobody_waits_for_ends(void **state)
{
	struct node *a = *state, *b = a + 1;
	uint8_t port[FLIP_PORT_LEN] = { 1 };

	b->serves = flip_ep_new(b->flip, flip_addr_random(), 1, NULL);
	b->serves->state = FLIP_EP_BUSY;
	flip_locate_port(a->flip, port, 5000000, now);
	assert_true(questions_in(a, b, 1000000) > 0);
	a->bored = true;
	assert_true(questions_in(a, b, 1000000) <= 1);
	assert_true(flip_next(a->flip) == TIMERS_NEVER);
	assert_int_equal(a->located, 0);
}

/* Where noes would cost more than a yes that comes late. */
static void many_hosts_are_first_asked_for_a_yes_only(void **state)
{
	struct node *a = *state, *b = a + 1;
	uint8_t port[FLIP_PORT_LEN] = { 1 };

	for (uint32_t loc = 3; loc < 30; loc++)
		flip_peer_alive(a->flip, loc, true, now);
	flip_locate_port(a->flip, port, 5000000, now);
	assert_int_equal(a->n, 1);
	carry(a, b, 0, false);
	assert_int_equal(b->n + a->n, 0);
	assert_int_equal(flip_stats(b->flip)->out, 0);
	now += 10000;
	carry(a, b, 0, false);
	assert_int_equal(flip_stats(b->flip)->out, 1);
	for (uint32_t loc = 3; loc < 30; loc++)
		flip_peer_alive(a->flip, loc, false, now);
	carry(a, b, 0, false);
	assert_int_equal(a->located, 1);
	assert_true(a->located_addr == 0);
}

static void what_moves_is_busy_then_found_again(void **state)
{
	struct node *a = *state, *b = a + 1;
	struct flip_ep *x = flip_ep_new(a->flip, flip_addr_random(), 1, NULL);
	flip_addr private_addr = flip_addr_random();
	struct flip_ep *y = flip_ep_new(b->flip, private_addr, 1, NULL), *home;
	uint32_t id = send(a, x, y->addr, 10);

	carry(a, b, 0, false);
	assert_int_equal(b->delivered, 1);
	y->state = FLIP_EP_BUSY;
	id = send(a, x, y->addr, 50000);
	carry(a, b, 0, false);
	assert_int_equal(a->failure.why, FLIP_WHY_BUSY);
	assert_true(a->failure.certain && a->failure.messid == id);
	assert_false(flip_sending(a->flip, x, id));
	/* What concerns something that is still owed gets through (on_owed knows it by its first letter). */
	(void)send_text(a, x, y->addr, "owed");
	(void)send_text(a, x, y->addr, "new");
	carry(a, b, 0, false);
	assert_int_equal(b->delivered, 2);
	/* The new home is a itself: b hears of it and stops. */
	home = flip_ep_new(a->flip, private_addr, 2, NULL);
	assert_non_null(home);
	flip_ep_announce(a->flip, home, now);
	carry(a, b, 0, false);
	assert_int_equal(b->lost, 1);
	assert_int_equal(b->lost_inc, 2);
	assert_int_equal(y->state, FLIP_EP_GHOST);
	assert_int_equal(flip_location(b->flip, y->addr), b->other);
	assert_null(flip_ep_new(b->flip, private_addr, 1, NULL));
}

static void a_broadcast_alone_changes_nothing(void **state)
{
	struct node *a = *state, *b = a + 1;
	struct flip_ep *y = flip_ep_new(b->flip, flip_addr_random(), 1, NULL);
	struct flip_hdr h = { .type = FLIP_HEREIS,
			      .flags = FLIP_F_ANNOUNCE,
			      .frag = FLIP_FRAG,
			      .hops_max = 1,
			      .dst = 1,
			      .src = y->addr,
			      .src_inc = 100 };
	uint8_t p[FLIP_HDR_LEN];

	/* Forged in a's name by somebody who has the cluster's key: b asks a, and a knows nothing. */
	flip_hdr_encode(&h, p);
	flip_input(b->flip, a->loc, true, p, sizeof(p), now);
	carry(a, b, 0, false);
	assert_int_equal(b->lost, 0);
	assert_int_equal(y->state, FLIP_EP_UP);
	/* The same words from a itself are believed. */
	flip_input(b->flip, a->loc, false, p, sizeof(p), now);
	carry(a, b, 0, false);
	assert_int_equal(b->lost, 1);
}

static void reassembly_is_bounded(void **state)
{
	struct node *a = *state, *b = a + 1;
	struct flip_ep *y = flip_ep_new(b->flip, flip_addr_random(), 1, NULL);
	struct flip_hdr h = { .type = FLIP_UNIDATA,
			      .hops_max = 1,
			      .frag = FLIP_FRAG,
			      .dst = y->addr,
			      .src = 0x100,
			      .length = FLIP_FRAG,
			      .total = FLIP_MSG_MAX };
	uint8_t p[FLIP_PACKET_MAX] = { 0 };

	for (h.messid = 1; h.messid < 100; h.messid++) {
		flip_hdr_encode(&h, p);
		flip_input(b->flip, a->loc, false, p, FLIP_HDR_LEN + FLIP_FRAG, now);
	}
	assert_true(flip_stats(b->flip)->dropped > 0);
	/* It is given back when nothing more comes. */
	now += 20000000;
	flip_work(b->flip, now);
	h.total = FLIP_FRAG + 5;
	h.length = FLIP_FRAG;
	flip_hdr_encode(&h, p);
	flip_input(b->flip, a->loc, false, p, FLIP_HDR_LEN + h.length, now);
	h.offset = FLIP_FRAG;
	h.length = 5;
	flip_hdr_encode(&h, p);
	flip_input(b->flip, a->loc, false, p, FLIP_HDR_LEN + h.length, now);
	flip_work(b->flip, now);
	assert_int_equal(b->delivered, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(routes_go_up_and_never_down),
		cmocka_unit_test(idle_routes_are_forgotten),
		cmocka_unit_test_setup_teardown(messages_of_all_lengths_arrive, setup, teardown),
		cmocka_unit_test_setup_teardown(long_messages_survive_loss_and_disorder, setup, teardown),
		cmocka_unit_test_setup_teardown(fragments_are_as_long_as_the_path_carries, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_is_found_nowhere_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(questions_go_farther_and_farther, setup, teardown),
		cmocka_unit_test_setup_teardown(a_silent_host_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(a_busy_port_is_asked_for_less_and_less, setup, teardown),
		cmocka_unit_test_setup_teardown(a_search_that_nobody_waits_for_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(many_hosts_are_first_asked_for_a_yes_only, setup, teardown),
		cmocka_unit_test_setup_teardown(what_moves_is_busy_then_found_again, setup, teardown),
		cmocka_unit_test_setup_teardown(a_broadcast_alone_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(reassembly_is_bounded, setup, teardown),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
