/* SPDX-License-Identifier: Apache-2.0 */
#include "procd/reserve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "procd/jobs.h"
#include "procd/policy.h"
#include "procd/rpc.h"

#define RESERVE_LOCATE_MS 1000u

static struct reservation *find(struct procd *p, const char *name)
{
	struct reservation *r = p->reservations;

	while (r && strcmp(r->name, name))
		r = r->next;
	return r;
}

static void leave_list(struct reservation *r)
{
	for (struct reservation **at = &r->p->reservations; *at; at = &(*at)->next) {
		if (*at != r)
			continue;
		*at = r->next;
		return;
	}
}

static void free_when_over(struct reservation *r)
{
	if (r->dropped && !r->waiting)
		free(r);
}

void reserve_drop(struct reservation *r)
{
	if (!r || r->dropped)
		return;
	leave_list(r);
	r->dropped = true;
	free_when_over(r);
}

/* The last answer is here. */
static void decide(struct reservation *r)
{
	if (r->dropped) {
		free_when_over(r);
		return;
	}
	if (!r->e.code && r->lost)
		(void)err_set(&r->e, -EEXIST, "job %s has just been started elsewhere", r->name);
	if (!r->e.code && jobs_by_name(r->p, r->name))
		(void)err_set(&r->e, -EEXIST, "there is a job %s", r->name);
	r->held = !r->e.code;
	r->fn(r->arg, &r->e);
}

static void on_answer(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct reservation *r = arg;

	(void)status;
	(void)why;
	if (reply && reply->code < 0 && !r->e.code)
		(void)err_set(&r->e, reply->code, "%s", reply->text);
	if (--r->waiting == 0)
		decide(r);
}

static void on_hosts(void *arg, int result, const struct gwc_host *hosts, size_t n)
{
	struct reservation *r = arg;
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Reserve reserve = GODWIT__PROCD__RESERVE__INIT;

	reserve.name = r->name;
	reserve.uid = r->uid;
	q.op_case = GODWIT__PROCD__REQUEST__OP_RESERVE;
	q.reserve = &reserve;
	/* One is ourselves: callbacks may not end it before all have been asked. */
	for (size_t i = 0; result == 0 && i < n && !r->dropped; i++)
		if (!hosts[i].self && hosts[i].alive &&
		    rpc_ask(r->p, "procd@", hosts[i].name, &q, RESERVE_LOCATE_MS, on_answer, r) == 0)
			r->waiting++;
	if (--r->waiting == 0)
		decide(r);
}

static void ask_all(void *arg)
{
	struct reservation *r = arg;

	if (r->p->gwc && gwc_hosts(r->p->gwc, on_hosts, r) == 0)
		return;
	(void)err_set(&r->e, -ENOTCONN, "flipd is away");
	r->waiting--;
	decide(r);
}

void reserve_name(struct procd *p, const char *name, const struct call *c, uid_t uid,
		  void (*fn)(void *arg, const struct err *e), void *arg, struct reservation **ret)
{
	struct reservation *r = xcalloc(1, sizeof *r);
	struct job *old = jobs_by_name(p, name);
	bool busy = find(p, name) || (old && (old->state != JOB_EXITED || !jobs_is_allowed(old, c)));

	r->p = p;
	r->uid = uid;
	r->fn = fn;
	r->arg = arg;
	(void)snprintf(r->name, sizeof r->name, "%s", name);
	*ret = r;
	if (busy) {
		(void)err_set(&r->e, -EEXIST, "there is a job %s", name);
		decide(r);
		return;
	}
	r->next = p->reservations;
	p->reservations = r;
	r->waiting = 1;
	if (old)
		jobs_end(old, ask_all, r);
	else
		ask_all(r);
}

void reserve_serve(struct procd *p, struct call *c)
{
	const Godwit__Procd__Reserve *q = c->request->reserve;
	struct reservation *ours = find(p, q->name);
	struct job *j = jobs_by_name(p, q->name);

	if (j && (j->state != JOB_EXITED || (q->uid != 0 && q->uid != j->spec->uid) ||
		  !policy_admits(&p->settings, c->host, q->uid))) {
		call_refuse(c, -EEXIST, "there is a job %s on %s", j->name, p->settings.name);
		return;
	}
	if (ours && (ours->held || strcmp(p->settings.name, c->host) < 0)) {
		call_refuse(c, -EEXIST, "job %s is just being started on %s", q->name, p->settings.name);
		return;
	}
	if (ours)
		ours->lost = true;
	if (j)
		jobs_end(j, NULL, NULL);
	call_ok(c);
}
