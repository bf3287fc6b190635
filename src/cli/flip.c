/* SPDX-License-Identifier: Apache-2.0 */
/* godwit flip: what this host's flipd has. */
#include <argp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/rpc.h"

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "one object", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	bool *json = state->input;

	if (key == 'j') {
		*json = true;
		return 0;
	}
	if (key == ARGP_KEY_ARG)
		argp_error(state, "'%s' is not an option", arg);
	return key == ARGP_KEY_ARG ? 0 : ARGP_ERR_UNKNOWN;
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Shows the network as this host's flipd has it: hosts, addresses of local programs, ports, "
	       "where other addresses are, and what it has counted.\v"
	       "Root sees everything, others what is theirs."
};

/* Hosts, endpoints, ports, routes and counters, as JSON: what is printed is made of the same. */
struct shown {
	json_t *root, *hosts, *endpoints, *ports, *routes, *counters;
	bool listed, table, counted;
	int result;
};

static json_t *address_json(uint64_t address)
{
	return json_sprintf("%016llx", (unsigned long long)address);
}

static json_t *port_json(const struct gw_port *port)
{
	char hex[2 * GW_PORT_LEN + 1];

	return json_string(sodium_bin2hex(hex, sizeof hex, port->bytes, GW_PORT_LEN));
}

static json_t *endpoint_json(const struct gwc_row *r)
{
	json_t *o = json_object();

	json_object_set_new(o, "address", address_json(r->address));
	json_object_set_new(o, "incarnation", json_integer(r->incarnation));
	json_object_set_new(o, "state", json_string(r->ghost ? "gone" : r->busy ? "moving" : "up"));
	json_object_set_new(o, "uid", r->uid == (uid_t)-1 ? json_null() : json_integer(r->uid));
	json_object_set_new(o, "kind", json_string(r->raw ? "raw" : "rpc"));
	json_object_set_new(o, r->raw ? "groups" : "ports", json_integer(r->ports));
	json_object_set_new(o, "calling", json_integer(r->calling));
	json_object_set_new(o, "locating", json_integer(r->locating));
	json_object_set_new(o, "waiting", json_integer(r->waiting));
	json_object_set_new(o, "sending", json_integer(r->sending));
	json_object_set_new(o, "unread", json_integer(r->unread));
	json_object_set_new(o, "serving", json_integer(r->held));
	json_object_set_new(o, "answered", json_integer(r->replied));
	json_object_set_new(o, "clients", json_integer(r->clients));
	return o;
}

static void add_row(struct shown *s, const struct gwc_row *r)
{
	json_t *o;

	if (r->kind == GWC_ROW_ENDPOINT) {
		json_array_append_new(s->endpoints, endpoint_json(r));
		return;
	}
	o = json_object();
	if (r->kind == GWC_ROW_PORT) {
		json_object_set_new(o, "port", port_json(&r->port));
		json_object_set_new(o, "address", address_json(r->address));
		json_object_set_new(o, "here", json_boolean(r->here));
		json_array_append_new(s->ports, o);
	} else {
		json_object_set_new(o, "address", address_json(r->address));
		json_object_set_new(o, "host", json_string(r->host));
		json_object_set_new(o, "incarnation", json_integer(r->incarnation));
		json_array_append_new(s->routes, o);
	}
}

static void on_table(void *arg, int result, const struct gwc_row *rows, size_t n)
{
	struct shown *s = arg;

	s->table = true;
	s->result = result ? result : s->result;
	for (size_t i = 0; i < n; i++)
		add_row(s, &rows[i]);
}

static void on_counters(void *arg, int result, const struct gwc_counter *counters, size_t n)
{
	struct shown *s = arg;

	s->counted = true;
	s->result = result ? result : s->result;
	for (size_t i = 0; i < n; i++)
		json_object_set_new(s->counters, counters[i].name, json_integer((json_int_t)counters[i].value));
}

static void on_hosts(void *arg, int result, const struct gwc_host *hosts, size_t n)
{
	struct shown *s = arg;

	s->listed = true;
	s->result = result ? result : s->result;
	for (size_t i = 0; i < n; i++) {
		json_t *o = json_object();

		json_object_set_new(o, "host", json_string(hosts[i].name));
		json_object_set_new(o, "state", json_string(hosts[i].alive ? "up" : "gone"));
		json_object_set_new(o, "hops", json_integer(hosts[i].hops));
		json_object_set_new(o, "via", *hosts[i].via ? json_string(hosts[i].via) : json_null());
		json_object_set_new(o, "network_address", json_string(hosts[i].address));
		json_array_append_new(s->hosts, o);
	}
}

static long long number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static void print_hosts(const json_t *list)
{
	printf("%-16s %-5s %5s %-16s %s\n", "HOST", "STATE", "HOPS", "VIA", "NETWORK ADDRESS");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *o = json_array_get(list, i);
		const char *via = text(o, "via");

		printf("%-16s %-5s %5lld %-16s %s\n", text(o, "host"), text(o, "state"), number(o, "hops"),
		       via ? via : "-", text(o, "network_address"));
	}
}

static void print_endpoints(const json_t *list)
{
	printf("\n%-16s %5s %-6s %6s %-4s %6s %7s %7s %8s %7s\n", "ADDRESS", "LIFE", "STATE", "UID", "KIND",
	       "LISTEN", "CALLING", "SERVING", "ANSWERED", "CLIENTS");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *o = json_array_get(list, i);
		char uid[24] = "-";

		if (json_is_integer(json_object_get(o, "uid")))
			(void)snprintf(uid, sizeof uid, "%lld", number(o, "uid"));
		printf("%-16s %5lld %-6s %6s %-4s %6lld %7lld %7lld %8lld %7lld\n", text(o, "address"),
		       number(o, "incarnation"), text(o, "state"), uid, text(o, "kind"),
		       number(o, json_object_get(o, "groups") ? "groups" : "ports"), number(o, "calling"),
		       number(o, "serving"), number(o, "answered"), number(o, "clients"));
	}
}

static void print_ports(const json_t *list)
{
	printf("\n%-32s %-16s %s\n", "PORT", "ADDRESS", "SERVED");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *o = json_array_get(list, i);

		printf("%-32s %-16s %s\n", text(o, "port"), text(o, "address"),
		       json_is_true(json_object_get(o, "here")) ? "here" : "elsewhere");
	}
}

static void print_routes(const json_t *list)
{
	printf("\n%-16s %-16s %5s\n", "ADDRESS", "HOST", "LIFE");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *o = json_array_get(list, i);

		printf("%-16s %-16s %5lld\n", text(o, "address"), text(o, "host"), number(o, "incarnation"));
	}
}

static void print(const struct shown *s)
{
	print_hosts(s->hosts);
	print_endpoints(s->endpoints);
	print_ports(s->ports);
	print_routes(s->routes);
	printf("\n");
	for (void *at = json_object_iter(s->counters); at; at = json_object_iter_next(s->counters, at))
		printf("%-26s %12lld\n", json_object_iter_key(at),
		       (long long)json_integer_value(json_object_iter_value(at)));
}

static int fetch(struct cli *c, struct shown *s)
{
	int r = gwc_hosts(c->gwc, on_hosts, s);

	if (!r)
		r = cli_wait_flipd(c->gwc, &s->listed);
	if (!r)
		r = gwc_table(c->gwc, on_table, s);
	if (!r)
		r = cli_wait_flipd(c->gwc, &s->table);
	if (!r)
		r = gwc_counters(c->gwc, on_counters, s);
	if (!r)
		r = cli_wait_flipd(c->gwc, &s->counted);
	return r ? r : s->result;
}

int cmd_flip(int argc, char **argv)
{
	struct shown s = { .root = json_object() };
	struct err e = { 0 };
	bool json = false;
	struct cli c;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &json);
	if (cli_open(&c, &e) < 0)
		return cli_fail(CLI_FAILED, "flip: %s", err_text(&e));
	json_object_set_new(s.root, "host", json_string(c.host));
	json_object_set_new(s.root, "hosts", s.hosts = json_array());
	json_object_set_new(s.root, "endpoints", s.endpoints = json_array());
	json_object_set_new(s.root, "ports", s.ports = json_array());
	json_object_set_new(s.root, "routes", s.routes = json_array());
	json_object_set_new(s.root, "counters", s.counters = json_object());
	r = fetch(&c, &s);
	cli_close(&c);
	if (r < 0) {
		json_decref(s.root);
		return cli_fail(CLI_FAILED, "flip: flipd does not answer: %s", strerror(-r));
	}
	if (json)
		return cli_print_json(s.root);
	print(&s);
	json_decref(s.root);
	return CLI_OK;
}
