/* SPDX-License-Identifier: Apache-2.0 */
/* Windows, ports, capabilities, and RPC on one host; between hosts, tests/sim/rpc_sim.c does it. */
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
#include "rpc/rpc.h"
#include "rpc/window.h"

struct host {
	struct rpc *rpc;
	uint64_t now;
	unsigned requests, replies, cancelled;
	uint64_t request, cookie;
	int status;
	bool room;
};

static char server, client;
static const struct rpc_bounds anything = { .root = true };
static const struct rpc_bounds nothing; /* but what user 0 may do who is not root */

static void on_transmit(void *ctx, uint32_t loc, const struct iovec *iov, int n)
{
	(void)ctx;
	(void)loc;
	(void)iov;
	(void)n;
}

static bool on_room(void *ctx, void *owner, size_t len)
{
	struct host *h = ctx;

	(void)owner;
	(void)len;
	return h->room;
}

static void on_request(void *ctx, void *owner, uint32_t number, const struct rpc_request *r)
{
	struct host *h = ctx;

	assert_ptr_equal(owner, &server);
	(void)number;
	h->requests++;
	h->request = r->id;
}

static void on_reply(void *ctx, void *owner, uint32_t number, uint64_t cookie, int status,
		     const struct rpc_body *body)
{
	struct host *h = ctx;

	assert_ptr_equal(owner, &client);
	(void)number;
	(void)body;
	h->replies++;
	h->cookie = cookie;
	h->status = status;
}

static void on_cancelled(void *ctx, void *owner, uint64_t id)
{
	struct host *h = ctx;

	(void)owner;
	assert_true(id == h->request);
	h->cancelled++;
}

static void on_lost(void *ctx, void *owner, uint32_t number, uint32_t inc)
{
	(void)ctx;
	(void)owner;
	(void)number;
	(void)inc;
}

static const struct rpc_ops ops = {
	.transmit = on_transmit,
	.room = on_room,
	.request = on_request,
	.reply = on_reply,
	.cancelled = on_cancelled,
	.lost = on_lost,
};

static int setup(void **state)
{
	struct host *h = calloc(1, sizeof(*h));
	struct rpc_config c;

	rpc_config_default(&c);
	h->now = 10000000;
	h->room = true;
	h->rpc = rpc_new(&c, &ops, h, 0);
	*state = h;
	return 0;
}

static int teardown(void **state)
{
	struct host *h = *state;

	rpc_free(h->rpc);
	free(h);
	return 0;
}

static struct gw_port port_of(const char *name)
{
	return gw_port_from_name(name);
}

static void call(struct host *h, struct rpc_ep *ep, uint64_t cookie, const char *name)
{
	struct buf *b = buf_new(RPC_USER_HDR_LEN);
	struct rpc_body body = { .buf = b, .len = b->len };
	struct gw_port port = port_of(name);

	memset(b->data, 0, b->len);
	rpc_clock(h->rpc, h->now);
	rpc_trans(h->rpc, ep, cookie, &port, 0, 0, 1000000, &body);
	buf_unref(b);
	rpc_work(h->rpc, h->now);
}

static int answer(struct host *h)
{
	struct buf *b = buf_new(RPC_USER_HDR_LEN);
	struct rpc_body body = { .buf = b, .len = b->len };
	int err;

	memset(b->data, 0, b->len);
	err = rpc_reply(h->rpc, &server, h->request, &body);
	buf_unref(b);
	rpc_work(h->rpc, h->now);
	return err;
}

static void run(struct host *h, uint64_t us)
{
	for (uint64_t end = h->now + us; rpc_next(h->rpc) <= end;) {
		h->now = MAX(h->now, rpc_next(h->rpc));
		rpc_work(h->rpc, h->now);
	}
}

static struct rpc_ep *serve(struct host *h, const char *name)
{
	struct rpc_ep *ep = rpc_ep_new(h->rpc, 1, &server, 1);
	struct gw_port port = port_of(name);

	assert_int_equal(rpc_serve(h->rpc, ep, &port), 0);
	assert_int_equal(rpc_serve(h->rpc, ep, &port), -EEXIST);
	return ep;
}

static void a_call_is_answered_once(void **state)
{
	struct host *h = *state;
	struct rpc_ep *c = rpc_ep_new(h->rpc, 1, &client, 1);

	(void)serve(h, "x");
	call(h, c, 42, "x");
	assert_int_equal(h->requests, 1);
	assert_int_equal(h->replies, 0);
	assert_int_equal(answer(h), 0);
	assert_int_equal(answer(h), -ENOENT);
	assert_int_equal(h->replies, 1);
	assert_true(h->cookie == 42);
	assert_int_equal(h->status, GW_OK);
	run(h, 10000000);
	assert_int_equal(h->requests, 1);
	assert_int_equal(h->replies, 1);
}

struct addresses {
	flip_addr server, client;
	unsigned waiting;
};

static void note_address(void *ctx, const struct rpc_ep_info *info)
{
	struct addresses *a = ctx;

	*(info->ports ? &a->server : &a->client) = info->addr;
	a->waiting += info->waiting;
}

/* The server of the only call says that it has not got it, as a late copy of an earlier answer would. */
static void say_nak(struct host *h, const struct addresses *a)
{
	struct rpc_hdr nak = { .type = RPC_NAK, .why = RPC_WHY_LACK, .tid = 1 };
	struct flip *f = rpc_flip(h->rpc);
	struct flip_data d = { .head_len = RPC_HDR_LEN };

	rpc_hdr_encode(&nak, d.head);
	(void)flip_send(f, flip_ep_find(f, a->server), a->client, FLIP_LOC_NONE, &d, h->now);
	rpc_work(h->rpc, h->now);
}

static void a_late_denial_is_not_believed(void **state)
{
	struct host *h = *state;
	struct rpc_ep *c = rpc_ep_new(h->rpc, 1, &client, 1);
	struct addresses a = { 0 };

	(void)serve(h, "x");
	call(h, c, 1, "x");
	run(h, 2000000);
	rpc_each_ep(h->rpc, note_address, &a);
	assert_int_equal(a.waiting, 1);
	for (unsigned i = 0; i < 10; i++) {
		say_nak(h, &a);
		say_nak(h, &a);
		run(h, 100000);
	}
	assert_int_equal(h->replies, 0);
	assert_int_equal(answer(h), 0);
	assert_int_equal(h->replies, 1);
	assert_int_equal(h->status, GW_OK);
	assert_int_equal(h->requests, 1);
}

static void a_slow_server_is_waited_for(void **state)
{
	struct host *h = *state;
	struct rpc_ep *c = rpc_ep_new(h->rpc, 1, &client, 1);

	(void)serve(h, "x");
	call(h, c, 1, "x");
	run(h, 3600000000ull);
	assert_int_equal(h->replies, 0);
	assert_int_equal(answer(h), 0);
	assert_int_equal(h->status, GW_OK);
	assert_int_equal(h->requests, 1);
}

static void nobody_there_is_notfound_and_a_server_that_dies_is_failure(void **state)
{
	struct host *h = *state;
	struct rpc_ep *c = rpc_ep_new(h->rpc, 1, &client, 1);

	call(h, c, 1, "x");
	run(h, 1000);
	assert_int_equal(h->status, GW_NOTFOUND);
	(void)serve(h, "x");
	call(h, c, 2, "x");
	assert_int_equal(h->requests, 1);
	rpc_owner_gone(h->rpc, &server);
	run(h, 1000);
	assert_int_equal(h->replies, 2);
	assert_int_equal(h->status, GW_FAILURE);
}

static void a_reply_outlives_its_server(void **state)
{
	struct host *h = *state;
	struct rpc_ep *c = rpc_ep_new(h->rpc, 1, &client, 1);
	struct buf *b = buf_new(RPC_USER_HDR_LEN);
	struct rpc_body body = { .buf = b, .len = b->len };

	memset(b->data, 0, b->len);
	(void)serve(h, "x");
	call(h, c, 2, "x");
	assert_int_equal(rpc_reply(h->rpc, &server, h->request, &body), 0);
	rpc_owner_gone(h->rpc, &server);
	buf_unref(b);
	run(h, 1000);
	assert_int_equal(h->status, GW_OK);
	assert_int_equal(h->replies, 1);
}

static void cancel_before_and_after_delivery(void **state)
{
	struct host *h = *state;
	struct rpc_ep *c = rpc_ep_new(h->rpc, 1, &client, 1);

	(void)serve(h, "x");
	call(h, c, 1, "x");
	rpc_cancel(h->rpc, c, 1, false);
	rpc_work(h->rpc, h->now);
	assert_int_equal(h->cancelled, 1);
	assert_int_equal(h->replies, 0);
	assert_int_equal(answer(h), 0);
	assert_int_equal(h->status, GW_OK);
	call(h, c, 2, "x");
	rpc_cancel(h->rpc, c, 2, true);
	rpc_work(h->rpc, h->now);
	assert_int_equal(answer(h), 0);
	assert_int_equal(h->replies, 1);
}

static void a_full_server_makes_wait_then_tryagain(void **state)
{
	struct host *h = *state;
	struct rpc_ep *c = rpc_ep_new(h->rpc, 1, &client, 1);

	(void)serve(h, "x");
	h->room = false;
	call(h, c, 1, "x");
	run(h, 500000);
	assert_int_equal(h->replies, 0);
	h->room = true;
	run(h, 500000);
	assert_int_equal(h->requests, 1);
	h->room = false;
	call(h, c, 2, "x");
	run(h, 3000000);
	assert_int_equal(h->status, GW_TRYAGAIN);
	assert_int_equal(h->requests, 1);
}

static void a_taken_endpoint_keeps_callers_waiting(void **state)
{
	struct host *h = *state;
	struct rpc_ep *c = rpc_ep_new(h->rpc, 1, &client, 1), *s = serve(h, "x");
	struct buf *blob = NULL;

	call(h, c, 1, "x");
	assert_int_equal(answer(h), 0);
	assert_int_equal(rpc_ep_take(h->rpc, s, false, &blob), 0);
	assert_int_equal(rpc_ep_take(h->rpc, s, false, &blob), -EBUSY);
	call(h, c, 2, "x");
	run(h, 120000000);
	assert_int_equal(h->replies, 1);
	assert_int_equal(h->requests, 1);
	assert_int_equal(rpc_ep_resume(h->rpc, s), 0);
	run(h, 1000);
	assert_int_equal(h->requests, 2);
	buf_unref(blob);
}

/* A blob comes from another host: whatever its bytes are, it is refused or it works. */
static void damaged_blobs_are_refused_or_harmless(void **state)
{
	struct host *h = *state;
	struct rpc_ep *s = serve(h, "x"), *c = rpc_ep_new(h->rpc, 1, &client, 1), *got;
	struct buf *blob = NULL;
	uint32_t x = 4711;

	for (uint64_t i = 1; i < 4; i++)
		call(h, c, i, "x");
	assert_int_equal(rpc_ep_take(h->rpc, s, false, &blob), 0);
	rpc_owner_gone(h->rpc, &server);
	rpc_owner_gone(h->rpc, &client);
	for (size_t cut = 0; cut < blob->len; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);

		memcpy(copy, blob->data, cut);
		assert_int_not_equal(rpc_ep_install(h->rpc, copy, cut, &anything, &server, 1, &got), 0);
		free(copy);
	}
	assert_int_equal(rpc_ep_install(h->rpc, blob->data, blob->len, &nothing, &server, 1, &got), -EACCES);
	for (int i = 0; i < 3000; i++) {
		uint8_t *copy = malloc(blob->len);

		memcpy(copy, blob->data, blob->len);
		for (int k = 0; k < 3; k++) {
			x = x * 1664525 + 1013904223;
			copy[(x >> 8) % blob->len] = (uint8_t)(x >> 24);
		}
		if (rpc_ep_install(h->rpc, copy, blob->len, &anything, &server, 1, &got) == 0)
			assert_non_null(got);
		free(copy);
		rpc_owner_gone(h->rpc, &server);
		run(h, 1000);
	}
	buf_unref(blob);
}

/* Whoever writes the bytes of an endpoint must not become somebody else by them. */
static void a_blob_speaks_for_its_user_only(void **state)
{
	struct rpc_bounds user = { .uid = 1000, .gid = 1000 };
	struct host *h = *state;
	struct rpc_ep *c = rpc_ep_new(h->rpc, 1, &client, 1), *got;
	struct buf *blob = NULL;

	(void)serve(h, "x");
	call(h, c, 1, "x"); /* as user 0 */
	assert_int_equal(rpc_ep_take(h->rpc, c, false, &blob), 0);
	rpc_owner_gone(h->rpc, &client);
	assert_int_equal(rpc_ep_install(h->rpc, blob->data, blob->len, &user, &client, 2, &got), -EACCES);
	user.uid = 0;
	assert_int_equal(rpc_ep_install(h->rpc, blob->data, blob->len, &user, &client, 2, &got), -EACCES);
	user.gid = 0;
	assert_int_equal(rpc_ep_install(h->rpc, blob->data, blob->len, &user, &client, 2, &got), 0);
	buf_unref(blob);
}

static void a_blob_serves_the_port_it_was_given(void **state)
{
	struct rpc_bounds one = { .port = port_of("y") };
	struct host *h = *state;
	struct rpc_ep *s = serve(h, "x"), *got;
	struct buf *blob = NULL;

	assert_int_equal(rpc_ep_take(h->rpc, s, false, &blob), 0);
	rpc_owner_gone(h->rpc, &server);
	assert_int_equal(rpc_ep_install(h->rpc, blob->data, blob->len, &one, &server, 2, &got), -EACCES);
	one.port = port_of("x");
	assert_int_equal(rpc_ep_install(h->rpc, blob->data, blob->len, &one, &server, 2, &got), 0);
	buf_unref(blob);
}

static void window_marks_each_number_once(void **state)
{
	struct rpc_window w = { 0 };

	(void)state;
	assert_int_equal(rpc_window_test(&w, 5), RPC_NOT_BEGUN);
	rpc_window_mark(&w, 5);
	assert_int_equal(rpc_window_test(&w, 5), RPC_BEGUN);
	assert_int_equal(rpc_window_test(&w, 4), RPC_NOT_BEGUN);
	rpc_window_mark(&w, 4);
	rpc_window_mark(&w, 5 + RPC_WINDOW - 1);
	assert_int_equal(rpc_window_test(&w, 5), RPC_BEGUN);
	assert_int_equal(rpc_window_test(&w, 4), RPC_TOO_OLD);
	assert_int_equal(rpc_window_test(&w, 100), RPC_NOT_BEGUN);
	rpc_window_mark(&w, 1ull << 40);
	assert_int_equal(rpc_window_test(&w, 5), RPC_TOO_OLD);
	assert_int_equal(rpc_window_test(&w, (1ull << 40) - 1), RPC_NOT_BEGUN);
	assert_int_equal(rpc_window_test(&w, (1ull << 40) - RPC_WINDOW), RPC_TOO_OLD);
}

static void ports_and_capabilities(void **state)
{
	struct gw_port get, put, again;
	struct gw_cap cap, weak, weaker;
	uint8_t secret[GW_CHECK_LEN];
	uint32_t rights;

	(void)state;
	gw_port_random(&get);
	gw_port_publish(&get, &put);
	gw_port_publish(&put, &again);
	assert_memory_not_equal(&get, &put, sizeof(put));
	assert_memory_not_equal(&again, &put, sizeof(put));
	assert_false(gw_port_is_well_known(&get) || gw_port_is_well_known(&put));
	get = gw_port_from_name("procd@h1");
	gw_port_publish(&get, &put);
	assert_memory_equal(&get, &put, sizeof(put));
	assert_true(gw_port_is_well_known(&get));
	gw_secret_random(secret);
	cap.port = put;
	gw_private_make(&cap.priv, 7, GW_RIGHTS_ALL, secret);
	assert_int_equal(gw_private_check(&cap.priv, secret, &rights), GW_OK);
	assert_int_equal(gw_cap_restrict(&cap, 3, &weak), GW_OK);
	assert_int_equal(gw_private_check(&weak.priv, secret, &rights), GW_OK);
	assert_int_equal(rights, 3);
	assert_int_equal(gw_cap_restrict(&weak, 1, &weaker), GW_STD_DENIED);
	weak.priv.rights = 7;
	assert_int_equal(gw_private_check(&weak.priv, secret, &rights), GW_STD_CAPBAD);
	weak.priv.rights = 3;
	weak.priv.object = 8;
	assert_int_equal(gw_private_check(&weak.priv, secret, &rights), GW_STD_CAPBAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_call_is_answered_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_late_denial_is_not_believed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slow_server_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_there_is_notfound_and_a_server_that_dies_is_failure, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_reply_outlives_its_server, setup, teardown),
		cmocka_unit_test_setup_teardown(cancel_before_and_after_delivery, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_server_makes_wait_then_tryagain, setup, teardown),
		cmocka_unit_test_setup_teardown(a_taken_endpoint_keeps_callers_waiting, setup, teardown),
		cmocka_unit_test_setup_teardown(a_blob_speaks_for_its_user_only, setup, teardown),
		cmocka_unit_test_setup_teardown(a_blob_serves_the_port_it_was_given, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_blobs_are_refused_or_harmless, setup, teardown),
		cmocka_unit_test(window_marks_each_number_once),
		cmocka_unit_test(ports_and_capabilities),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
