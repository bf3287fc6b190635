/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit migrate. The request to the job's process server stays unanswered until the migration is over. Meanwhile
 * progress is asked for (on a terminal), and ctrl-C sends Cancel, upon which the request is answered ECANCELED, or
 * not, if it was too late.
 *
 * If the answer is lost (the source's process server died), the outcome is read off the job itself: it is where it
 * is. The request is never repeated while the job is at its source: that would be another migration.
 */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <poll.h>

#include "base/fd.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/jobs.h"
#include "cli/retry.h"
#include "cli/rpc.h"

struct args {
	const char *job;
	char *host;
	char *strategy;
	bool carry;
	bool json;
	bool quiet;
};

static const struct argp_option options[] = {
	{ "strategy", 's', "NAME", 0, "how memory is moved: eager (the default)", 0 },
	{ "carry", 'c', NULL, 0, "carry local files that it writes to along", 0 },
	{ "json", 'j', NULL, 0, "print the report as one object", 0 },
	{ "quiet", 'q', NULL, 0, "print no report", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 's':
		a->strategy = arg;
		if (strcmp(arg, "eager"))
			argp_error(state, "there is no strategy '%s'; there is: eager", arg);
		return 0;
	case 'c':
		a->carry = true;
		return 0;
	case 'j':
		a->json = true;
		return 0;
	case 'q':
		a->quiet = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 1)
			argp_error(state, "'%s' is one argument too many", arg);
		if (state->arg_num)
			a->host = arg;
		else
			a->job = arg;
		return 0;
	case ARGP_KEY_END:
		if (!a->host)
			argp_error(state, "say which job moves, and to which host");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "JOB|PID HOST",
	.doc = "Moves a running job to another host. ctrl-C gives up: the job then stays where it is.\v"
	       "Exit status: 0 it has moved; 1 it failed, and the job is where it was; 3 the check stage refused; "
	       "4 the "
	       "outcome is in doubt, because the two hosts lost each other in the middle of the commit.",
};

struct move {
	const struct args *args;
	struct cli c;
	char *job;
	char *port;
	char *source; /* port of the process server that the job leaves: during the move the job's own is BUSY */
	int signals;  /* signalfd: INT, TERM */
	bool tty;
	bool drawn; /* a progress line is on the terminal */
	bool done;
	bool arrived; /* though the answer was lost */
	bool cancelling;
	bool polling; /* a request for progress is under way */
	uint64_t seen;
	uint64_t poll_after_us; /* it has not begun yet, or is over: no hurry */
	int r;
	cli_reply *reply;
	struct err e;
};

/* --- progress --- */

#define OVER_US 50000u

static void erase(struct move *m)
{
	if (m->drawn)
		fputs("\r\033[K", stderr);
	m->drawn = false;
}

static void draw(struct move *m, const Godwit__Procd__Progress *p)
{
	char done[CLI_TEXT_MAX], total[CLI_TEXT_MAX];

	if (m->done || p->over)
		return;
	erase(m);
	fprintf(stderr, "%s -> %s: %s", m->job, m->args->host, m->cancelling ? "giving up" : p->stage);
	if (p->total && p->bytes)
		fprintf(stderr, " %s of %s", cli_size(p->bytes, done), cli_size(p->total, total));
	else if (p->total)
		fprintf(stderr, " (%s)", cli_size(p->total, total));
	fflush(stderr);
	m->drawn = true;
}

static void on_progress(void *arg, int r, const cli_reply *reply, const char *why)
{
	struct move *m = arg;

	(void)why;
	m->polling = false;
	if (r < 0 || reply->code < 0) {
		m->tty = false; /* it is only decoration: do not ask again */
		return;
	}
	if (reply->result_case == GODWIT__PROCD__REPLY__RESULT_PROGRESS) {
		m->seen = reply->progress->serial;
		m->poll_after_us = reply->progress->over ? now_us() + OVER_US : 0;
		draw(m, reply->progress);
	}
}

static void poll_progress(struct move *m)
{
	Godwit__Procd__ProgressPoll message = GODWIT__PROCD__PROGRESS_POLL__INIT;
	CLI_REQUEST(req, PROGRESS, progress, &message);

	if (!m->tty || m->polling || m->done || now_us() < m->poll_after_us)
		return;
	message.seen = m->seen;
	message.timeout_ms = CLI_POLL_MS;
	message.job = m->job;
	m->polling = cli_start(&m->c, m->source, &req, CLI_LOCATE_MS, on_progress, m) > 0;
}

/* --- cancelling --- */

static void on_cancelled(void *arg, int r, const cli_reply *reply, const char *why)
{
	(void)arg;
	if (r < 0 || reply->code < 0)
		(void)cli_fail(0, "it cannot be cancelled: %s", r < 0 ? why : reply->text);
}

static void on_signal(struct move *m)
{
	Godwit__Procd__Cancel cancel = GODWIT__PROCD__CANCEL__INIT;
	CLI_REQUEST(req, CANCEL, cancel, &cancel);
	struct signalfd_siginfo si;

	if (read(m->signals, &si, sizeof si) != sizeof si || m->cancelling)
		return;
	m->cancelling = true;
	cancel.job = m->job;
	(void)cli_start(&m->c, m->source, &req, CLI_LOCATE_MS, on_cancelled, m);
}

/* --- the migration --- */

static void on_report(void *arg, int r, const cli_reply *reply, const char *why)
{
	struct move *m = arg;

	m->done = true;
	m->r = r < 0 ? err_set(&m->e, r, "%s", why) : 0;
	if (r == 0) {
		size_t len = godwit__procd__reply__get_packed_size(reply);
		_cleanup_free_ uint8_t *data = xmalloc(len);

		(void)godwit__procd__reply__pack(reply, data);
		m->reply = godwit__procd__reply__unpack(NULL, len, data);
	}
}

static int request(struct move *m)
{
	static char none[] = "";
	Godwit__Procd__Migrate message = GODWIT__PROCD__MIGRATE__INIT;
	CLI_REQUEST(req, MIGRATE, migrate, &message);
	int64_t id;

	message.destination = m->args->host;
	message.strategy = m->args->strategy ? m->args->strategy : none;
	message.carry = m->args->carry;
	m->done = false;
	cli_reply_free(&m->reply);
	id = cli_start(&m->c, m->port, &req, CLI_LOCATE_MS, on_report, m);
	return id < 0 ? err_code(&m->e, (int)id, "flipd") : 0;
}

/* Until the answer is there or the connection to flipd is lost (then every callback has been called). */
static void drive(struct move *m)
{
	while (!m->done) {
		struct pollfd p[2] = { { .fd = gwc_fd(m->c.gwc), .events = (short)gwc_events(m->c.gwc) },
				       { .fd = m->signals, .events = POLLIN } };

		poll_progress(m);
		p[0].events = (short)gwc_events(m->c.gwc);
		if (poll(p, 2, m->tty && !m->polling ? (int)(OVER_US / 1000) : -1) < 0 && errno != EINTR)
			return;
		if (p[1].revents)
			on_signal(m);
		if (p[0].revents && gwc_dispatch(m->c.gwc) < 0)
			return;
	}
}

/* The answer was lost. Waits until the job is settled and says whether it has arrived. */
static int settle(struct move *m, bool *ret_arrived)
{
	Godwit__Procd__Info info = GODWIT__PROCD__INFO__INIT;
	CLI_REQUEST(req, INFO, info, &info);
	struct retry retry;

	retry_init(&retry, RETRY_KNOWN_JOB);
	for (;;) {
		_cleanup_reply_ cli_reply *reply = NULL;
		int r = m->c.connected ? cli_ask(&m->c, m->port, &req, &reply, &m->e) : -ECONNRESET;

		if (r < 0 && !retry_again(&retry, &m->c, r))
			return r;
		if (r < 0)
			continue;
		if (reply->result_case != GODWIT__PROCD__REPLY__RESULT_JOB)
			return err_set(&m->e, -EPROTO, "procd answers something else");
		if (reply->job->state != GODWIT__PROCD__STATE__MIGRATING &&
		    reply->job->state != GODWIT__PROCD__STATE__IN_DOUBT &&
		    reply->job->state != GODWIT__PROCD__STATE__ARRIVING) {
			*ret_arrived = !strcmp(reply->job->host, m->args->host);
			return 0;
		}
		if (!retry_again(&retry, &m->c, -EAGAIN))
			return err_set(&m->e, -EINPROGRESS, "in doubt");
	}
}

/* From now on ctrl-C means Cancel. */
static void catch_signals(struct move *m)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	m->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* And now it ends us again: there is nothing to cancel, and who waits for a job in doubt may wait for long. */
static void release_signals(struct move *m)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGTERM);
	fd_close(&m->signals);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int find_source(struct move *m)
{
	Godwit__Procd__Info info = GODWIT__PROCD__INFO__INIT;
	CLI_REQUEST(req, INFO, info, &info);
	_cleanup_reply_ cli_reply *reply = NULL;
	int r = cli_ask(&m->c, m->port, &req, &reply, &m->e);

	if (r < 0)
		return r;
	if (reply->result_case != GODWIT__PROCD__REPLY__RESULT_JOB)
		return err_set(&m->e, -EPROTO, "procd answers something else");
	m->source = cli_port_host(reply->job->host);
	return 0;
}

static int migrate(struct move *m)
{
	bool arrived = false;
	int r = find_source(m);

	if (r < 0)
		return r;
	catch_signals(m);
	r = request(m);
	if (r == 0)
		drive(m);
	release_signals(m);
	if (r < 0)
		return r;
	if (m->done && m->r != -EIO)
		return m->r;
	r = settle(m, &arrived);
	if (r < 0)
		return r;
	if (!arrived)
		return err_set(&m->e, -EHOSTDOWN,
			       "its process server was lost during the move; the job goes on where it was");
	m->arrived = true;
	r = request(m); /* answered "it is there already", with the report if that is still known */
	if (r == 0)
		drive(m);
	return m->done ? m->r : -EIO;
}

/* --- the report --- */

static json_t *report_json(const Godwit__Procd__Report *p)
{
	json_t *stages = json_array(), *details = json_array();

	for (size_t i = 0; i < p->n_stages; i++)
		json_array_append_new(stages, json_pack("{s:s, s:I}", "name", p->stages[i]->name, "us",
							(json_int_t)p->stages[i]->us));
	for (size_t i = 0; i < p->n_details; i++)
		json_array_append_new(details, json_pack("{s:s, s:I}", "name", p->details[i]->name, "us",
							 (json_int_t)p->details[i]->us));
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:o, s:b}", "job", p->job, "source",
			 p->source, "destination", p->destination, "strategy", p->strategy, "freeze_us",
			 (json_int_t)p->freeze_us, "total_us", (json_int_t)p->total_us, "bytes",
			 (json_int_t)p->bytes, "pages", (json_int_t)p->pages, "stages", stages, "details", details,
			 "sealed", p->sealed);
}

static void print_report(const Godwit__Procd__Report *p)
{
	char freeze[CLI_TEXT_MAX], total[CLI_TEXT_MAX], bytes[CLI_TEXT_MAX], us[CLI_TEXT_MAX];

	printf("%s moved from %s to %s: frozen %s, %s in all; %s in %llu pages, %s, %s\n", p->job, p->source,
	       p->destination, cli_time(p->freeze_us, freeze), cli_time(p->total_us, total),
	       cli_size(p->bytes, bytes), (unsigned long long)p->pages, p->strategy,
	       p->sealed ? "sealed" : "plain");
	for (size_t i = 0; i < p->n_stages; i++)
		printf("  %-10s %12s\n", p->stages[i]->name, cli_time(p->stages[i]->us, us));
}

static int show(struct move *m)
{
	const Godwit__Procd__Report *report =
		m->reply->result_case == GODWIT__PROCD__REPLY__RESULT_REPORT ? m->reply->report : NULL;

	if (m->reply->in_doubt)
		return cli_fail(CLI_IN_DOUBT,
				"%s may be on either host: %s\n  `godwit ps` shows it; it is settled by itself "
				"once both hosts see each other again",
				m->job, m->reply->text);
	if (m->reply->n_problems) {
		if (m->args->json)
			(void)cli_print_json(json_pack("{s:s, s:s, s:o}", "job", m->job, "destination",
						       m->args->host, "problems",
						       problems_json(m->reply->n_problems, m->reply->problems)));
		(void)cli_fail(0, "%s cannot move to %s:", m->job, m->args->host);
		cli_print_problems(m->reply);
		return CLI_REFUSED;
	}
	if (m->reply->code == -ECANCELED)
		return cli_fail(CLI_FAILED, "cancelled: %s goes on where it was", m->job);
	if (m->reply->code == -EALREADY && !report && m->arrived) {
		if (m->args->json)
			return cli_print_json(
				json_pack("{s:s, s:s}", "job", m->job, "destination", m->args->host));
		if (!m->args->quiet)
			printf("%s moved to %s; the report was lost with a process server\n", m->job,
			       m->args->host);
		return CLI_OK;
	}
	if (m->reply->code < 0 && !(m->reply->code == -EALREADY && report))
		return cli_fail(CLI_FAILED, "%s did not move: %s", m->job,
				*m->reply->text ? m->reply->text : strerror(-m->reply->code));
	if (!report)
		return cli_fail(CLI_FAILED, "%s: procd answers something else", m->job);
	if (m->args->json)
		return cli_print_json(report_json(report));
	if (!m->args->quiet)
		print_report(report);
	return CLI_OK;
}

int cmd_migrate(int argc, char **argv)
{
	struct args a = { 0 };
	struct move m = { .args = &a, .signals = -EBADF };
	int r, status;

	(void)argp_parse(&argp, argc, argv, 0, NULL, &a);
	r = cli_open(&m.c, &m.e);
	if (r < 0)
		return cli_fail(CLI_FAILED, "migrate: %s", err_text(&m.e));
	r = cli_job_arg(&m.c, a.job, true, a.carry, &m.job, &m.e);
	if (r < 0)
		return cli_fail_call(a.job, r, &m.e);
	m.port = cli_port_job(m.job);
	m.tty = isatty(STDERR_FILENO) && !a.json && !a.quiet;
	r = migrate(&m);
	erase(&m);
	if (r == -EINPROGRESS)
		status = cli_fail(CLI_IN_DOUBT, "%s may be on either host: `godwit ps` shows it", m.job);
	else
		status = r < 0 ? cli_fail_call(m.job, r, &m.e) : show(&m);
	cli_reply_free(&m.reply);
	cli_close(&m.c);
	free(m.source);
	free(m.port);
	free(m.job);
	return status;
}
