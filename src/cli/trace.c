/* SPDX-License-Identifier: Apache-2.0 */
/* godwit trace: the packets of this host's flipd, decoded, as they come and go. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "base/wire.h"
#include "cli/cli.h"
#include "cli/rpc.h"
#include "flip/packet.h"
#include "rpc/header.h"

struct args {
	bool json, beacons;
	const char *host;
	uint64_t count;
};

struct trace {
	struct args args;
	uint64_t shown, lost;
	bool done, gone;
};

static const struct argp_option options[] = {
	{ "count", 'c', "N", 0, "stop after N packets", 0 },
	{ "host", 'H', "HOST", 0, "only packets to and from that host (broadcasts are for all)", 0 },
	{ "json", 'j', NULL, 0, "one object a packet, one a line", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;
	char *end;

	switch (key) {
	case 'c':
		a->count = strtoull(arg, &end, 10);
		if (*end || !a->count)
			argp_error(state, "'%s' is not a number of packets", arg);
		return 0;
	case 'H':
		a->host = arg;
		return 0;
	case 'j':
		a->json = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is not an option", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Shows the messages that this host's flipd sends (>) and receives (<), as FLIP "
	       "and RPC mean them, until it is interrupted.\v"
	       "Messages between programs of this host never become packets and are not shown. "
	       "Needs root."
};

/* The RPC header is in the first fragment of a message that carries data. */
static bool rpc_of(const struct gwc_traced *t, const struct flip_hdr *h, struct rpc_hdr *ret)
{
	return h->type == FLIP_UNIDATA && !(h->flags & FLIP_F_RAW) && !h->offset &&
	       t->n >= FLIP_HDR_LEN + RPC_HDR_LEN &&
	       rpc_hdr_decode(ret, t->bytes + FLIP_HDR_LEN, t->n - FLIP_HDR_LEN) == 0;
}

#define PORT_HEX_MAX (2 * GW_PORT_LEN + 1)

static const char *port_hex(const struct gw_port *port, char hex[static PORT_HEX_MAX])
{
	return sodium_bin2hex(hex, PORT_HEX_MAX, port->bytes, GW_PORT_LEN);
}

/* The port that a LOCATE or HEREIS is about. */
static bool port_of(const struct gwc_traced *t, const struct flip_hdr *h, struct gw_port *ret)
{
	if (!(h->flags & FLIP_F_PORT) || t->n < FLIP_HDR_LEN + GW_PORT_LEN)
		return false;
	memcpy(ret->bytes, t->bytes + FLIP_HDR_LEN, GW_PORT_LEN);
	return true;
}

/* The group that a message is for: its first bytes. */
static bool group_of(const struct gwc_traced *t, const struct flip_hdr *h, uint64_t *ret)
{
	struct wire_in w = wire_in(t->bytes, t->n);

	(void)wire_skip(&w, FLIP_HDR_LEN);
	*ret = wire_get_u64(&w);
	return h->type == FLIP_MULTIDATA && !h->offset && !w.bad;
}

static void print_json(const struct gwc_traced *t, const struct flip_hdr *h)
{
	json_t *o = json_object();
	char hex[PORT_HEX_MAX];
	struct gw_port port;
	struct rpc_hdr r;
	uint64_t group;

	json_object_set_new(o, "at_us", json_integer((json_int_t)t->at_us));
	json_object_set_new(o, "sent", json_boolean(t->sent));
	json_object_set_new(o, "host", json_string(t->host));
	json_object_set_new(o, "type", json_string(flip_type_name(h->type)));
	json_object_set_new(o, "source", json_sprintf("%016" PRIx64, h->src));
	json_object_set_new(o, "destination", json_sprintf("%016" PRIx64, h->dst));
	json_object_set_new(o, "message", json_integer(h->messid));
	json_object_set_new(o, "offset", json_integer(h->offset));
	json_object_set_new(o, "length", json_integer(h->length));
	json_object_set_new(o, "total", json_integer(h->total));
	json_object_set_new(o, "hops", json_integer(h->hops));
	json_object_set_new(o, "incarnation", json_integer(h->src_inc));
	json_object_set_new(o, "raw", json_boolean(h->flags & FLIP_F_RAW));
	if (group_of(t, h, &group))
		json_object_set_new(o, "group", json_sprintf("%016" PRIx64, group));
	if (port_of(t, h, &port))
		json_object_set_new(o, "port", json_string(port_hex(&port, hex)));
	if (rpc_of(t, h, &r)) {
		json_object_set_new(o, "rpc", json_string(rpc_type_name(r.type)));
		json_object_set_new(o, "transaction", json_integer((json_int_t)r.tid));
		if (r.type == RPC_REQUEST) {
			json_object_set_new(o, "port", json_string(port_hex(&r.port, hex)));
			json_object_set_new(o, "uid", json_integer(r.uid));
		}
	}
	(void)json_dumpf(o, stdout, JSON_COMPACT);
	(void)fputc('\n', stdout);
	json_decref(o);
}

static const char *why_word(unsigned why)
{
	static const char *const words[] = { "", " (lacks it)", " (port not served)", " (too busy)" };

	return why < ARRAY_LEN(words) ? words[why] : " (?)";
}

static void print_rpc(const struct rpc_hdr *r)
{
	char hex[PORT_HEX_MAX];

	printf("  %s%s%s %" PRIu64, r->type == RPC_REQUEST && r->flags & RPC_F_RETRANS ? "again " : "",
	       rpc_type_name(r->type), r->flags & RPC_F_REPLY ? " of reply" : "", r->tid);
	if (r->type == RPC_NAK)
		printf("%s", why_word(r->why));
	if (r->type == RPC_ENQUIRE && r->flags & RPC_F_SIGTRANS)
		printf(" (please stop)");
	if (r->type == RPC_REQUEST)
		printf(" port %.8s.. uid %u", port_hex(&r->port, hex), r->uid);
}

static void print_line(const struct gwc_traced *t, const struct flip_hdr *h)
{
	time_t seconds = (time_t)(t->at_us / 1000000);
	char hex[PORT_HEX_MAX], clock[16];
	struct gw_port port;
	struct rpc_hdr r;
	uint64_t group;
	struct tm tm;

	(void)strftime(clock, sizeof clock, "%H:%M:%S", localtime_r(&seconds, &tm));
	printf("%s.%06" PRIu64 " %c %-8s %-7s %08" PRIx64 "->%08" PRIx64 " %u", clock, t->at_us % 1000000,
	       t->sent ? '>' : '<', *t->host ? t->host : "*", flip_type_name(h->type), h->src >> 32, h->dst >> 32,
	       h->messid);
	if (h->flags & FLIP_F_GROUP)
		printf("  of the group");
	else if (h->type == FLIP_UNIDATA && h->flags & FLIP_F_RAW)
		printf("  raw, %u bytes", h->total);
	if (group_of(t, h, &group))
		printf("  to group %08" PRIx64, group >> 32);
	if ((h->type == FLIP_UNIDATA || h->type == FLIP_MULTIDATA) && h->total > h->length)
		printf("  [%u+%u of %u]", h->offset, h->length, h->total);
	if (h->type == FLIP_HEREIS)
		printf("  life %u%s", h->src_inc, h->flags & FLIP_F_ANNOUNCE ? ", announced" : "");
	if (port_of(t, h, &port))
		printf("  port %.8s..", port_hex(&port, hex));
	if (rpc_of(t, h, &r))
		print_rpc(&r);
	(void)fputc('\n', stdout);
}

static void on_traced(void *user, const struct gwc_traced *t)
{
	struct trace *x = user;
	struct flip_hdr h;

	x->lost += t->left_out;
	if (x->done || flip_hdr_peek(&h, t->bytes, t->n) < 0 ||
	    (x->args.host && *t->host && strcmp(t->host, x->args.host) != 0))
		return;
	if (x->args.json)
		print_json(t, &h);
	else
		print_line(t, &h);
	x->shown++;
	x->done = x->args.count && x->shown >= x->args.count;
}

static void on_disconnected(void *user)
{
	struct trace *x = user;

	x->gone = true;
}

static const struct gwc_ops ops = { .traced = on_traced, .disconnected = on_disconnected };

int cmd_trace(int argc, char **argv)
{
	struct trace x = { 0 };
	struct err e = { 0 };
	struct gwc *c;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &x.args);
	r = gwc_open(NULL, &ops, &x, &c, &e);
	if (r < 0)
		return cli_fail(CLI_FAILED, "trace: %s", err_text(&e));
	r = gwc_trace(c);
	while (r >= 0 && !x.done && !x.gone) {
		(void)fflush(stdout);
		r = gwc_wait(c, -1);
		r = r == -EINTR ? 0 : r;
	}
	gwc_close(c);
	(void)fflush(stdout);
	if (x.lost)
		(void)fprintf(stderr, "%" PRIu64 " packets came too fast to be shown\n", x.lost);
	if (x.gone && !x.shown)
		return cli_fail(CLI_FAILED, "trace: flipd has hung up: only root may see everybody's messages");
	return x.gone ? cli_fail(CLI_FAILED, "trace: flipd has gone") : CLI_OK;
}
