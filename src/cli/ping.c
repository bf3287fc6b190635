/* SPDX-License-Identifier: Apache-2.0 */
/* godwit ping: how long a transaction with a host's process server, or with a job's, takes; wherever the job goes.
 */
#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/rpc.h"

#define COUNT_DEFAULT 5u
#define COUNT_MAX 1000000u
#define INTERVAL_MS 1000u

struct args {
	const char *whom;
	unsigned count, interval_ms;
	bool json;
};

struct pings {
	uint64_t *us;
	size_t n, failed;
	char host[GW_HOST_MAX], first_host[GW_HOST_MAX];
	bool moved;
};

static volatile sig_atomic_t interrupted;

static const struct argp_option options[] = {
	{ "count", 'c', "N", 0, "how often (default: 5)", 0 },
	{ "interval", 'i', "MS", 0, "how long between two, in milliseconds (default: 1000)", 0 },
	{ "json", 'j', NULL, 0, "one object, at the end", 0 },
	{ 0 },
};

static unsigned number_arg(struct argp_state *state, const char *arg, unsigned min)
{
	char *end;
	unsigned long n = strtoul(arg, &end, 10);

	if (*end || n < min || n > COUNT_MAX)
		argp_error(state, "'%s' is not a number from %u to %u", arg, min, COUNT_MAX);
	return (unsigned)n;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'c':
		a->count = number_arg(state, arg, 1);
		return 0;
	case 'i':
		a->interval_ms = number_arg(state, arg, 0);
		return 0;
	case 'j':
		a->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (a->whom)
			argp_error(state, "one host or job");
		a->whom = arg;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which host or job?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "HOST|JOB",
	.doc = "Times transactions with a host's process server, or with that of a job, wherever "
	       "that is.\v"
	       "A name that is both is taken for the host's. Exit status 1 if none was answered."
};

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

static bool is_host(struct cli *c, const char *name)
{
	_cleanup_hosts_ char **hosts = NULL;
	struct err e = { 0 };
	size_t n = 0;

	if (cli_hosts(c, &hosts, &n, &e) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!strcmp(hosts[i], name))
			return true;
	return false;
}

/* Notes where the answer came from. */
static void note_host(struct pings *p, const cli_reply *r, bool host, const char *whom)
{
	const char *from = host ? whom : r->result_case == GODWIT__PROCD__REPLY__RESULT_JOB ? r->job->host : "";

	if (*p->host && strcmp(p->host, from) != 0)
		p->moved = true;
	(void)snprintf(p->host, sizeof p->host, "%s", from);
	if (!*p->first_host)
		(void)snprintf(p->first_host, sizeof p->first_host, "%s", from);
}

static void ping_once(struct cli *c, const struct args *a, bool host, struct pings *p)
{
	Godwit__Procd__Load load = GODWIT__PROCD__LOAD__INIT;
	Godwit__Procd__Info info = GODWIT__PROCD__INFO__INIT;
	CLI_REQUEST(to_host, LOAD, load, &load);
	CLI_REQUEST(to_job, INFO, info, &info);
	_cleanup_free_ char *port = host ? cli_port_host(a->whom) : cli_port_job(a->whom);
	_cleanup_reply_ cli_reply *reply = NULL;
	uint64_t began = now_us(), us;
	struct err e = { 0 };
	char text[CLI_TEXT_MAX];

	if (cli_ask(c, port, host ? &to_host : &to_job, &reply, &e) < 0) {
		p->failed++;
		if (!a->json)
			printf("%s: %s\n", a->whom, err_text(&e));
		return;
	}
	us = now_us() - began;
	p->us[p->n++] = us;
	note_host(p, reply, host, a->whom);
	if (!a->json)
		printf("%s answers from %s: %s\n", a->whom, p->host, cli_time(us, text));
	(void)fflush(stdout);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int report(const struct args *a, struct pings *p)
{
	char low[CLI_TEXT_MAX], middle[CLI_TEXT_MAX], high[CLI_TEXT_MAX];
	json_t *o;

	if (p->n)
		qsort(p->us, p->n, sizeof *p->us, compare);
	if (a->json) {
		o = json_object();
		json_object_set_new(o, "name", json_string(a->whom));
		json_object_set_new(o, "host", json_string(p->host));
		json_object_set_new(o, "moved", json_boolean(p->moved));
		json_object_set_new(o, "answered", json_integer((json_int_t)p->n));
		json_object_set_new(o, "failed", json_integer((json_int_t)p->failed));
		if (p->n) {
			json_object_set_new(o, "min_us", json_integer((json_int_t)p->us[0]));
			json_object_set_new(o, "median_us", json_integer((json_int_t)p->us[p->n / 2]));
			json_object_set_new(o, "max_us", json_integer((json_int_t)p->us[p->n - 1]));
		}
		return cli_print_json(o) == CLI_OK && p->n ? CLI_OK : CLI_FAILED;
	}
	printf("%zu of %zu answered", p->n, p->n + p->failed);
	if (p->n)
		printf(": fastest %s, median %s, slowest %s", cli_time(p->us[0], low),
		       cli_time(p->us[p->n / 2], middle), cli_time(p->us[p->n - 1], high));
	if (p->moved)
		printf("; it moved from %s to %s meanwhile", p->first_host, p->host);
	printf("\n");
	return p->n ? CLI_OK : CLI_FAILED;
}

int cmd_ping(int argc, char **argv)
{
	struct args a = { .count = COUNT_DEFAULT, .interval_ms = INTERVAL_MS };
	struct sigaction act = { .sa_handler = on_interrupt };
	struct pings p = { 0 };
	struct err e = { 0 };
	struct cli c;
	bool host;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	if (cli_open(&c, &e) < 0)
		return cli_fail(CLI_FAILED, "ping: %s", err_text(&e));
	(void)sigaction(SIGINT, &act, NULL);
	p.us = xcalloc(a.count, sizeof *p.us);
	host = is_host(&c, a.whom);
	for (unsigned i = 0; i < a.count && !interrupted; i++) {
		struct timespec t = { .tv_sec = a.interval_ms / 1000, .tv_nsec = a.interval_ms % 1000 * 1000000L };

		if (i)
			(void)nanosleep(&t, NULL);
		if (!interrupted)
			ping_once(&c, &a, host, &p);
	}
	cli_close(&c);
	r = report(&a, &p);
	free(p.us);
	return r;
}
