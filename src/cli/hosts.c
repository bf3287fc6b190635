/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/rpc.h"

static const struct argp_option options[] = {
	{ "json", 'j', NULL, 0, "one array of objects", 0 },
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

static const struct argp argp = { .options = options,
				  .parser = parse,
				  .doc = "Lists the hosts of the cluster and how busy they are." };

static json_t *host_json(const char *name, bool self, const cli_reply *reply)
{
	json_t *o = json_object();
	const Godwit__Procd__LoadInfo *l = reply ? reply->load : NULL;

	json_object_set_new(o, "host", json_string(name));
	json_object_set_new(o, "state", json_string(l ? "up" : "down"));
	json_object_set_new(o, "self", json_boolean(self));
	if (!l)
		return o;
	json_object_set_new(o, "cpus", json_integer(l->cpus));
	json_object_set_new(o, "load1_milli", json_integer((json_int_t)l->load1_milli));
	json_object_set_new(o, "load5_milli", json_integer((json_int_t)l->load5_milli));
	json_object_set_new(o, "load15_milli", json_integer((json_int_t)l->load15_milli));
	json_object_set_new(o, "memory_total", json_integer((json_int_t)l->memory_total));
	json_object_set_new(o, "memory_available", json_integer((json_int_t)l->memory_available));
	json_object_set_new(o, "processes", json_integer(l->processes));
	json_object_set_new(o, "jobs", json_integer(l->jobs));
	json_object_set_new(o, "kernel", json_string(l->kernel));
	json_object_set_new(o, "version", json_string(l->version));
	return o;
}

static void print_host(const char *name, bool self, const cli_reply *reply)
{
	const Godwit__Procd__LoadInfo *l = reply ? reply->load : NULL;
	char free_text[CLI_TEXT_MAX], total[CLI_TEXT_MAX];

	if (!l)
		printf("%-16s%c down\n", name, self ? '*' : ' ');
	else
		printf("%-16s%c up    %5u %4u %6.2f %12s %12s  %s\n", name, self ? '*' : ' ', l->jobs, l->cpus,
		       (double)l->load1_milli / 1000, cli_size(l->memory_available, free_text),
		       cli_size(l->memory_total, total), l->kernel);
}

static int show(struct cli *c, bool json, char *const *hosts, size_t n, cli_reply **replies)
{
	json_t *list = json_array();

	if (!json)
		printf("%-17s %-5s %5s %4s %6s %12s %12s  %s\n", "HOST", "STATE", "JOBS", "CPUS", "LOAD", "FREE",
		       "MEMORY", "KERNEL");
	for (size_t i = 0; i < n; i++) {
		bool self = !strcmp(hosts[i], c->host);

		if (replies[i] && replies[i]->result_case != GODWIT__PROCD__REPLY__RESULT_LOAD)
			cli_reply_free(&replies[i]);
		if (json)
			json_array_append_new(list, host_json(hosts[i], self, replies[i]));
		else
			print_host(hosts[i], self, replies[i]);
	}
	if (json)
		return cli_print_json(list);
	json_decref(list);
	return CLI_OK;
}

int cmd_hosts(int argc, char **argv)
{
	Godwit__Procd__Load load = GODWIT__PROCD__LOAD__INIT;
	CLI_REQUEST(req, LOAD, load, &load);
	_cleanup_hosts_ char **hosts = NULL;
	struct err e = { 0 }, *errs;
	cli_reply **replies;
	bool json = false;
	struct cli c;
	size_t n = 0;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &json);
	if (cli_open(&c, &e) < 0 || cli_hosts(&c, &hosts, &n, &e) < 0)
		return cli_fail(CLI_FAILED, "hosts: %s", err_text(&e));
	replies = xcalloc(n + 1, sizeof *replies);
	errs = xcalloc(n + 1, sizeof *errs);
	r = cli_ask_hosts(&c, hosts, n, &req, replies, errs, &e);
	r = r < 0 ? cli_fail(CLI_FAILED, "hosts: %s", err_text(&e)) : show(&c, json, hosts, n, replies);
	for (size_t i = 0; i < n; i++)
		cli_reply_free(&replies[i]);
	free(replies);
	free(errs);
	cli_close(&c);
	return r;
}
