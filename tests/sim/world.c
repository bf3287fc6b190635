/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/util.h"

/* How long it takes until hosts notice that one is gone or there. */
#define NOTICE_GONE_US 8000000u
#define NOTICE_THERE_US 20000u

struct host {
	struct world *w;
	uint32_t number;
	uint32_t boots;
	bool up;
	struct rpc *rpc;
};

struct event {
	struct timer timer;
	enum { EV_PACKET = 1, EV_WAKE, EV_NOTICE } kind;
	uint32_t from, to;
	uint32_t from_boots;
	bool broadcast, alive;
	uint64_t cookie;
	size_t len;
	uint8_t data[];
};

struct world {
	uint64_t now_us, state;
	uint64_t packets;
	uint32_t n;
	struct world_net net;
	const struct world_app *app;
	void *ctx;
	struct timers events;
	struct host hosts[WORLD_HOSTS_MAX + 1];
	bool cut[WORLD_HOSTS_MAX + 1][WORLD_HOSTS_MAX + 1];
};

/* splitmix64 */
static uint64_t draw(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15u;
	return hash_u64(*state);
}

/* libsodium's generator has no context to pass a world in. */
static uint64_t sodium_state;

static const char *sodium_name(void)
{
	return "world";
}

static uint32_t sodium_random(void)
{
	return (uint32_t)draw(&sodium_state);
}

static void sodium_buf(void *const buf, const size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)buf)[i] = (uint8_t)draw(&sodium_state);
}

static struct randombytes_implementation implementation = {
	.implementation_name = sodium_name,
	.random = sodium_random,
	.buf = sodium_buf,
};

uint64_t world_random(struct world *w, uint64_t n)
{
	return n ? draw(&w->state) % n : 0;
}

bool world_chance(struct world *w, double p)
{
	return (double)(draw(&w->state) >> 11) / 9007199254740992.0 < p;
}

static void fire(struct timer *t, void *ctx, uint64_t now_us);

static struct event *event_new(struct world *w, int kind, uint64_t after_us, size_t len)
{
	struct event *e = xcalloc(1, sizeof(*e) + len);

	e->kind = kind;
	e->len = len;
	e->timer.fire = fire;
	timers_arm(&w->events, &e->timer, w->now_us + after_us);
	return e;
}

static void send_one(struct host *h, uint32_t to, bool broadcast, const struct iovec *iov, int n)
{
	struct world *w = h->w;
	size_t len = 0;
	int copies = 1 + world_chance(w, w->net.duplicate);

	w->packets++;
	if (w->cut[h->number][to])
		return;
	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	while (copies--) {
		struct event *e;
		size_t at = 0;

		if (world_chance(w, w->net.loss))
			continue;
		e = event_new(w, EV_PACKET, w->net.delay_us + world_random(w, w->net.jitter_us + 1), len);
		e->from = h->number;
		e->from_boots = h->boots;
		e->to = to;
		e->broadcast = broadcast;
		for (int i = 0; i < n; i++) {
			memcpy(e->data + at, iov[i].iov_base, iov[i].iov_len);
			at += iov[i].iov_len;
		}
	}
}

static void on_transmit(void *ctx, uint32_t loc, const struct iovec *iov, int n)
{
	struct host *h = ctx;

	if (loc != FLIP_LOC_ALL) {
		send_one(h, loc, false, iov, n);
		return;
	}
	for (uint32_t to = 1; to <= h->w->n; to++) {
		if (to != h->number)
			send_one(h, to, true, iov, n);
	}
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

	h->w->app->request(h->w->ctx, h->number, owner, number, r);
}

static void on_reply(void *ctx, void *owner, uint32_t number, uint64_t cookie, int status,
		     const struct rpc_body *body)
{
	struct host *h = ctx;

	h->w->app->reply(h->w->ctx, h->number, owner, number, cookie, status, body);
}

static void on_lost(void *ctx, void *owner, uint32_t number, uint32_t inc)
{
	struct host *h = ctx;

	if (h->w->app->lost)
		h->w->app->lost(h->w->ctx, h->number, owner, number, inc);
}

static void on_cancelled(void *ctx, void *owner, uint64_t id)
{
	struct host *h = ctx;

	if (h->w->app->cancelled)
		h->w->app->cancelled(h->w->ctx, h->number, owner, id);
}

static const struct rpc_ops ops = {
	.transmit = on_transmit,
	.room = on_room,
	.request = on_request,
	.reply = on_reply,
	.cancelled = on_cancelled,
	.lost = on_lost,
};

static void notice(struct world *w, uint32_t host, bool alive, uint64_t after_us)
{
	for (uint32_t to = 1; to <= w->n; to++) {
		struct event *e;

		if (to == host)
			continue;
		e = event_new(w, EV_NOTICE, after_us, 0);
		e->from = host;
		e->from_boots = w->hosts[host].boots;
		e->to = to;
		e->alive = alive;
	}
}

void world_boot(struct world *w, uint32_t host)
{
	struct host *h = &w->hosts[host];
	struct rpc_config c;

	rpc_config_default(&c);
	h->boots++;
	h->up = true;
	h->rpc = rpc_new(&c, &ops, h, w->now_us);
	for (uint32_t other = 1; other <= w->n; other++) {
		if (other != host && w->hosts[other].up)
			flip_peer_alive(rpc_flip(h->rpc), other, true, w->now_us);
	}
	notice(w, host, true, NOTICE_THERE_US);
}

void world_crash(struct world *w, uint32_t host)
{
	struct host *h = &w->hosts[host];

	h->up = false;
	rpc_free(h->rpc);
	h->rpc = NULL;
	notice(w, host, false, NOTICE_GONE_US);
}

bool world_up(const struct world *w, uint32_t host)
{
	return w->hosts[host].up;
}

struct world *world_new(uint64_t seed, uint32_t hosts, const struct world_net *net, const struct world_app *app,
			void *ctx)
{
	struct world *w = xcalloc(1, sizeof(*w));

	sodium_state = seed ^ 0x5eed;
	(void)randombytes_set_implementation(&implementation);
	if (sodium_init() < 0)
		abort();
	w->state = seed;
	w->n = hosts;
	w->net = *net;
	w->app = app;
	w->ctx = ctx;
	w->now_us = 1000000;
	for (uint32_t i = 1; i <= hosts; i++) {
		w->hosts[i].w = w;
		w->hosts[i].number = i;
		world_boot(w, i);
	}
	return w;
}

void world_free(struct world *w)
{
	while (w->events.n) {
		struct event *e = container_of(w->events.heap[0], struct event, timer);

		timers_disarm(&w->events, &e->timer);
		free(e);
	}
	timers_done(&w->events);
	for (uint32_t i = 1; i <= w->n; i++)
		rpc_free(w->hosts[i].rpc);
	free(w);
}

uint64_t world_now(const struct world *w)
{
	return w->now_us;
}

struct rpc *world_rpc(struct world *w, uint32_t host)
{
	/* Whoever acts from outside acts now. */
	rpc_work(w->hosts[host].rpc, w->now_us);
	return w->hosts[host].rpc;
}

void world_net(struct world *w, const struct world_net *net)
{
	w->net = *net;
}

void world_cut(struct world *w, uint32_t a, uint32_t b, bool cut)
{
	w->cut[a][b] = w->cut[b][a] = cut;
}

void world_wake(struct world *w, uint64_t after_us, uint64_t cookie)
{
	event_new(w, EV_WAKE, after_us, 0)->cookie = cookie;
}

uint64_t world_packets(const struct world *w)
{
	return w->packets;
}

static void fire(struct timer *t, void *ctx, uint64_t now_us)
{
	struct event *e = container_of(t, struct event, timer);
	struct world *w = ctx;
	struct host *h = &w->hosts[e->to];

	switch (e->kind) {
	case EV_PACKET:
		/* Sessions end with the boot of either side: so nothing older arrives. */
		if (h->up && w->hosts[e->from].boots == e->from_boots) {
			flip_input(rpc_flip(h->rpc), e->from, e->broadcast, e->data, e->len, now_us);
			rpc_work(h->rpc, now_us);
		}
		break;
	case EV_NOTICE:
		if (h->up && w->hosts[e->from].boots == e->from_boots && w->hosts[e->from].up == e->alive) {
			flip_peer_alive(rpc_flip(h->rpc), e->from, e->alive, now_us);
			rpc_work(h->rpc, now_us);
		}
		break;
	case EV_WAKE:
		w->app->wake(w->ctx, e->cookie);
		break;
	}
	free(e);
}

static uint64_t next_event(const struct world *w)
{
	uint64_t next = timers_next(&w->events);

	for (uint32_t i = 1; i <= w->n; i++) {
		if (w->hosts[i].up)
			next = MIN(next, rpc_next(w->hosts[i].rpc));
	}
	return next;
}

bool world_run(struct world *w, uint64_t for_us, bool (*done)(void *ctx))
{
	uint64_t end = w->now_us + for_us;

	while (!done || !done(w->ctx)) {
		uint64_t next = next_event(w);

		if (next > end)
			return false;
		w->now_us = MAX(w->now_us, next);
		for (uint32_t i = 1; i <= w->n; i++) {
			if (w->hosts[i].up && rpc_next(w->hosts[i].rpc) <= w->now_us)
				rpc_work(w->hosts[i].rpc, w->now_us);
		}
		if (timers_next(&w->events) <= w->now_us) {
			struct timer *t = w->events.heap[0];

			timers_disarm(&w->events, t);
			t->fire(t, w, w->now_us);
		}
	}
	return true;
}

uint64_t world_seed(int argc, char **argv)
{
	const char *text = argc > 1 ? argv[1] : getenv("GODWIT_SEED");
	struct timespec t;
	uint64_t seed;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	seed = text && *text ? strtoull(text, NULL, 0) : (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
	printf("# seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}
