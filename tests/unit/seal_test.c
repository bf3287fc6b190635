/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing, and sessions between two hosts whose datagrams the test holds in its hands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "flip/flip.h"
#include "flip/peer.h"

#define WIRE_MAX 256

struct datagram {
	size_t len;
	bool broadcast;
	uint8_t data[4096];
};

struct side {
	struct peers *peers;
	struct peer_config config;
	struct side *other;
	struct sockaddr_in addr;
	struct datagram *sent[WIRE_MAX]; /* kept, so that they can be replayed */
	size_t n_sent, n_delivered;
	size_t packets, broadcasts;
	bool alive;
	char last[64];
};

static uint64_t now = 1000000;

static void on_send(void *ctx, const struct sockaddr_in *to, const uint8_t *data, size_t len)
{
	struct side *s = ctx;
	struct datagram *d = malloc(sizeof(*d));

	assert_true(s->n_sent < WIRE_MAX);
	d->len = len;
	d->broadcast = !to;
	memcpy(d->data, data, len);
	s->sent[s->n_sent++] = d;
}

static void on_packet(void *ctx, uint32_t loc, bool broadcast, const uint8_t *packet, size_t len, uint64_t t)
{
	struct side *s = ctx;

	(void)t;
	assert_int_equal(loc, 1);
	s->packets += !broadcast;
	s->broadcasts += broadcast;
	snprintf(s->last, sizeof(s->last), "%.*s", (int)len, (const char *)packet);
}

static void on_alive(void *ctx, uint32_t loc, bool alive, uint64_t t)
{
	struct side *s = ctx;

	(void)loc;
	(void)t;
	s->alive = alive;
}

static const struct peer_ops ops = { .send = on_send, .packet = on_packet, .alive = on_alive };

static void replay(struct side *to, const struct side *from, size_t i)
{
	struct datagram copy = *from->sent[i];

	peers_input(to->peers, &from->addr, copy.data, copy.len, now);
}

/* Delivers all that was sent until there is silence. */
static void settle(struct side *a, struct side *b)
{
	while (a->n_delivered < a->n_sent || b->n_delivered < b->n_sent) {
		if (a->n_delivered < a->n_sent)
			replay(b, a, a->n_delivered++);
		else
			replay(a, b, b->n_delivered++);
	}
}

static void boot(struct side *s, const struct side *other)
{
	peers_free(s->peers);
	s->alive = false;
	s->peers = peers_new(&s->config, &ops, s, now);
	peers_hosts_begin(s->peers);
	assert_int_equal(peers_hosts_add(s->peers, other->config.name, other->config.own.public), 0);
	peers_hosts_end(s->peers, now);
}

static int setup(void **state)
{
	struct side *s = calloc(2, sizeof(*s));

	for (int i = 0; i < 2; i++) {
		peer_config_default(&s[i].config);
		snprintf(s[i].config.name, sizeof(s[i].config.name), "h%d", i + 1);
		seal_pair_random(&s[i].config.own);
		memset(s[i].config.cluster, 0x42, SEAL_KEY_LEN);
		s[i].addr = (struct sockaddr_in) { .sin_family = AF_INET, .sin_port = (in_port_t)(1000 + i) };
		s[i].other = &s[!i];
	}
	boot(&s[0], &s[1]);
	boot(&s[1], &s[0]);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct side *s = *state;

	for (int i = 0; i < 2; i++) {
		peers_free(s[i].peers);
		for (size_t j = 0; j < s[i].n_sent; j++)
			free(s[i].sent[j]);
	}
	free(s);
	return 0;
}

static void meet(struct side *a, struct side *b)
{
	peers_work(a->peers, now);
	peers_work(b->peers, now);
	settle(a, b);
	assert_true(a->alive && b->alive);
}

static void say(struct side *from, const char *text)
{
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };

	peers_send(from->peers, 1, &iov, 1, now);
}

static void text_under_a_session_arrives_once(void **state)
{
	struct side *a = *state, *b = a + 1;
	size_t first;

	meet(a, b);
	first = a->n_sent;
	say(a, "one");
	say(a, "two");
	settle(a, b);
	assert_int_equal(b->packets, 2);
	assert_string_equal(b->last, "two");
	/* Neither a second time, nor with any bit changed. */
	replay(b, a, first);
	replay(b, a, first + 1);
	assert_int_equal(b->packets, 2);
	say(a, "three");
	for (size_t bit = 0; bit < 8 * a->sent[a->n_sent - 1]->len; bit++) {
		struct datagram bad = *a->sent[a->n_sent - 1];

		bad.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		peers_input(b->peers, &a->addr, bad.data, bad.len, now);
		assert_int_equal(b->packets, 2);
	}
	settle(a, b);
	assert_string_equal(b->last, "three");
}

static void no_text_travels_in_clear(void **state)
{
	struct side *a = *state, *b = a + 1;

	meet(a, b);
	say(a, "attack at dawn");
	for (size_t i = 0; i < a->n_sent; i++)
		assert_null(memmem(a->sent[i]->data, a->sent[i]->len, "attack", 6));
}

static void what_was_recorded_means_nothing_after_a_restart(void **state)
{
	struct side *a = *state, *b = a + 1;
	size_t recorded;

	meet(a, b);
	say(a, "pay 100");
	settle(a, b);
	assert_int_equal(b->packets, 1);
	recorded = a->n_sent;
	boot(b, a);
	for (size_t i = 0; i < recorded; i++)
		replay(b, a, i);
	assert_int_equal(b->packets, 1);
	/* Neither do the recorded handshakes keep the two from talking. */
	now += 1000000;
	meet(a, b);
	say(a, "hello again");
	settle(a, b);
	assert_string_equal(b->last, "hello again");
	for (size_t i = 0; i < recorded; i++)
		replay(b, a, i);
	say(a, "still here");
	settle(a, b);
	assert_string_equal(b->last, "still here");
}

static void truncation_at_every_byte(void **state)
{
	struct side *a = *state, *b = a + 1;

	meet(a, b);
	say(a, "whole");
	for (size_t i = 0; i < a->n_sent; i++) {
		for (size_t cut = 0; cut < a->sent[i]->len; cut++) {
			uint8_t *copy = malloc(cut ? cut : 1);

			memcpy(copy, a->sent[i]->data, cut);
			peers_input(b->peers, &a->addr, copy, cut, now);
			free(copy);
		}
	}
	assert_int_equal(b->packets, 0);
	settle(a, b);
	assert_string_equal(b->last, "whole");
}

static void a_revoked_host_is_not_heard(void **state)
{
	struct side *a = *state, *b = a + 1;

	meet(a, b);
	peers_hosts_begin(b->peers);
	peers_hosts_end(b->peers, now);
	assert_false(b->alive);
	say(a, "me too");
	settle(a, b);
	assert_int_equal(b->packets, 0);
	now += 1000000;
	peers_work(a->peers, now);
	settle(a, b);
	assert_false(b->alive);
}

static void a_host_with_another_key_is_not_heard(void **state)
{
	struct side *a = *state, *b = a + 1;

	/* It knows the cluster's key and a's name, but not a's secret. */
	seal_pair_random(&a->config.own);
	boot(a, b);
	peers_work(a->peers, now);
	settle(a, b);
	assert_false(b->alive);
}

static void a_silent_host_is_gone(void **state)
{
	struct side *a = *state, *b = a + 1;

	meet(a, b);
	for (int i = 0; i < 40 && b->alive; i++) {
		now += 500000;
		peers_work(b->peers, now);
	}
	assert_false(b->alive);
	b->n_delivered = b->n_sent;
	now += 1000000;
	peers_work(a->peers, now);
	settle(a, b);
	assert_true(b->alive);
}

static void packets_wait_for_a_session(void **state)
{
	struct side *a = *state, *b = a + 1;

	peers_work(b->peers, now);
	settle(a, b); /* a knows now where b is; perhaps they have met already */
	boot(a, b);
	say(a, "early");
	peers_work(a->peers, now);
	peers_work(b->peers, now += 1000000);
	settle(a, b);
	assert_string_equal(b->last, "early");
}

static void window_of_counters(void **state)
{
	struct replay w = { 0 };

	(void)state;
	assert_false(replay_test(&w, 0));
	for (uint64_t c = 1; c < 10000; c += 3) {
		assert_true(replay_test(&w, c));
		replay_mark(&w, c);
		assert_false(replay_test(&w, c));
		if (c > 1)
			assert_true(replay_test(&w, c - 1));
	}
	assert_false(replay_test(&w, w.high - SEAL_WINDOW));
	assert_true(replay_test(&w, w.high - SEAL_WINDOW + 2) || replay_test(&w, w.high - SEAL_WINDOW + 3));
	replay_mark(&w, w.high + 10 * SEAL_WINDOW);
	assert_true(replay_test(&w, w.high - 1));
	assert_false(replay_test(&w, w.high - SEAL_WINDOW));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(text_under_a_session_arrives_once, setup, teardown),
		cmocka_unit_test_setup_teardown(no_text_travels_in_clear, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_recorded_means_nothing_after_a_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(truncation_at_every_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(a_revoked_host_is_not_heard, setup, teardown),
		cmocka_unit_test_setup_teardown(a_host_with_another_key_is_not_heard, setup, teardown),
		cmocka_unit_test_setup_teardown(a_silent_host_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(packets_wait_for_a_session, setup, teardown),
		cmocka_unit_test(window_of_counters),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
