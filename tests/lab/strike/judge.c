/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "journal.pb-c.h"
#include "strike.h"

#define REST_US 60000000u  /* for all to come to rest */
#define STAND_US 10000000u /* how long a program stands still before a watchdog kills it */
#define GO_ON_US 20000000u
#define GIVE_UP_US 40000000u /* a front-end's patience */
#define LINES 3		     /* that the job must print to be said to go on */
#define KIND(x) GODWIT__JOURNAL__RECORD__KIND__##x

/* What ps says of the job: 0 nothing, else the host that runs it; -1: anything else. */
static int named(struct strike *s)
{
	char *argv[] = { (char *)(uintptr_t) "timeout", (char *)(uintptr_t) "20",     (char *)(uintptr_t) "godwit",
			 (char *)(uintptr_t) "ps",	(char *)(uintptr_t) "--json", NULL };
	int status = act_run(s, 3, "ps", argv), host = 0, n = 0;
	_cleanup_free_ char *text = act_output(s, "ps");
	json_t *list = json_loads(text, 0, NULL), *o;
	size_t i;

	if (status || !list)
		host = -1;
	json_array_foreach(list, i, o)
	{
		const char *name = json_string_value(json_object_get(o, "job")),
			   *at = json_string_value(json_object_get(o, "host")),
			   *state = json_string_value(json_object_get(o, "state"));

		if (!name || !at || !state || strcmp(name, s->job) != 0)
			continue;
		n++;
		host = !strcmp(state, "running") ? at[1] - '0' : -1;
	}
	json_decref(list);
	return n > 1 ? -1 : host;
}

static bool is_reachable_name(const json_t *o)
{
	return json_integer_value(json_object_get(o, "ports")) > 0;
}

/* How many addresses with ports a host's flipd has; -1 if it says BUSY for any, or does not answer. */
int judge_addresses(struct strike *s, int host)
{
	char *argv[] = { (char *)(uintptr_t) "timeout", (char *)(uintptr_t) "20",     (char *)(uintptr_t) "godwit",
			 (char *)(uintptr_t) "flip",	(char *)(uintptr_t) "--json", NULL };
	int status = act_run(s, host, "flip", argv), n = 0;
	_cleanup_free_ char *text = act_output(s, "flip");
	json_t *all = json_loads(text, 0, NULL), *o;
	size_t i;

	json_array_foreach(json_object_get(all, "endpoints"), i, o)
	{
		const char *state = json_string_value(json_object_get(o, "state"));

		if (!state || !strcmp(state, "moving"))
			status = 1;
		n += state && !strcmp(state, "up") && is_reachable_name(o);
	}
	if (!all)
		status = 1;
	json_decref(all);
	return status ? -1 : n;
}

/* A job whose shepherd was killed keeps its name, and with it an address, for a while. */
static bool addresses_are_right(struct strike *s, int host, char *why, size_t size)
{
	for (int h = 1; h <= HOSTS; h++) {
		int n = judge_addresses(s, h), wanted = h == host ? s->addresses_with[h] : s->addresses_without[h];

		(void)snprintf(why, size, "flipd of h%d: %d addresses that are not BUSY, not %d", h, n, wanted);
		if (n < wanted || (n > wanted && strcmp(s->program, "shepherd") != 0))
			return false;
	}
	return true;
}

static bool both_run(const struct strike *s)
{
	return view_copy(s, 1) == COPY_RUNNING && view_copy(s, 2) == COPY_RUNNING;
}

/* A copy whose mover has just died with it (EXITKILL) looks for a moment like a process that nobody traces. */
static bool twice(const struct strike *s)
{
	for (int i = 0; i < 5; i++) {
		if (!both_run(s))
			return false;
		(void)usleep(5000);
	}
	return true;
}

/* Whether both hosts are as they were; if not, what is different. */
static bool is_tidy(struct strike *s, int host, char *why, size_t size)
{
	for (int h = 1; h <= HOSTS; h++) {
		_cleanup_free_ char *now = view_host(s, h),
				    *d = view_difference(h == host ? s->with[h] : s->without[h], now);

		if (d) {
			(void)snprintf(why, size, "h%d: %s", h, d);
			return false;
		}
	}
	return true;
}

static bool may_be_none(const struct strike *s)
{
	if (strcmp(s->program, "shepherd") != 0)
		return false;
	return s->at_source ? !view_journal(s, s->from, KIND(COMMITTED)) : view_journal(s, s->to, KIND(THAWED));
}

/* The host that has the job, 0 for none; -1: not at rest. */
static int at_rest(struct strike *s, char *why, size_t size)
{
	enum copy copies[HOSTS + 1] = { [1] = view_copy(s, 1), [2] = view_copy(s, 2) };
	int host, n = (copies[1] != COPY_NONE) + (copies[2] != COPY_NONE);

	(void)snprintf(why, size, "copies: h1 %d, h2 %d", copies[1], copies[2]);
	if (n > 1 || (n == 0 && !may_be_none(s)))
		return -1;
	host = copies[1] != COPY_NONE ? 1 : copies[2] != COPY_NONE ? 2 : 0;
	if (host && copies[host] != COPY_RUNNING)
		return -1;
	if (!is_tidy(s, host, why, size))
		return -1;
	if (!addresses_are_right(s, host, why, size))
		return -1;
	(void)snprintf(why, size, "ps says otherwise");
	return named(s) == host ? host : -1;
}

static int wait_for_rest(struct strike *s)
{
	uint64_t began = now_us();
	char why[512] = "";
	int host;

	while ((host = at_rest(s, why, sizeof why)) < 0) {
		if (twice(s)) {
			bad(s, "the job runs TWICE");
			return -1;
		}
		if (now_us() - began > REST_US) {
			bad(s, "does not come to rest: %s", why);
			return -1;
		}
		(void)usleep(10000);
	}
	return host;
}

static bool goes_on(struct strike *s, uint64_t within_us)
{
	uint64_t until = now_us() + within_us;
	long wanted;

	if (!view_output(s))
		return false;
	wanted = s->next_line + LINES;
	while (s->next_line < wanted) {
		if (now_us() > until || !view_output(s))
			return false;
		(void)usleep(3000);
	}
	return true;
}

/* A front-end whose job is gone ends, and not as if all were well. */
static void judge_gone(struct strike *s)
{
	uint64_t until = now_us() + GIVE_UP_US;
	int status = 0;

	s->none++;
	s->at = 1;
	while (s->front && waitpid(s->front, &status, WNOHANG) == 0) {
		if (now_us() > until) {
			bad(s, "the front-end of a job that is gone does not end");
			(void)kill(s->front, SIGKILL);
			(void)waitpid(s->front, &status, 0);
		}
		(void)usleep(5000);
	}
	if (s->front && status == 0)
		bad(s, "the front-end of a job that is gone says that all is well");
	s->front = 0;
	if (!view_output(s))
		bad(s, "the output is not intact at line %ld: [%s]", s->next_line, s->half);
}

static void judge_running(struct strike *s, int host)
{
	_cleanup_free_ char *now = NULL, *d = NULL;

	if (s->struck && !strcmp(s->program, "shepherd") && host == (s->at_source ? s->from : s->to))
		bad(s, "the job has outlived its shepherd on h%d", host);
	s->at = host;
	if (!s->front)
		bad(s, "the front-end has ended, the job has not");
	if (!goes_on(s, GO_ON_US))
		bad(s, "the job does not go on on h%d, or its output is not intact at line %ld: [%s]", host,
		    s->next_line, s->half);
	now = view_job(s, host);
	d = view_difference(s->look, now);
	if (d)
		bad(s, "the job does not look as before: %s", d);
}

void judge(struct strike *s)
{
	uint64_t began = now_us();
	int host = wait_for_rest(s);

	fprintf(s->log, "k %ld: migrate said %d; at rest on h%d after %llu ms\n", s->k, s->client_status, host,
		(unsigned long long)(now_us() - began) / 1000);
	(void)fflush(s->log);

	if (host > 0)
		judge_running(s, host);
	else if (host == 0)
		judge_gone(s);
	else
		s->at = 0; /* nothing more can be said with this job */
}

/* Called with the target stopped. Deadlines must act: whatever stands still at the destination before the record,
 * the job goes on at the source meanwhile. */
void judge_while_standing(struct strike *s)
{
	uint64_t until = now_us() + STAND_US;
	bool recorded = view_journal(s, s->from, KIND(COMMITTED));
	long before;

	(void)view_output(s);
	before = s->next_line;
	while (now_us() < until) {
		if (twice(s)) {
			bad(s, "the job runs TWICE");
			break;
		}
		(void)usleep(50000);
	}
	recorded = recorded || view_journal(s, s->from, KIND(COMMITTED));
	if (!view_output(s))
		bad(s, "the output is not intact at line %ld: [%s]", s->next_line, s->half);
	else if (!s->at_source && !recorded && s->next_line < before + LINES)
		bad(s, "the job does not go on at the source while %s stands still", s->program);
}
