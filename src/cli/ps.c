/* SPDX-License-Identifier: Apache-2.0 */
#include <argp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/jobs.h"
#include "cli/rpc.h"

struct args {
	bool all;
	bool json;
	const char *host;
};

static const struct argp_option options[] = {
	{ "all", 'a', NULL, 0, "jobs that have ended too", 0 },
	{ "host", 'H', "HOST", 0, "only those of that host", 0 },
	{ "json", 'j', NULL, 0, "one array of objects", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'a':
		a->all = true;
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

static const struct argp argp = { .options = options, .parser = parse, .doc = "Lists the jobs of all hosts." };

static const char *user_name(uint32_t uid, char text[16])
{
	struct passwd *pw = getpwuid(uid);

	snprintf(text, 16, "%u", uid);
	return pw ? pw->pw_name : text;
}

static void print_job(const Godwit__Procd__Job *job)
{
	_cleanup_free_ char *command = job_command(job);
	_cleanup_free_ char *state = NULL;
	char size[CLI_TEXT_MAX], uid[16];

	if (job->exited)
		state = xasprintf("exited %d", job_exit_status(job->exited));
	else if (*job->destination)
		state = xasprintf("%s %s %s", job_state_name(job->state),
				  job->state == GODWIT__PROCD__STATE__ARRIVING ? "from" : "to", job->destination);
	else
		state = xstrdup(job_state_name(job->state));
	printf("%-16s %-10s %8d %-10s %-14s %5llu %9s  %.60s\n", job->name, job->host, job->pid,
	       user_name(job->uid, uid), state, (unsigned long long)job->moves, cli_size(job->memory, size),
	       command);
}

/* During a move both hosts know the job: the one that it comes from tells more. */
static bool is_shown(const Godwit__Procd__Job *job, cli_reply *const *replies, size_t n)
{
	if (job->state != GODWIT__PROCD__STATE__ARRIVING)
		return true;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; replies[i] && k < replies[i]->jobs->n_jobs; k++)
			if (replies[i]->jobs->jobs[k] != job &&
			    !strcmp(replies[i]->jobs->jobs[k]->name, job->name))
				return false;
	return true;
}

static int show(const struct args *a, cli_reply **replies, size_t n)
{
	json_t *list = json_array();

	if (!a->json)
		printf("%-16s %-10s %8s %-10s %-14s %5s %9s  %s\n", "JOB", "HOST", "PID", "USER", "STATE", "MOVES",
		       "MEMORY", "COMMAND");
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; replies[i] && k < replies[i]->jobs->n_jobs; k++) {
			const Godwit__Procd__Job *job = replies[i]->jobs->jobs[k];

			if (!is_shown(job, replies, n))
				continue;
			if (a->json)
				json_array_append_new(list, job_json(job));
			else
				print_job(job);
		}
	}
	if (a->json)
		return cli_print_json(list);
	json_decref(list);
	return CLI_OK;
}

static int ask_and_show(struct cli *c, const struct args *a, char *const *hosts, size_t n, struct err *e)
{
	Godwit__Procd__List list = GODWIT__PROCD__LIST__INIT;
	CLI_REQUEST(req, LIST, list, &list);
	cli_reply **replies = xcalloc(n + 1, sizeof *replies);
	struct err *errs = xcalloc(n + 1, sizeof *errs);
	int r;

	list.all = a->all;
	r = cli_ask_hosts(c, hosts, n, &req, replies, errs, e);
	for (size_t i = 0; i < n; i++) {
		if (replies[i] && replies[i]->result_case == GODWIT__PROCD__REPLY__RESULT_JOBS)
			continue;
		if (!a->json)
			fprintf(stderr, "godwit: host %s does not answer: %s\n", hosts[i],
				replies[i] ? replies[i]->text : err_text(&errs[i]));
		cli_reply_free(&replies[i]);
	}
	r = r < 0 ? cli_fail(CLI_FAILED, "ps: %s", err_text(e)) : show(a, replies, n);
	for (size_t i = 0; i < n; i++)
		cli_reply_free(&replies[i]);
	free(replies);
	free(errs);
	return r;
}

int cmd_ps(int argc, char **argv)
{
	struct args a = { 0 };
	_cleanup_hosts_ char **hosts = NULL;
	struct err e = { 0 };
	struct cli c;
	size_t n = 0;
	int r;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	if (cli_open(&c, &e) < 0 || cli_hosts(&c, &hosts, &n, &e) < 0)
		return cli_fail(CLI_FAILED, "ps: %s", err_text(&e));
	if (a.host) {
		char *one[] = { xstrdup(a.host), NULL };

		r = ask_and_show(&c, &a, one, 1, &e);
		free(one[0]);
	} else {
		r = ask_and_show(&c, &a, hosts, n, &e);
	}
	cli_close(&c);
	return r;
}
