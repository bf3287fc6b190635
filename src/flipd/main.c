/* SPDX-License-Identifier: Apache-2.0 */
#include "flipd/flipd.h"

#include <argp.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "lib/keys.h"

/* How often interfaces are looked for again. */
#define SCAN_MS 5000

struct args {
	const char *etc, *run, *name, *address;
};

static const struct argp_option options[] = {
	{ "etc", 'e', "DIR", 0, "Keys and configuration (default: $GODWIT_ETC or /etc/godwit)", 0 },
	{ "run", 'r', "DIR", 0, "Where flip.sock goes (default: /run/godwit)", 0 },
	{ "name", 'n', "NAME", 0,
	  "This host's name in the cluster (default: name in godwit.conf, or the host name)", 0 },
	{ "address", 'a', "ADDR", 0, "Use only the interface with this IPv4 address", 0 },
	{ "debug", 'd', NULL, 0, "Say more", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'e':
		a->etc = arg;
		return 0;
	case 'r':
		a->run = arg;
		return 0;
	case 'n':
		a->name = arg;
		return 0;
	case 'a':
		a->address = arg;
		return 0;
	case 'd':
		log_set_level(LOG_DEBUG);
		return 0;
	case ARGP_KEY_ARG:
		argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "The network of a godwit host: FLIP and RPC for its local programs.",
};

/* --- what the cores want done --- */

static void on_transmit(void *ctx, uint32_t loc, const struct iovec *iov, int n)
{
	struct flipd *d = ctx;

	if (d->n_tracers)
		trace_packet(d, true, loc, iov, n);
	peers_send(d->peers, loc, iov, n, now_us());
}

static uint32_t on_frag(void *ctx, uint32_t loc)
{
	return net_frag(ctx, loc);
}

static void on_datagram(void *ctx, const struct sockaddr_in *to, const uint8_t *data, size_t len)
{
	net_send(ctx, to, data, len);
}

static void take_packet(struct flipd *d, uint32_t loc, bool broadcast, const uint8_t *packet, size_t len,
			uint64_t now)
{
	if (d->n_tracers) {
		struct iovec iov = { (void *)(uintptr_t)packet, len };

		trace_packet(d, false, loc, &iov, 1);
	}
	if (ports_is_lie(d, loc, packet, len)) {
		if (!d->lies++)
			log_warn("%s says that it serves another host's procd", peers_name(d->peers, loc));
		return;
	}
	flip_input(rpc_flip(d->rpc), loc, broadcast, packet, len, now);
}

struct packet_from {
	uint32_t loc;
	bool broadcast;
};

static void take_injected(void *ctx, const struct inject_from *from, uint8_t *packet, size_t len)
{
	struct packet_from f;

	memcpy(&f, from->bytes, sizeof(f));
	take_packet(ctx, f.loc, f.broadcast, packet, len, now_us());
}

static void on_packet(void *ctx, uint32_t loc, bool broadcast, const uint8_t *packet, size_t len, uint64_t now)
{
	struct packet_from f = { .loc = loc, .broadcast = broadcast };
	struct flipd *d = ctx;
	struct inject_from from = { 0 };

	if (!d->in_packets) {
		take_packet(d, loc, broadcast, packet, len, now);
		return;
	}
	memcpy(from.bytes, &f, sizeof(f));
	inject_pass(d->in_packets, &from, (uint8_t *)(uintptr_t)packet, len, take_injected, d);
}

static void on_alive(void *ctx, uint32_t loc, bool alive, uint64_t now)
{
	struct flipd *d = ctx;

	log_info("host %s is %s", peers_name(d->peers, loc), alive ? "there" : "gone");
	flip_peer_alive(rpc_flip(d->rpc), loc, alive, now);
}

static void on_spread(void *ctx, const uint8_t *data, size_t len)
{
	net_spread(ctx, data, len);
}

static void on_distance(void *ctx, uint32_t loc, uint8_t hops)
{
	struct flipd *d = ctx;

	log_debug("host %s is %u networks away", peers_name(d->peers, loc), hops);
	flip_peer_distance(rpc_flip(d->rpc), loc, hops);
}

static const struct rpc_ops rpc_ops = {
	.transmit = on_transmit,
	.frag = on_frag,
	.room = local_room,
	.request = local_request,
	.reply = local_reply,
	.cancelled = local_cancelled,
	.lost = local_lost,
};

static const struct peer_ops peer_ops = {
	.send = on_datagram,
	.spread = on_spread,
	.packet = on_packet,
	.alive = on_alive,
	.distance = on_distance,
};

/* --- the loop --- */

static void on_timer(uv_timer_t *t)
{
	struct flipd *d = t->data;

	d->timer_us = TIMERS_NEVER;
	flipd_work(d);
}

/* libuv's timers count milliseconds; a timer that is early is set again, one that is no longer needed fires in
 * vain. */
static void set_timer(struct flipd *d, uint64_t now)
{
	uint64_t next = MIN(rpc_next(d->rpc), peers_next(d->peers)), ms;

	if (next >= d->timer_us)
		return;
	ms = next > now ? (next - now + 999) / 1000 : 0;
	d->timer_us = next;
	uv_timer_start(&d->timer, on_timer, ms, 0);
}

void flipd_work(struct flipd *d)
{
	uint64_t now = now_us();

	rpc_work(d->rpc, now);
	peers_work(d->peers, now);
	local_bury(d);
	/* Whoever was closed may have left something to say. */
	rpc_work(d->rpc, now);
	net_flush(d);
	set_timer(d, now);
}

static int add_host(void *arg, const char *name, const uint8_t public[SEAL_KEY_LEN], struct err *e)
{
	struct flipd *d = arg;
	int err = peers_hosts_add(d->peers, name, public);

	if (!memcmp(public, d->peer_config.own.public, SEAL_KEY_LEN) && strcmp(name, d->name) != 0)
		log_warn("the hosts file calls this host %s, not %s", name, d->name);
	return err ? err_code(e, err, "host %s", name) : 0;
}

/* A file that cannot be read changes nothing. */
static int read_hosts(struct flipd *d, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int err = reader_read(d->reader, &text, e);

	if (err)
		return err;
	peers_hosts_begin(d->peers);
	err = keys_hosts_parse(text, "hosts", add_host, d, e);
	if (!err)
		peers_hosts_end(d->peers, now_us());
	return err;
}

static void on_signal(uv_signal_t *s, int signum)
{
	struct flipd *d = s->data;
	struct err e = { 0 };

	if (signum != SIGHUP) {
		uv_stop(&d->loop);
		return;
	}
	net_scan(d);
	if (read_hosts(d, &e) < 0)
		log_error("%s", err_text(&e));
	flipd_work(d);
}

/* Interfaces come and go. */
static void on_scan(uv_timer_t *t)
{
	net_scan(t->data);
}

static void start_signal(struct flipd *d, uv_signal_t *s, int signum)
{
	s->data = d;
	uv_signal_init(&d->loop, s);
	uv_signal_start(s, on_signal, signum);
}

static int load(struct flipd *d, const struct args *a, struct err *e)
{
	_cleanup_free_ char *conf_file = NULL, *cluster = NULL, *host = NULL;
	uint8_t secret[SEAL_KEY_LEN];
	char name[GW_HOST_MAX] = "";
	int err;

	d->etc = xstrdup(a->etc);
	d->run = xstrdup(a->run);
	conf_file = xasprintf("%s/godwit.conf", d->etc);
	cluster = xasprintf("%s/cluster.key", d->etc);
	host = xasprintf("%s/host.key", d->etc);
	err = conf_load(conf_file, &d->conf, e);
	if (err)
		return err;
	(void)gethostname(name, sizeof(name) - 1);
	d->name = xstrdup(a->name ? a->name : conf_string(d->conf, "name", name));
	if (!keys_name_ok(d->name))
		return err_set(e, -EINVAL, "'%s' cannot be a host's name", d->name);
	if (a->address || conf_string(d->conf, "address", NULL))
		d->address = xstrdup(a->address ? a->address : conf_string(d->conf, "address", NULL));
	peer_config_default(&d->peer_config);
	strcpy(d->peer_config.name, d->name);
	err = keys_read(cluster, d->peer_config.cluster, e);
	if (!err)
		err = keys_read(host, secret, e);
	if (err)
		return err == -ENOENT ? err_wrap(e, "`godwit init` makes the keys") : err;
	seal_pair_from_secret(&d->peer_config.own, secret);
	sodium_memzero(secret, sizeof(secret));
	return 0;
}

/* The window against replays lets no second copy of a datagram through: so that the protocols meet some, packets
 * are doubled and held back behind it as well. */
static int inject_start(struct flipd *d, struct err *e)
{
	const char *spec = getenv("GODWIT_NET_FAULTS");
	int err;

	if (!spec || !*spec)
		return 0;
	err = inject_new(&d->on_wire, spec, e);
	if (!err)
		err = inject_new(&d->in_packets, spec, e);
	if (err)
		return err;
	inject_no_loss(d->in_packets);
	log_warn("GODWIT_NET_FAULTS: a bad network, %s, seeds %llu and %llu", spec,
		 (unsigned long long)inject_seed(d->on_wire), (unsigned long long)inject_seed(d->in_packets));
	return 0;
}

static int start(struct flipd *d, struct err *e)
{
	uint64_t now = now_us();
	struct rpc_config c;
	int err;

	err = inject_start(d, e);
	if (err)
		return err;
	seal_prepare();
	rpc_config_default(&c);
	d->rpc = rpc_new(&c, &rpc_ops, d, now);
	d->raw = raw_new(rpc_flip(d->rpc), &raw_ops, d);
	err = net_open(d, e);
	if (err)
		return err;
	d->peers = peers_new(&d->peer_config, &peer_ops, d, now);
	err = read_hosts(d, e);
	if (!err)
		err = local_open(d, e);
	if (err)
		return err;
	d->timer_us = TIMERS_NEVER;
	d->timer.data = d;
	uv_timer_init(&d->loop, &d->timer);
	d->scan.data = d;
	uv_timer_init(&d->loop, &d->scan);
	uv_timer_start(&d->scan, on_scan, SCAN_MS, SCAN_MS);
	start_signal(d, &d->sigterm, SIGTERM);
	start_signal(d, &d->sigint, SIGINT);
	start_signal(d, &d->sighup, SIGHUP);
	net_start(d);
	local_start(d);
	d->empty = xasprintf("%s/empty", d->run);
	return sandbox_enter(d->empty, d->net.path_fd, e);
}

int main(int argc, char **argv)
{
	const char *etc = getenv("GODWIT_ETC");
	struct args a = { .etc = etc && *etc ? etc : "/etc/godwit", .run = "/run/godwit" };
	static struct flipd d;
	struct err e = { 0 };

	log_open("flipd");
	if (argp_parse(&argp, argc, argv, 0, NULL, &a) != 0 || sodium_init() < 0 || uv_loop_init(&d.loop) != 0)
		return 1;
	(void)signal(SIGPIPE, SIG_IGN);
	/* Buffers of long messages come and go: keep their pages instead of faulting them in anew each time. */
	(void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 64 << 20);
	d.reader = reader_start(a.etc, &e);
	if (d.reader < 0 || load(&d, &a, &e) < 0 || start(&d, &e) < 0) {
		log_error("%s", err_text(&e));
		return 1;
	}
	log_info("host %s, %zu interfaces, %zu configured peers%s", d.name, d.net.n_ifs, d.net.n_peers,
		 d.peer_config.forward ? ", a box between them" : "");
	flipd_work(&d);
	uv_run(&d.loop, UV_RUN_DEFAULT);
	local_close(&d);
	flipd_work(&d);
	net_close(&d);
	inject_free(d.on_wire);
	inject_free(d.in_packets);
	return 0;
}
