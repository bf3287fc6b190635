/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RPC under a bad network. Counter servers, whose one operation is not idempotent, wander between hosts while
 * clients call them; packets are lost, doubled and reordered; in some runs hosts crash and links are cut. A server
 * leaves what it holds to its old home, as procd does, or is a program that moves as a whole and answers it later,
 * from where it is then.
 *
 * Always: a transaction is executed at most once, GW_OK means that it was, with the right reply, and GW_NOTFOUND
 * means that it was not. Without crashes and cuts: every transaction ends with GW_OK, however often its server or
 * its client moves meanwhile. One line of TAP for each scenario; the seed replays it: rpc_sim SEED, or
 * GODWIT_SEED.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "base/wire.h"
#include "world.h"

#define SERVERS 6u
#define CLIENTS 10u
#define CALLS 60u
#define BODY_MAX 40000u
#define PROGRAM_HOMES 256u

struct scenario {
	const char *name;
	uint32_t hosts;
	struct world_net net;
	bool moves, faults, clients_move, whole;
};

/* wake cookies: what << 56 | a << 32 | b */
enum wake {
	WAKE_CLIENT = 1,
	WAKE_REPLY,
	WAKE_MOVE,
	WAKE_INSTALL,
	WAKE_CLOSE,
	WAKE_FAULT,
	WAKE_HEAL,
	WAKE_CLIENT_MOVE,
	WAKE_CLIENT_INSTALL,
};

struct server {
	uint32_t home, number; /* of its endpoint; home 0: lost with a host */
	uint32_t to, boots;    /* where it is moving, and its home's life when it began */
	uint32_t homes;
	uint32_t life; /* of a program: the next begins when a host takes it along */
	bool moving, fails;
	struct buf *blob;
};

struct call {
	uint64_t executed;
	int status;
	bool begun, ended;
};

struct client {
	uint32_t home, number;
	uint32_t next, under_way, to;
	struct buf *blob; /* while it moves */
	struct call calls[CALLS];
};

struct held {
	uint32_t host, boots;
	uint32_t server, life; /* of a program */
	void *owner;	       /* unless it is a program */
	uint64_t id;
	struct buf *reply;
	size_t len;
};

struct sim {
	const struct scenario *s;
	struct world *w;
	struct gw_port ports[SERVERS];
	struct server servers[SERVERS];
	struct client clients[CLIENTS];
	struct held *held;
	uint32_t n_held, ended, numbers, boots[WORLD_HOSTS_MAX + 1];
	uint64_t n_ok, n_notfound, n_failure, n_moves;
	char error[256];
};

/* Owners are only names: one per host, as if it were that host's procd, and one for all clients; or one for each
 * home of a server that is a program. */
static char owners[WORLD_HOSTS_MAX + 1], programs[SERVERS][PROGRAM_HOMES];
static const struct rpc_bounds anything = { .root = true }, nothing;

static void *owner_of(const struct sim *sim, uint32_t server, uint32_t host)
{
	return sim->s->whole ? &programs[server][sim->servers[server].homes % PROGRAM_HOMES] : &owners[host];
}

static void wake_in(struct sim *sim, uint64_t us, enum wake what, uint64_t a, uint64_t b)
{
	world_wake(sim->w, us, (uint64_t)what << 56 | a << 32 | b);
}

static void wrong(struct sim *sim, const char *what, uint32_t c, uint32_t n)
{
	if (!*sim->error)
		snprintf(sim->error, sizeof(sim->error), "%s (client %u, call %u, at %lu us)", what, c, n,
			 (unsigned long)world_now(sim->w));
}

/* The data of a request, which is also its reply: who and which, then bytes that depend on both. */
static size_t make_body(uint8_t *p, uint32_t c, uint32_t n, size_t len)
{
	struct wire_out w = wire_out(p, RPC_USER_HDR_LEN + 8);

	memset(p, 0, RPC_USER_HDR_LEN);
	w.len = RPC_USER_HDR_LEN;
	wire_put_u32(&w, c);
	wire_put_u32(&w, n);
	for (size_t i = w.len; i < len; i++)
		p[i] = (uint8_t)(c * 31 + n * 7 + i * 13);
	return len;
}

static size_t body_len(uint32_t c, uint32_t n)
{
	uint64_t h = hash_u64((uint64_t)c << 32 | n);

	return RPC_USER_HDR_LEN + 8 + (h % 4 ? h % 500 : h % BODY_MAX);
}

static bool body_ok(const struct rpc_body *b, uint32_t *c, uint32_t *n)
{
	uint8_t want[RPC_USER_HDR_LEN + 8 + BODY_MAX];
	struct wire_in w = wire_in(b->buf->data + b->off, b->len);

	(void)wire_skip(&w, RPC_USER_HDR_LEN);
	*c = wire_get_u32(&w);
	*n = wire_get_u32(&w);
	return !w.bad && *c < CLIENTS && *n < CALLS && b->len == body_len(*c, *n) &&
	       !memcmp(want, b->buf->data + b->off, make_body(want, *c, *n, b->len));
}

static void on_request(void *ctx, uint32_t host, void *owner, uint32_t number, const struct rpc_request *r)
{
	struct sim *sim = ctx;
	struct held *h;
	uint32_t c, n;

	(void)number;
	if (!body_ok(&r->body, &c, &n)) {
		wrong(sim, "a request arrived damaged", 0, 0);
		return;
	}
	if (sim->clients[c].calls[n].executed++)
		wrong(sim, "executed twice", c, n);
	sim->held = xrealloc(sim->held, (sim->n_held + 1) * sizeof(*sim->held));
	h = &sim->held[sim->n_held];
	*h = (struct held) { .host = host, .boots = sim->boots[host], .owner = owner, .id = r->id };
	if (sim->s->whole) {
		h->server = (uint32_t)((char *)owner - programs[0]) / PROGRAM_HOMES;
		h->life = sim->servers[h->server].life;
	}
	h->reply = buf_copy(r->body.buf->data + r->body.off, r->body.len);
	h->len = r->body.len;
	wake_in(sim, world_chance(sim->w, 0.1) ? world_random(sim->w, 2000000) : world_random(sim->w, 500),
		WAKE_REPLY, 0, sim->n_held++);
}

static void reply_now(struct sim *sim, uint32_t i)
{
	struct held *h = &sim->held[i];
	const struct server *s = &sim->servers[h->server];
	struct rpc_body body = { .buf = h->reply, .len = h->len };

	if (sim->s->whole && s->moving) {
		wake_in(sim, 1000, WAKE_REPLY, 0, i); /* it is stopped */
		return;
	}
	if (sim->s->whole)
		h->host = s->life == h->life ? s->home : 0;
	if (sim->s->whole && h->host && world_up(sim->w, h->host)) {
		if (rpc_reply(world_rpc(sim->w, h->host), owner_of(sim, h->server, h->host), h->id, &body) < 0)
			wrong(sim, "a request is not known any more", 0, 0);
	} else if (!sim->s->whole && world_up(sim->w, h->host) && sim->boots[h->host] == h->boots)
		(void)rpc_reply(world_rpc(sim->w, h->host), h->owner, h->id, &body);
	buf_unref(h->reply);
	h->reply = NULL;
}

static void on_reply(void *ctx, uint32_t host, void *owner, uint32_t number, uint64_t cookie, int status,
		     const struct rpc_body *body)
{
	uint32_t c = (uint32_t)(cookie >> 32), n = (uint32_t)cookie, bc, bn;
	struct sim *sim = ctx;
	struct call *call = &sim->clients[c].calls[n];

	(void)host;
	(void)owner;
	(void)number;
	if (status == RPC_MOVED)
		return;
	if (call->ended)
		wrong(sim, "ended twice", c, n);
	call->ended = true;
	call->status = status;
	sim->ended++;
	sim->clients[c].under_way--;
	wake_in(sim, world_random(sim->w, 20000), WAKE_CLIENT, c, 0);
	if (status == GW_OK) {
		sim->n_ok++;
		if (!body_ok(body, &bc, &bn) || bc != c || bn != n)
			wrong(sim, "a wrong reply", c, n);
		if (!call->executed)
			wrong(sim, "a reply without execution", c, n);
	} else if (status == GW_NOTFOUND) {
		sim->n_notfound++;
	} else {
		sim->n_failure++;
	}
	if (status != GW_OK && !sim->s->faults)
		wrong(sim, gw_strerror(status), c, n);
}

static void client_go(struct sim *sim, uint32_t c)
{
	struct client *client = &sim->clients[c];

	while (!client->blob && client->next < CALLS && client->under_way < 4) {
		uint32_t n = client->next++;
		struct buf *buf = buf_new(body_len(c, n));
		struct rpc_body body = { .buf = buf, .len = buf->len };
		struct rpc *r = world_rpc(sim->w, client->home);
		struct rpc_ep *ep = rpc_ep_find(r, &owners[0], client->number);

		make_body(buf->data, c, n, buf->len);
		client->under_way++;
		client->calls[n].begun = true;
		rpc_trans(r, ep, (uint64_t)c << 32 | n, &sim->ports[world_random(sim->w, SERVERS)], 0, 0,
			  FLIP_LOCATE_DEFAULT_US, &body);
		buf_unref(buf);
	}
}

static uint32_t some_host(struct sim *sim)
{
	return 1 + (uint32_t)world_random(sim->w, sim->s->hosts);
}

static void server_start(struct sim *sim, uint32_t i)
{
	struct server *s = &sim->servers[i];
	struct rpc_ep *ep;

	s->home = some_host(sim);
	s->life++;
	s->number = ++sim->numbers;
	if (!world_up(sim->w, s->home)) {
		s->home = 0;
		return;
	}
	ep = rpc_ep_new(world_rpc(sim->w, s->home), 1, owner_of(sim, i, s->home), s->number);
	if (rpc_serve(world_rpc(sim->w, s->home), ep, &sim->ports[i]) < 0)
		wrong(sim, "cannot serve", 0, 0);
}

static void move_begin(struct sim *sim, uint32_t i)
{
	struct server *s = &sim->servers[i];
	struct rpc_ep *ep;
	struct rpc *r;

	wake_in(sim, 20000 + world_random(sim->w, 200000), WAKE_MOVE, i, 0);
	if (s->moving || !s->home || !world_up(sim->w, s->home))
		return;
	s->to = some_host(sim);
	if (s->to == s->home || !world_up(sim->w, s->to))
		return;
	r = world_rpc(sim->w, s->home);
	ep = rpc_ep_find(r, owner_of(sim, i, s->home), s->number);
	if (!ep || rpc_ep_take(r, ep, sim->s->whole, &s->blob) < 0)
		return;
	s->moving = true;
	s->boots = sim->boots[s->home];
	s->fails = world_chance(sim->w, 0.2);
	sim->n_moves++;
	wake_in(sim, 500 + world_random(sim->w, world_chance(sim->w, 0.05) ? 30000000 : 50000), WAKE_INSTALL, i,
		0);
}

static void move_end(struct sim *sim, uint32_t i)
{
	struct server *s = &sim->servers[i];
	uint32_t number = ++sim->numbers;
	struct rpc_ep *ep;
	struct rpc *r;

	if (!world_up(sim->w, s->home) || sim->boots[s->home] != s->boots) {
		/* The source died before the commit: the server died with it. */
		s->home = 0;
		server_start(sim, i);
	} else if (s->fails || !world_up(sim->w, s->to)) {
		r = world_rpc(sim->w, s->home);
		ep = rpc_ep_find(r, owner_of(sim, i, s->home), s->number);
		if (!ep || rpc_ep_resume(r, ep) < 0)
			wrong(sim, "cannot resume", 0, 0);
	} else if (s->homes++, rpc_ep_install(world_rpc(sim->w, s->to), s->blob->data, s->blob->len, &anything,
					      owner_of(sim, i, s->to), number, &ep) < 0) {
		wrong(sim, "cannot install", 0, 0);
	} else {
		world_rpc(sim->w, s->to);
		wake_in(sim, world_random(sim->w, 30000), WAKE_CLOSE, (uint64_t)s->home << 8 | sim->boots[s->home],
			s->number);
		s->home = s->to;
		s->number = number;
	}
	buf_unref(s->blob);
	s->blob = NULL;
	s->moving = false;
}

/* A client takes its transactions along and gets their replies where it is then. */
static void client_move(struct sim *sim, uint32_t c)
{
	struct client *client = &sim->clients[c];
	struct rpc *r = world_rpc(sim->w, client->home);

	wake_in(sim, 50000 + world_random(sim->w, 300000), WAKE_CLIENT_MOVE, c, 0);
	if (client->blob)
		return;
	client->to = some_host(sim);
	if (rpc_ep_take(r, rpc_ep_find(r, &owners[0], client->number), false, &client->blob) < 0)
		wrong(sim, "a client cannot be taken", c, 0);
	else
		wake_in(sim, 500 + world_random(sim->w, 50000), WAKE_CLIENT_INSTALL, c, 0);
}

static void client_install(struct sim *sim, uint32_t c)
{
	struct client *client = &sim->clients[c];
	uint32_t number = ++sim->numbers;
	struct rpc *r = world_rpc(sim->w, client->home), *to = world_rpc(sim->w, client->to);
	struct rpc_ep *ep;

	if (world_chance(sim->w, 0.2)) {
		if (rpc_ep_resume(r, rpc_ep_find(r, &owners[0], client->number)) < 0)
			wrong(sim, "a client cannot resume", c, 0);
	} else if (rpc_ep_install(to, client->blob->data, client->blob->len, &nothing, &owners[0], number, &ep) <
		   0) {
		wrong(sim, "a client cannot be installed", c, 0);
	} else {
		rpc_ep_close(r, rpc_ep_find(r, &owners[0], client->number));
		client->home = client->to;
		client->number = number;
		sim->n_moves++;
	}
	buf_unref(client->blob);
	client->blob = NULL;
	client_go(sim, c);
}

static void old_home_close(struct sim *sim, uint32_t host, uint32_t boots, uint32_t number)
{
	struct rpc_ep *ep;

	if (!world_up(sim->w, host) || sim->boots[host] != boots)
		return;
	for (uint32_t i = 0; sim->s->whole && i < SERVERS * PROGRAM_HOMES; i++) {
		ep = rpc_ep_find(world_rpc(sim->w, host), &programs[0][i], number);
		if (ep)
			rpc_ep_close(world_rpc(sim->w, host), ep);
	}
	ep = rpc_ep_find(world_rpc(sim->w, host), &owners[host], number);
	if (ep)
		rpc_ep_close(world_rpc(sim->w, host), ep);
}

/* Clients live on host 1, which never fails, so that every end is seen. */
static void fault(struct sim *sim)
{
	uint32_t a = 2 + (uint32_t)world_random(sim->w, sim->s->hosts - 1), b = some_host(sim);

	wake_in(sim, 300000 + world_random(sim->w, 3000000), WAKE_FAULT, 0, 0);
	if (world_chance(sim->w, 0.5)) {
		if (!world_up(sim->w, a))
			return;
		world_crash(sim->w, a);
		for (uint32_t i = 0; i < SERVERS; i++) {
			if (sim->servers[i].home == a && !sim->servers[i].moving)
				sim->servers[i].home = 0;
		}
		wake_in(sim, 100000 + world_random(sim->w, 20000000), WAKE_HEAL, a, 0);
	} else if (a != b) {
		world_cut(sim->w, a, b, true);
		wake_in(sim, 100000 + world_random(sim->w, 20000000), WAKE_HEAL, a, b);
	}
}

static void heal(struct sim *sim, uint32_t a, uint32_t b)
{
	if (b) {
		world_cut(sim->w, a, b, false);
		return;
	}
	sim->boots[a]++;
	world_boot(sim->w, a);
	for (uint32_t i = 0; i < SERVERS; i++) {
		if (!sim->servers[i].home && !sim->servers[i].moving)
			server_start(sim, i);
	}
}

static void on_wake(void *ctx, uint64_t cookie)
{
	uint32_t a = (uint32_t)(cookie >> 32 & 0xffffff), b = (uint32_t)cookie;
	struct sim *sim = ctx;

	switch ((enum wake)(cookie >> 56)) {
	case WAKE_CLIENT:
		client_go(sim, a);
		break;
	case WAKE_REPLY:
		reply_now(sim, b);
		break;
	case WAKE_MOVE:
		move_begin(sim, a);
		break;
	case WAKE_INSTALL:
		move_end(sim, a);
		break;
	case WAKE_CLOSE:
		old_home_close(sim, a >> 8, a & 0xff, b);
		break;
	case WAKE_FAULT:
		fault(sim);
		break;
	case WAKE_HEAL:
		heal(sim, a, b);
		break;
	case WAKE_CLIENT_MOVE:
		client_move(sim, a);
		break;
	case WAKE_CLIENT_INSTALL:
		client_install(sim, a);
		break;
	}
}

static bool done(void *ctx)
{
	const struct sim *sim = ctx;

	return sim->ended == CLIENTS * CALLS || *sim->error;
}

static const struct world_app app = { .request = on_request, .reply = on_reply, .wake = on_wake };

static void start(struct sim *sim)
{
	for (uint32_t i = 0; i < SERVERS; i++) {
		struct gw_port get;

		gw_port_random(&get);
		gw_port_publish(&get, &sim->ports[i]);
		server_start(sim, i);
		if (sim->s->moves)
			wake_in(sim, world_random(sim->w, 200000), WAKE_MOVE, i, 0);
	}
	for (uint32_t c = 0; c < CLIENTS; c++) {
		sim->clients[c].home = sim->s->faults ? 1 : some_host(sim);
		sim->clients[c].number = ++sim->numbers;
		rpc_ep_new(world_rpc(sim->w, sim->clients[c].home), 1, &owners[0], sim->clients[c].number);
		wake_in(sim, world_random(sim->w, 20000), WAKE_CLIENT, c, 0);
		if (sim->s->clients_move)
			wake_in(sim, world_random(sim->w, 300000), WAKE_CLIENT_MOVE, c, 0);
	}
	if (sim->s->faults)
		wake_in(sim, 100000, WAKE_FAULT, 0, 0);
}

static void check(struct sim *sim)
{
	for (uint32_t c = 0; c < CLIENTS; c++) {
		for (uint32_t n = 0; n < CALLS; n++) {
			const struct call *call = &sim->clients[c].calls[n];

			if (!call->ended)
				wrong(sim, "never ended", c, n);
			else if (call->status == GW_NOTFOUND && call->executed)
				wrong(sim, "executed, though not found", c, n);
			else if (call->status == GW_OK && call->executed != 1)
				wrong(sim, "executed, but not once", c, n);
		}
	}
}

static bool run(const struct scenario *s, uint64_t seed, int number)
{
	struct sim *sim = xcalloc(1, sizeof(*sim));
	bool ok;

	sim->s = s;
	sim->w = world_new(seed, s->hosts, &s->net, &app, sim);
	start(sim);
	(void)world_run(sim->w, 900000000, done);
	/* Late copies may still be under way. */
	(void)world_run(sim->w, 5000000, NULL);
	check(sim);
	ok = !*sim->error;
	printf("%sok %d - %s: %lu done, %lu not found, %lu failed, %lu moves, %lu packets, %lu ms\n",
	       ok ? "" : "not ", number, s->name, (unsigned long)sim->n_ok, (unsigned long)sim->n_notfound,
	       (unsigned long)sim->n_failure, (unsigned long)sim->n_moves, (unsigned long)world_packets(sim->w),
	       (unsigned long)(world_now(sim->w) / 1000));
	if (!ok)
		printf("# %s; replay with seed %lu\n", sim->error, (unsigned long)seed);
	for (uint32_t i = 0; i < sim->n_held; i++)
		buf_unref(sim->held[i].reply);
	for (uint32_t i = 0; i < SERVERS; i++)
		buf_unref(sim->servers[i].blob);
	for (uint32_t c = 0; c < CLIENTS; c++)
		buf_unref(sim->clients[c].blob);
	world_free(sim->w);
	free(sim->held);
	free(sim);
	return ok;
}

int main(int argc, char **argv)
{
	static const struct scenario scenarios[] = {
		{ .name = "a perfect network", .hosts = 4, .net = { 0, 0, 50, 0 } },
		{ .name = "loss", .hosts = 4, .net = { 0.05, 0, 50, 0 } },
		{ .name = "loss, duplication, reordering", .hosts = 6, .net = { 0.05, 0.05, 50, 2000 } },
		{ .name = "servers that move", .hosts = 6, .net = { 0, 0, 50, 100 }, .moves = true },
		{ .name = "servers that move, loss, duplication, reordering",
		  .hosts = 6,
		  .net = { 0.05, 0.05, 50, 2000 },
		  .moves = true },
		{ .name = "clients that move", .hosts = 6, .net = { 0, 0, 50, 100 }, .clients_move = true },
		{ .name = "everybody moves, loss, duplication, reordering",
		  .hosts = 6,
		  .net = { 0.05, 0.05, 50, 2000 },
		  .moves = true,
		  .clients_move = true },
		{ .name = "crashes and cut links", .hosts = 6, .net = { 0.01, 0.01, 50, 500 }, .faults = true },
		{ .name = "crashes, cut links and moves, all at once",
		  .hosts = 8,
		  .net = { 0.02, 0.02, 50, 1000 },
		  .moves = true,
		  .faults = true },
		{ .name = "a hundred hosts, everybody moves, loss, duplication, reordering",
		  .hosts = 100,
		  .net = { 0.05, 0.05, 50, 2000 },
		  .moves = true,
		  .clients_move = true },
		{ .name = "three hundred hosts, servers that move, loss, duplication, reordering",
		  .hosts = 300,
		  .net = { 0.05, 0.05, 50, 2000 },
		  .moves = true },
		{ .name = "three hundred hosts, crashes, cut links and moves",
		  .hosts = 300,
		  .net = { 0.02, 0.02, 50, 1000 },
		  .moves = true,
		  .faults = true },
		{ .name = "programs that serve move",
		  .hosts = 6,
		  .net = { 0, 0, 50, 100 },
		  .moves = true,
		  .whole = true },
		{ .name = "programs move, loss, duplication, reordering",
		  .hosts = 6,
		  .net = { 0.05, 0.05, 50, 2000 },
		  .moves = true,
		  .clients_move = true,
		  .whole = true },
		{ .name = "programs move, crashes and cut links",
		  .hosts = 8,
		  .net = { 0.02, 0.02, 50, 1000 },
		  .moves = true,
		  .faults = true,
		  .whole = true },
	};
	uint64_t seed = world_seed(argc, argv);
	unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 1;
	bool ok = true;
	int number = 0;

	printf("1..%zu\n", ARRAY_LEN(scenarios) * rounds);
	for (unsigned r = 0; r < rounds; r++) {
		for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
			ok &= run(&scenarios[i], seed + r, ++number);
	}
	return ok ? 0 : 1;
}
