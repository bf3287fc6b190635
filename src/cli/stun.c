/* SPDX-License-Identifier: Apache-2.0 */
/* stun, resume, setowner: all three are one request about one job. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/rpc.h"

struct args {
	const char *job, *port;
	bool emergency, takes_port, show, json;
	unsigned long timeout_ms;
};

static const struct argp_option stun_options[] = {
	{ "emergency", 'e', NULL, 0,
	  "break its system calls off, and stop it even if its state cannot be described", 0 },
	{ "timeout", 't', "SECONDS", 0, "how long to wait for its system calls to end (10)", 0 },
	{ "show", 's', NULL, 0, "only say what the threads of a stunned job are in", 0 },
	{ "json", 'j', NULL, 0, "that as JSON", 0 },
	{ 0 },
};

static unsigned long milliseconds(struct argp_state *state, const char *arg)
{
	char *end;
	double seconds = strtod(arg, &end);

	if (end == arg || *end || !(seconds >= 0.001 && seconds <= 3600))
		argp_error(state, "'%s' is no time from 0.001 to 3600 seconds", arg);
	return (unsigned long)(seconds * 1000);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'e':
		a->emergency = true;
		return 0;
	case 's':
		a->show = true;
		return 0;
	case 'j':
		a->json = true;
		return 0;
	case 't':
		a->timeout_ms = milliseconds(state, arg);
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > (a->takes_port ? 1U : 0U))
			argp_error(state, "'%s' is one argument too many", arg);
		*(state->arg_num ? &a->port : &a->job) = arg;
		return 0;
	case ARGP_KEY_END:
		if (!a->job)
			argp_error(state, "which job?");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --- what its threads are in --- */

static const char *where_name(const Godwit__Procd__ThreadState *t)
{
	switch (t->where) {
	case GODWIT__PROCD__THREAD_STATE__WHERE__IN_CALL:
		return "in";
	case GODWIT__PROCD__THREAD_STATE__WHERE__OUT_OF_CALL:
		return "out of";
	default:
		return "own code";
	}
}

static json_t *thread_json(const Godwit__Procd__ThreadState *t)
{
	json_t *o = json_pack("{s:i, s:s, s:s}", "tid", t->tid, "name", t->name, "where", where_name(t));

	if (*t->call)
		(void)json_object_set_new(o, "call", json_string(t->call));
	if (t->where == GODWIT__PROCD__THREAD_STATE__WHERE__OUT_OF_CALL)
		(void)json_object_set_new(o, "result", json_integer(t->result));
	return o;
}

static void print_thread(const Godwit__Procd__ThreadState *t)
{
	printf("  thread %-7d %-15s %s", t->tid, t->name, where_name(t));
	if (*t->call)
		printf(" %s", t->call);
	if (t->where == GODWIT__PROCD__THREAD_STATE__WHERE__OUT_OF_CALL && t->result < 0 && t->result > -4096)
		printf(": %s", strerrorname_np((int)-t->result));
	else if (t->where == GODWIT__PROCD__THREAD_STATE__WHERE__OUT_OF_CALL)
		printf(": %lld", (long long)t->result);
	putchar('\n');
}

static int show_threads(struct cli *c, const char *port, const struct args *a, struct err *e)
{
	Godwit__Procd__GetThreads message = GODWIT__PROCD__GET_THREADS__INIT;
	CLI_REQUEST(req, GET_THREADS, get_threads, &message);
	_cleanup_reply_ cli_reply *reply = NULL;
	json_t *list;
	int r = cli_ask(c, port, &req, &reply, e);

	if (r < 0)
		return r;
	if (reply->result_case != GODWIT__PROCD__REPLY__RESULT_THREADS)
		return err_set(e, -EPROTO, "the answer makes no sense");
	list = json_array();
	for (size_t i = 0; i < reply->threads->n_threads; i++) {
		if (a->json)
			(void)json_array_append_new(list, thread_json(reply->threads->threads[i]));
		else
			print_thread(reply->threads->threads[i]);
	}
	if (a->json)
		return cli_print_json(list) == CLI_OK ? 0 : err_set(e, -EIO, "cannot write it");
	json_decref(list);
	return 0;
}

/* --- requests --- */

static int ask(struct cli *c, const char *port, const struct args *a, const cli_request *req, struct err *e)
{
	_cleanup_reply_ cli_reply *reply = NULL;
	int r = cli_call(c, port, req, &reply, e);

	if (r == 0 && reply->n_problems && reply->code) {
		fprintf(stderr, "%s cannot be stunned in good order:\n", a->job);
		cli_print_problems(reply);
		return CLI_REFUSED;
	}
	if (r == 0 && reply->code < 0)
		r = err_set(e, reply->code, "%s", reply->text);
	return r < 0 ? cli_fail_call(a->job, r, e) : CLI_OK;
}

static int ask_once(const struct args *a, const char *what, const cli_request *req)
{
	_cleanup_free_ char *port = cli_port_job(a->job);
	struct err e = { 0 };
	struct cli c;
	int status;

	if (cli_open(&c, &e) < 0)
		return cli_fail(CLI_FAILED, "%s: %s", what, err_text(&e));
	status = ask(&c, port, a, req, &e);
	cli_close(&c);
	return status;
}

static const struct argp stun_argp = {
	.options = stun_options,
	.parser = parse,
	.args_doc = "JOB",
	.doc = "Stops a job, wherever it is, until `godwit resume`, and says what its threads are in. System "
	       "calls "
	       "end first. Its owner, if it has one (`godwit setowner`), gets the checkpoint message and says "
	       "what "
	       "comes next.",
};

int cmd_stun(int argc, char **argv)
{
	Godwit__Procd__Stun message = GODWIT__PROCD__STUN__INIT;
	CLI_REQUEST(req, STUN, stun, &message);
	_cleanup_free_ char *port = NULL;
	struct args a = { 0 };
	struct err e = { 0 };
	struct cli c;
	int status;

	(void)argp_parse(&stun_argp, argc, argv, 0, NULL, &a);
	message.emergency = a.emergency;
	message.timeout_ms = (uint32_t)a.timeout_ms;
	if (cli_open(&c, &e) < 0)
		return cli_fail(CLI_FAILED, "stun: %s", err_text(&e));
	port = cli_port_job(a.job);
	status = a.show ? CLI_OK : ask(&c, port, &a, &req, &e);
	if (status == CLI_OK) {
		int r = show_threads(&c, port, &a, &e);

		/* Its owner may have had it resumed, or killed, already. */
		if (r < 0 && (a.show || (r != -EBUSY && r != -ESRCH)))
			status = cli_fail_call(a.job, r, &e);
	}
	cli_close(&c);
	return status;
}

static const struct argp resume_argp = { .parser = parse, .args_doc = "JOB", .doc = "Lets a stunned job go on." };

int cmd_resume(int argc, char **argv)
{
	Godwit__Procd__ResumeJob message = GODWIT__PROCD__RESUME_JOB__INIT;
	CLI_REQUEST(req, RESUME, resume, &message);
	struct args a = { 0 };

	(void)argp_parse(&resume_argp, argc, argv, 0, NULL, &a);
	return ask_once(&a, "resume", &req);
}

static const struct argp owner_argp = {
	.parser = parse,
	.args_doc = "JOB [PORT]",
	.doc = "Makes the server of the port named PORT the job's owner: it hears of every stun, gets the "
	       "checkpoint "
	       "message, and says resume or kill. Without PORT the job has no owner.",
};

int cmd_setowner(int argc, char **argv)
{
	static char nobody[] = "";
	Godwit__Procd__SetOwner message = GODWIT__PROCD__SET_OWNER__INIT;
	CLI_REQUEST(req, SET_OWNER, set_owner, &message);
	struct args a = { .takes_port = true };

	(void)argp_parse(&owner_argp, argc, argv, 0, NULL, &a);
	message.port = a.port ? (char *)(uintptr_t)a.port : nobody;
	return ask_once(&a, "setowner", &req);
}
