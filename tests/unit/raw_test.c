/* SPDX-License-Identifier: Apache-2.0 */
/* Raw FLIP and groups: three hosts whose packets the test carries. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/util.h"
#include "raw/raw.h"
#include "rpc/rpc.h"

#define HOSTS 3
#define QUEUE_MAX 8192
#define HEARD_MAX 2048

struct packet {
	uint32_t from, to;
	size_t len;
	uint8_t data[FLIP_PACKET_MAX];
};

struct host {
	struct net *net;
	uint32_t loc; /* 1..HOSTS; the same for all of them */
	struct rpc *rpc;
	struct raw *raw;
	bool deaf;	/* nothing reaches it */
	uint32_t shuns; /* the location that it does not trust */
	bool full;
	uint32_t requests, lost;
};

/* What the endpoints heard; by their numbers, which are unique here. */
struct heard {
	uint32_t number;
	flip_addr src, group;
	size_t len;
	uint32_t first; /* of its bytes, as a number */
};

struct failure {
	uint32_t number;
	uint64_t id;
	enum flip_why why;
	bool certain;
};

struct net {
	struct host hosts[HOSTS + 1];
	struct packet *queue[QUEUE_MAX];
	size_t n;
	uint64_t now;
	struct heard heard[HEARD_MAX];
	size_t n_heard;
	struct failure failed[HEARD_MAX];
	size_t n_failed;
	uint32_t owner;
};

static void on_transmit(void *ctx, uint32_t loc, const struct iovec *iov, int n)
{
	struct host *h = ctx;
	struct packet *p = calloc(1, sizeof(*p));

	assert_true(h->net->n < QUEUE_MAX);
	p->from = h->loc;
	p->to = loc;
	for (int i = 0; i < n; i++) {
		memcpy(p->data + p->len, iov[i].iov_base, iov[i].iov_len);
		p->len += iov[i].iov_len;
	}
	h->net->queue[h->net->n++] = p;
}

static bool on_room(void *ctx, void *owner, size_t len)
{
	(void)ctx;
	(void)owner;
	(void)len;
	return true;
}

static void on_request(void *ctx, void *owner, uint32_t number, const struct rpc_request *r)
{
	struct host *h = ctx;

	(void)owner;
	(void)number;
	(void)r;
	h->requests++;
}

static void on_lost(void *ctx, void *owner, uint32_t number, uint32_t inc)
{
	struct host *h = ctx;

	(void)owner;
	(void)number;
	(void)inc;
	h->lost++;
}

static const struct rpc_ops rpc_ops = {
	.transmit = on_transmit,
	.room = on_room,
	.request = on_request,
	.lost = on_lost,
};

static bool on_data(void *ctx, void *owner, uint32_t number, flip_addr src, flip_addr group,
		    const struct flip_data *d)
{
	struct host *h = ctx;
	struct heard *heard = &h->net->heard[h->net->n_heard];

	(void)owner;
	if (h->full)
		return false;
	assert_true(h->net->n_heard < HEARD_MAX);
	*heard = (struct heard) { .number = number, .src = src, .group = group, .len = d->len };
	if (d->len >= sizeof(heard->first))
		memcpy(&heard->first, d->body->data + d->off, sizeof(heard->first));
	for (size_t i = sizeof(heard->first); i < d->len; i++)
		assert_int_equal(d->body->data[d->off + i], (uint8_t)(i * 7 + heard->first));
	h->net->n_heard++;
	return true;
}

static void on_failed(void *ctx, void *owner, uint32_t number, uint64_t id, flip_addr dst, enum flip_why why,
		      bool certain)
{
	struct host *h = ctx;

	(void)owner;
	(void)dst;
	assert_true(h->net->n_failed < HEARD_MAX);
	h->net->failed[h->net->n_failed++] =
		(struct failure) { .number = number, .id = id, .why = why, .certain = certain };
}

static bool on_trusts(void *ctx, uint32_t loc)
{
	const struct host *h = ctx;

	return loc != h->shuns;
}

static const struct raw_ops raw_ops = {
	.data = on_data, .failed = on_failed, .lost = on_lost, .trusts = on_trusts
};

static int setup(void **state)
{
	struct net *net = calloc(1, sizeof(*net));
	struct rpc_config c;

	net->now = 1000000;
	for (uint32_t i = 1; i <= HOSTS; i++) {
		struct host *h = &net->hosts[i];

		h->net = net;
		h->loc = i;
		rpc_config_default(&c);
		h->rpc = rpc_new(&c, &rpc_ops, h, net->now);
		h->raw = raw_new(rpc_flip(h->rpc), &raw_ops, h);
		for (uint32_t j = 1; j <= HOSTS; j++) {
			if (j != i)
				flip_peer_alive(rpc_flip(h->rpc), j, true, net->now);
		}
	}
	net->now += 1000000;
	*state = net;
	return 0;
}

static int teardown(void **state)
{
	struct net *net = *state;

	for (int i = 1; i <= HOSTS; i++) {
		raw_free(net->hosts[i].raw);
		rpc_free(net->hosts[i].rpc);
	}
	for (size_t i = 0; i < net->n; i++)
		free(net->queue[i]);
	free(net);
	return 0;
}

static void work(struct net *net)
{
	for (int i = 1; i <= HOSTS; i++)
		rpc_work(net->hosts[i].rpc, net->now);
}

static void arrive(struct net *net, const struct packet *p)
{
	for (uint32_t to = 1; to <= HOSTS; to++) {
		if (to != p->from && (p->to == to || p->to == FLIP_LOC_ALL) && !net->hosts[to].deaf)
			flip_input(rpc_flip(net->hosts[to].rpc), p->from, p->to == FLIP_LOC_ALL, p->data, p->len,
				   net->now);
	}
}

/* Those that are on their way arrive. */
static void carry_once(struct net *net)
{
	size_t n = net->n;

	for (size_t i = 0; i < n; i++) {
		arrive(net, net->queue[i]);
		free(net->queue[i]);
	}
	memmove(net->queue, net->queue + n, (net->n - n) * sizeof(net->queue[0]));
	net->n -= n;
	net->now += 50;
	work(net);
}

/* Carries packets until there are none. */
static void carry(struct net *net)
{
	work(net);
	while (net->n)
		carry_once(net);
}

/* So much time passes. */
static void pass(struct net *net, uint64_t us)
{
	for (uint64_t end = net->now + us; net->now < end; net->now += 1000)
		carry(net);
}

static struct raw_ep *open_at(struct net *net, uint32_t loc, uint32_t number)
{
	return raw_ep_new(net->hosts[loc].raw, &net->owner, number);
}

static flip_addr address(const struct raw_ep *ep)
{
	return raw_ep_flip(ep)->addr;
}

/* A message whose bytes follow from its number. */
static struct flip_data message(uint32_t first, size_t len)
{
	struct flip_data d = { .body = buf_new(len), .len = len };

	for (size_t i = sizeof(first); i < len; i++)
		d.body->data[i] = (uint8_t)(i * 7 + first);
	memcpy(d.body->data, &first, MIN(len, sizeof(first)));
	return d;
}

static void send(struct net *net, uint32_t loc, struct raw_ep *ep, struct raw_send s, uint32_t first, size_t len)
{
	s.data = message(first, len);
	s.id = s.id ? s.id : first;
	s.locate_us = s.locate_us ? s.locate_us : 1000000;
	raw_send(net->hosts[loc].raw, ep, &s, net->now);
	buf_unref(s.data.body);
}

static unsigned heard_by(const struct net *net, uint32_t number, uint32_t first)
{
	unsigned n = 0;

	for (size_t i = 0; i < net->n_heard; i++)
		n += net->heard[i].number == number && net->heard[i].first == first;
	return n;
}

static void one_to_one(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10), *b = open_at(net, 2, 20), *c = open_at(net, 1, 11);

	send(net, 1, a, (struct raw_send) { .dst = address(b) }, 1, 100);
	send(net, 1, a, (struct raw_send) { .dst = address(c) }, 2, 100);
	carry(net);
	send(net, 2, b, (struct raw_send) { .dst = address(a) }, 3, 300000);
	carry(net);
	assert_int_equal(net->n_heard, 3);
	assert_int_equal(heard_by(net, 20, 1), 1);
	assert_int_equal(heard_by(net, 11, 2), 1);
	assert_int_equal(heard_by(net, 10, 3), 1);
	assert_true(net->heard[2].src == address(b) && !net->heard[2].group && net->heard[2].len == 300000);
	assert_int_equal(net->n_failed, 0);
}

static void nobody_there(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10);

	send(net, 1, a, (struct raw_send) { .dst = 0x1234500 }, 1, 100);
	pass(net, 500000);
	assert_int_equal(net->n_failed, 1);
	assert_int_equal(net->failed[0].why, FLIP_WHY_NOT_LOCATED);
	assert_true(net->failed[0].id == 1 && net->failed[0].certain);
	/* A host that says nothing is waited for, as long as was asked for. */
	net->hosts[3].deaf = true;
	send(net, 1, a, (struct raw_send) { .dst = 0x1234500, .locate_us = 800000 }, 2, 100);
	pass(net, 700000);
	assert_int_equal(net->n_failed, 1);
	pass(net, 200000);
	assert_int_equal(net->n_failed, 2);
	assert_int_equal(net->failed[1].why, FLIP_WHY_NOT_LOCATED);
}

static void to_a_group(void **state)
{
	struct net *net = *state;
	struct raw_ep *eps[] = { open_at(net, 1, 10), open_at(net, 2, 20), open_at(net, 2, 21),
				 open_at(net, 3, 30) };
	flip_addr secret = flip_addr_random(), group;

	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(raw_join(net->hosts[i ? 2 : 1].raw, eps[i], secret, &group), 0);
	assert_true(group == flip_addr_publish(secret));
	carry(net);
	/* From one who is not in it, then from a member, who does not hear himself. */
	send(net, 3, eps[3], (struct raw_send) { .dst = group, .flags = RAW_GROUP }, 1, 100);
	carry(net);
	send(net, 2, eps[1], (struct raw_send) { .dst = group, .flags = RAW_GROUP }, 2, 100000);
	carry(net);
	assert_int_equal(net->n_heard, 5);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(heard_by(net, raw_ep_number(eps[i]), 1), 1);
	assert_int_equal(heard_by(net, 10, 2), 1);
	assert_int_equal(heard_by(net, 21, 2), 1);
	assert_true(net->heard[4].group == group && net->heard[4].src == address(eps[1]));
	/* Whoever joins is known at once, whoever leaves hears no more. */
	assert_int_equal(raw_join(net->hosts[3].raw, eps[3], secret, &group), 0);
	raw_leave(net->hosts[1].raw, eps[0], group);
	carry(net);
	send(net, 2, eps[1], (struct raw_send) { .dst = group, .flags = RAW_GROUP }, 3, 100);
	carry(net);
	assert_int_equal(net->n_heard, 7);
	assert_int_equal(heard_by(net, 30, 3), 1);
	assert_int_equal(heard_by(net, 10, 3), 0);
	assert_int_equal(net->n_failed, 0);
}

static void so_many_at_least(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10), *b = open_at(net, 2, 20), *c = open_at(net, 3, 30);
	flip_addr secret = flip_addr_random(), group;

	assert_int_equal(raw_join(net->hosts[1].raw, a, secret, &group), 0);
	assert_int_equal(raw_join(net->hosts[2].raw, b, secret, &group), 0);
	/* The sender does not count. */
	send(net, 1, a, (struct raw_send) { .dst = group, .flags = RAW_GROUP, .n = 2, .locate_us = 300000 }, 1,
	     100);
	pass(net, 400000);
	assert_int_equal(net->n_heard, 0);
	assert_int_equal(net->n_failed, 1);
	assert_int_equal(net->failed[0].why, FLIP_WHY_NOT_LOCATED);
	send(net, 1, a, (struct raw_send) { .dst = group, .flags = RAW_GROUP, .n = 2, .locate_us = 3000000 }, 2,
	     100);
	pass(net, 1000000);
	assert_int_equal(net->n_heard, 0);
	/* The second has come: nobody has to ask again. */
	assert_int_equal(raw_join(net->hosts[3].raw, c, secret, &group), 0);
	carry(net);
	assert_int_equal(heard_by(net, 20, 2), 1);
	assert_int_equal(heard_by(net, 30, 2), 1);
	assert_int_equal(net->n_failed, 1);
}

static void broadcasts(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10), *b = open_at(net, 2, 20), *c = open_at(net, 3, 30);
	flip_addr all;

	assert_int_equal(raw_join(net->hosts[2].raw, b, 0, &all), 0);
	assert_int_equal(raw_join(net->hosts[3].raw, c, 0, &all), 0);
	assert_true(all == FLIP_EVERYBODY);
	flip_peer_distance(rpc_flip(net->hosts[1].rpc), 3, 2);
	send(net, 1, a, (struct raw_send) { .dst = all, .flags = RAW_GROUP }, 1, 100);
	carry(net);
	send(net, 1, a, (struct raw_send) { .dst = all, .flags = RAW_GROUP, .hops = 1 }, 2, 100);
	carry(net);
	assert_int_equal(heard_by(net, 20, 1) + heard_by(net, 30, 1), 2);
	assert_int_equal(heard_by(net, 20, 2), 1);
	assert_int_equal(heard_by(net, 30, 2), 0);
}

/* To another host, with its number. */
static struct raw_ep *move(struct net *net, struct raw_ep *ep, uint32_t from, uint32_t to, uint64_t busy_us)
{
	uint32_t number = raw_ep_number(ep);
	struct buf *blob = NULL;

	assert_int_equal(raw_ep_take(net->hosts[from].raw, ep, &blob), 0);
	pass(net, busy_us);
	assert_int_equal(raw_ep_install(net->hosts[to].raw, blob->data, blob->len, &net->owner, number, net->now),
			 0);
	raw_ep_close(net->hosts[from].raw, ep);
	buf_unref(blob);
	return raw_ep_find(net->hosts[to].raw, &net->owner, number);
}

static void a_move_is_a_delay(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10), *b = open_at(net, 2, 20), *c = open_at(net, 2, 21);
	flip_addr secret = flip_addr_random(), group, to = address(b);
	struct buf *blob = NULL;

	assert_int_equal(raw_join(net->hosts[2].raw, b, secret, &group), 0);
	send(net, 1, a, (struct raw_send) { .dst = to }, 1, 100);
	send(net, 1, a, (struct raw_send) { .dst = group, .flags = RAW_GROUP }, 2, 100);
	carry(net);
	/* It is being moved: nothing is lost, of one who is elsewhere, of one who is on its host, of long ones. */
	assert_int_equal(raw_ep_take(net->hosts[2].raw, b, &blob), 0);
	for (uint32_t i = 10; i < 20; i++)
		send(net, 1, a, (struct raw_send) { .dst = to }, i, i % 2 ? 100 : 50000);
	send(net, 2, c, (struct raw_send) { .dst = to }, 20, 100);
	send(net, 1, a, (struct raw_send) { .dst = group, .flags = RAW_GROUP }, 21, 100);
	pass(net, 5000000);
	assert_int_equal(net->n_heard, 2);
	assert_int_equal(raw_ep_install(net->hosts[3].raw, blob->data, blob->len, &net->owner, 20, net->now), 0);
	buf_unref(blob);
	raw_ep_close(net->hosts[2].raw, b);
	pass(net, 200000);
	assert_int_equal(net->n_failed, 0);
	for (uint32_t i = 10; i <= 21; i++)
		assert_int_equal(heard_by(net, 20, i), 1);
	/* In order, but for the one of the other sender. */
	for (size_t i = 3; i < net->n_heard; i++) {
		if (net->heard[i].first != 20 && net->heard[i - 1].first != 20)
			assert_true(net->heard[i].first > net->heard[i - 1].first || net->heard[i].len > 1000 ||
				    net->heard[i - 1].len > 1000);
	}
}

static void what_has_not_left_goes_along(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10), *b = open_at(net, 2, 20);
	flip_addr secret = flip_addr_random(), group, mine;

	assert_int_equal(raw_join(net->hosts[1].raw, a, flip_addr_random(), &mine), 0);
	/* A long one is under way, a group is being looked for, when the sender moves to its receiver's host. */
	send(net, 1, a, (struct raw_send) { .dst = address(b) }, 1, 400000);
	for (int i = 0; i < 3; i++)
		carry_once(net);
	group = flip_addr_publish(secret);
	send(net, 1, a, (struct raw_send) { .dst = group, .flags = RAW_GROUP, .n = 1, .locate_us = 9000000 }, 2,
	     100);
	a = move(net, a, 1, 3, 10000);
	pass(net, 300000);
	assert_int_equal(heard_by(net, 20, 1), 1);
	assert_int_equal(raw_join(net->hosts[2].raw, b, secret, &group), 0);
	pass(net, 300000);
	assert_int_equal(heard_by(net, 20, 2), 1);
	assert_true(flip_ep_in(raw_ep_flip(a), mine));
	assert_int_equal(net->n_failed, 0);
}

/* Everything arrives, but the word that it has does not; then the sender moves and says it again. */
static void nothing_is_heard_twice(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10), *b = open_at(net, 2, 20);

	send(net, 1, a, (struct raw_send) { .dst = address(b) }, 1, 100);
	carry(net);
	net->hosts[1].deaf = true;
	send(net, 1, a, (struct raw_send) { .dst = address(b) }, 2, 4000);
	carry(net);
	assert_int_equal(heard_by(net, 20, 2), 1);
	net->hosts[1].deaf = false;
	move(net, a, 1, 3, 1000);
	pass(net, 300000);
	assert_int_equal(heard_by(net, 20, 2), 1);
}

/* The receiver goes on where it was, and the sender does not hear of that: the next message waits behind the
 * first. */
static void none_overtakes_one_that_waits(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10), *b = open_at(net, 2, 20);
	struct buf *blob = NULL;

	send(net, 1, a, (struct raw_send) { .dst = address(b) }, 1, 100);
	carry(net);
	assert_int_equal(raw_ep_take(net->hosts[2].raw, b, &blob), 0);
	buf_unref(blob);
	send(net, 1, a, (struct raw_send) { .dst = address(b) }, 2, 100);
	pass(net, 500000);
	net->hosts[1].deaf = true;
	assert_int_equal(raw_ep_resume(net->hosts[2].raw, b, net->now), 0);
	carry(net);
	net->hosts[1].deaf = false;
	send(net, 1, a, (struct raw_send) { .dst = address(b) }, 3, 100);
	pass(net, 500000);
	assert_int_equal(net->n_heard, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(net->heard[i].first, i + 1);
}

static void groups_are_bounded(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10);
	flip_addr secret = flip_addr_random(), group;

	for (uint32_t i = 0; i < FLIP_GROUPS_MAX; i++)
		assert_int_equal(raw_join(net->hosts[1].raw, a, flip_addr_random(), &group), 0);
	assert_int_equal(raw_join(net->hosts[1].raw, a, flip_addr_random(), &group), -ENOSPC);
	raw_leave(net->hosts[1].raw, a, group);
	raw_leave(net->hosts[1].raw, a, raw_ep_flip(a)->groups[0]);
	assert_int_equal(raw_join(net->hosts[1].raw, a, secret, &group), 0);
	for (uint32_t i = 1; i < FLIP_MEMBERS_MAX; i++)
		assert_int_equal(raw_join(net->hosts[1].raw, open_at(net, 1, 100 + i), secret, &group), 0);
	assert_int_equal(raw_join(net->hosts[1].raw, open_at(net, 1, 300), secret, &group), -ENOSPC);
	assert_int_equal(raw_join(net->hosts[2].raw, open_at(net, 2, 301), secret, &group), 0);
	send(net, 2, raw_ep_find(net->hosts[2].raw, &net->owner, 301),
	     (struct raw_send) { .dst = group, .flags = RAW_GROUP, .n = FLIP_MEMBERS_MAX }, 7, 100);
	carry(net);
	assert_int_equal(net->n_heard, FLIP_MEMBERS_MAX);
}

static void a_failed_move_changes_nothing(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10), *b = open_at(net, 2, 20);
	struct buf *blob = NULL;

	send(net, 1, a, (struct raw_send) { .dst = address(b) }, 1, 100);
	carry(net);
	send(net, 1, a, (struct raw_send) { .dst = address(b) }, 2, 400000);
	assert_int_equal(raw_ep_take(net->hosts[1].raw, a, &blob), 0);
	assert_int_equal(raw_ep_take(net->hosts[1].raw, a, &blob), -EBUSY);
	buf_unref(blob);
	send(net, 2, b, (struct raw_send) { .dst = address(a) }, 3, 100);
	pass(net, 50000);
	assert_int_equal(heard_by(net, 20, 2), 0);
	assert_int_equal(raw_ep_resume(net->hosts[1].raw, a, net->now), 0);
	assert_int_equal(raw_ep_resume(net->hosts[1].raw, a, net->now), -EINVAL);
	pass(net, 300000);
	assert_int_equal(heard_by(net, 20, 2), 1);
	assert_int_equal(heard_by(net, 10, 3), 1);
}

static void not_to_strangers(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10), *b = open_at(net, 2, 20), *c = open_at(net, 3, 30);

	net->hosts[1].shuns = 2; /* the sender does not trust 2, and 3 does not trust the sender */
	net->hosts[3].shuns = 1;
	send(net, 1, a, (struct raw_send) { .dst = address(b), .flags = RAW_SAFE }, 1, 100);
	carry(net);
	send(net, 1, a, (struct raw_send) { .dst = address(c), .flags = RAW_SAFE }, 2, 100);
	carry(net);
	send(net, 1, a, (struct raw_send) { .dst = address(c), .flags = RAW_SAFE }, 3, 50000);
	carry(net);
	send(net, 1, a, (struct raw_send) { .dst = address(b) }, 4, 100);
	carry(net);
	assert_int_equal(net->n_failed, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(net->failed[i].why, FLIP_WHY_UNTRUSTED);
		assert_int_equal(net->failed[i].id, i + 1);
	}
	assert_int_equal(net->n_heard, 1);
	assert_int_equal(heard_by(net, 20, 4), 1);
}

/* Whoever may write raw messages could otherwise be any user to a server. */
static void no_raw_message_is_a_request(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10), *local = open_at(net, 2, 20);
	struct rpc_ep *server = rpc_ep_new(net->hosts[2].rpc, 1, &net->owner, 1);
	struct gw_port get, put;
	struct rpc_hdr h = { .type = RPC_REQUEST, .tid = 1, .uid = 0 };
	struct raw_send s = { .dst = rpc_ep_addr(server), .id = 1, .locate_us = 1000000 };
	struct flip_data d = { .len = RPC_HDR_LEN + RPC_USER_HDR_LEN };

	gw_port_random(&get);
	gw_port_publish(&get, &put);
	assert_int_equal(rpc_serve(net->hosts[2].rpc, server, &put), 0);
	h.port = put;
	d.body = buf_new(d.len);
	memset(d.body->data, 0, d.len);
	rpc_hdr_encode(&h, d.body->data);
	s.data = d;
	raw_send(net->hosts[1].raw, a, &s, net->now);
	raw_send(net->hosts[2].raw, local, &s, net->now);
	pass(net, 100000);
	assert_int_equal(net->hosts[2].requests, 0);
	/* The same bytes from the system itself are one. */
	flip_send(rpc_flip(net->hosts[1].rpc), flip_ep_new(rpc_flip(net->hosts[1].rpc), 77, 1, NULL),
		  rpc_ep_addr(server), FLIP_LOC_NONE, &d, net->now);
	carry(net);
	assert_int_equal(net->hosts[2].requests, 1);
	buf_unref(d.body);
}

static void little_is_kept(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10), *b = open_at(net, 2, 20);
	flip_addr secret = flip_addr_random(), group = flip_addr_publish(secret), all;

	for (uint32_t i = 1; i <= 400; i++) {
		send(net, 1, a, (struct raw_send) { .dst = address(b) }, i, 100);
		carry(net);
	}
	assert_int_equal(net->n_heard, 400);
	/* What cannot leave is bounded: the rest is refused. */
	net->hosts[3].deaf = true;
	for (uint32_t i = 1; i <= RAW_UNDER_WAY_MAX + 2; i++)
		send(net, 1, a, (struct raw_send) { .dst = group, .flags = RAW_GROUP, .n = 1 }, i, 100);
	assert_int_equal(net->n_failed, 2);
	assert_int_equal(net->failed[0].why, FLIP_WHY_BUSY);
	/* Those that wait are sent when they can be, all of them. */
	net->hosts[3].deaf = false;
	assert_int_equal(raw_join(net->hosts[2].raw, b, secret, &all), 0);
	pass(net, 500000);
	assert_int_equal(net->n_heard, 400 + RAW_UNDER_WAY_MAX);
	/* A long one for many is many long ones. */
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(raw_join(net->hosts[2].raw, open_at(net, 2, 100 + i), 0, &all), 0);
	a = open_at(net, 1, 11);
	send(net, 1, a, (struct raw_send) { .dst = all, .flags = RAW_GROUP, .id = 5000 }, 1, 100);
	carry(net);
	assert_int_equal(net->n_failed, 2);
	send(net, 1, a, (struct raw_send) { .dst = all, .flags = RAW_GROUP, .id = 5001 }, 2, 16u << 20);
	assert_int_equal(net->n_failed, 3);
	assert_int_equal(net->failed[2].why, FLIP_WHY_BUSY);
	assert_int_equal(net->failed[2].id, 5001);
}

static void blobs_are_checked(void **state)
{
	struct net *net = *state;
	struct raw_ep *a = open_at(net, 1, 10);
	struct buf *blob = NULL;
	flip_addr group;

	assert_int_equal(raw_join(net->hosts[1].raw, a, flip_addr_random(), &group), 0);
	send(net, 1, a, (struct raw_send) { .dst = 0x1234500 }, 1, 100);
	send(net, 1, a, (struct raw_send) { .dst = 0x1234500, .flags = RAW_GROUP, .n = 1 }, 2, 100);
	assert_int_equal(raw_ep_take(net->hosts[1].raw, a, &blob), 0);
	for (size_t len = 0; len < blob->len; len++) {
		assert_int_equal(raw_ep_install(net->hosts[2].raw, blob->data, len, &net->owner, 10, net->now),
				 -EBADMSG);
		assert_null(raw_ep_find(net->hosts[2].raw, &net->owner, 10));
	}
	assert_int_equal(raw_ep_install(net->hosts[2].raw, blob->data, blob->len, &net->owner, 10, net->now), 0);
	assert_int_equal(raw_ep_install(net->hosts[2].raw, blob->data, blob->len, &net->owner, 11, net->now),
			 -EEXIST);
	buf_unref(blob);
	/* The old home hears of it, and is not the address any more. */
	carry(net);
	assert_int_equal(net->hosts[1].lost, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_to_one, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_there, setup, teardown),
		cmocka_unit_test_setup_teardown(to_a_group, setup, teardown),
		cmocka_unit_test_setup_teardown(so_many_at_least, setup, teardown),
		cmocka_unit_test_setup_teardown(broadcasts, setup, teardown),
		cmocka_unit_test_setup_teardown(a_move_is_a_delay, setup, teardown),
		cmocka_unit_test_setup_teardown(what_has_not_left_goes_along, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_heard_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(none_overtakes_one_that_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(groups_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failed_move_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(not_to_strangers, setup, teardown),
		cmocka_unit_test_setup_teardown(no_raw_message_is_a_request, setup, teardown),
		cmocka_unit_test_setup_teardown(little_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(blobs_are_checked, setup, teardown),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
