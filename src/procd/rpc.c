/* SPDX-License-Identifier: Apache-2.0 */
#include "procd/rpc.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "procd/caps.h"
#include "procd/jobs.h"
#include "procd/ops.h"
#include "procd/quota.h"

#define RECONNECT_MS 200u

/* --- answering --- */

static void call_free(struct call *c)
{
	LIST_REMOVE(c, list);
	godwit__procd__request__free_unpacked(c->request, NULL);
	free(c);
}

void call_reply(struct call *c, Godwit__Procd__Reply *r)
{
	size_t len = godwit__procd__reply__get_packed_size(r);
	_cleanup_free_ uint8_t *bytes = xmalloc(len);
	struct gw_hdr hdr = { .command = GW_OK };
	const void *data = bytes;

	if (c->command)
		caps_reply(r, &hdr, &data, &len);
	else
		(void)godwit__procd__reply__pack(r, bytes);
	/* A request that came over a connection since lost has failed at its client already. */
	if (c->p->gwc && c->connection == c->p->connection) {
		int failed = gwc_reply(c->p->gwc, c->id, &hdr, data, len);

		if (failed < 0)
			log_warn("cannot answer a request: %s", strerror(-failed));
	}
	call_free(c);
}

void call_ok(struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;

	call_reply(c, &r);
}

void call_again(struct call *c)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;

	r.again = 1;
	call_reply(c, &r);
}

void call_fail(struct call *c, const struct err *e)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;

	r.code = e->code ? e->code : -EIO;
	r.text = (char *)(uintptr_t)err_text(e);
	call_reply(c, &r);
}

void call_refuse(struct call *c, int code, const char *fmt, ...)
{
	Godwit__Procd__Reply r = GODWIT__PROCD__REPLY__INIT;
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	r.code = code;
	r.text = text;
	call_reply(c, &r);
}

/* --- being asked --- */

static struct call *call_new(struct procd *p, const struct gwc_request *rq)
{
	static const uint8_t none[GW_CHECK_LEN];
	Godwit__Procd__Request *q = rq->hdr.command ? caps_command(&rq->hdr, rq->data, rq->len)
						    : godwit__procd__request__unpack(NULL, rq->len, rq->data);
	struct call *c;

	if (!q) {
		struct gw_hdr hdr = { .command = rq->hdr.command ? GW_STD_COMBAD : GW_STD_ARGBAD };

		(void)gwc_reply(p->gwc, rq->id, &hdr, NULL, 0);
		return NULL;
	}
	c = xcalloc(1, sizeof *c);
	c->p = p;
	c->id = rq->id;
	c->connection = p->connection;
	c->uid = rq->uid;
	c->gid = rq->gid;
	c->local = rq->local;
	(void)snprintf(c->host, sizeof c->host, "%s", rq->host ? rq->host : "");
	c->priv = rq->hdr.priv;
	c->has_cap = memcmp(c->priv.check, none, sizeof none) != 0;
	c->command = rq->hdr.command;
	c->request = q;
	LIST_INSERT_HEAD(&p->calls, c, list);
	if (c->uid == 0 && q->behalf)
		c->uid = q->behalf - 1;
	if (q->version != GODWIT__PROCD__VERSION__VERSION) {
		call_refuse(c, -EPROTO, "this process server speaks version %d, not %u",
			    (int)GODWIT__PROCD__VERSION__VERSION, q->version);
		return NULL;
	}
	return quota_refuses(c) ? NULL : c;
}

static void on_host_request(void *arg, const struct gwc_request *rq)
{
	struct procd *p = arg;
	struct call *c = call_new(p, rq);

	if (c)
		ops_host(p, c);
}

static void on_job_request(void *arg, const struct gwc_request *rq)
{
	struct procd *p = arg;
	struct call *c = call_new(p, rq);
	struct job *j = jobs_by_endpoint(p, rq->endpoint);

	if (!c)
		return;
	if (!j) {
		call_refuse(c, -ESRCH, "the job is gone");
		return;
	}
	(void)snprintf(c->job, sizeof c->job, "%s", j->name);
	ops_job(j, c);
}

static void on_served(void *arg, int result)
{
	if (result < 0)
		log_error("cannot serve %s: %s", (const char *)arg, strerror(-result));
}

/* get-port and put-port in one */
static struct gw_port port_of(const struct job *j)
{
	char name[NAME_MAX_LEN + 8];

	(void)snprintf(name, sizeof name, "job:%s", j->name);
	return gw_port_from_name(name);
}

void rpc_serve_job(struct job *j)
{
	struct procd *p = j->p;
	struct gw_port port = port_of(j);

	if (!p->gwc || j->endpoint)
		return;
	j->endpoint = gwc_endpoint_open(p->gwc, (uint32_t)j->incarnation);
	if (j->endpoint && gwc_serve(p->gwc, j->endpoint, &port, on_job_request, p, NULL, NULL) < 0)
		log_error("job %s: cannot serve its port", j->name);
}

int rpc_install_job(struct job *j, const void *blob, size_t len, gwc_done_fn *done, void *arg)
{
	struct gwc_bounds bounds = { .put = port_of(j), .uid = j->spec->uid, .gid = j->spec->gid };

	if (!j->p->gwc)
		return -ENOTCONN;
	/* Another host's bytes: they must not have us serve procd@HERE, or ask in root's name. */
	return gwc_endpoint_install(j->p->gwc, blob, len, &bounds, on_job_request, j->p, done, arg, &j->endpoint);
}

void rpc_unserve_job(struct job *j)
{
	if (j->p->gwc && j->endpoint)
		gwc_endpoint_close(j->p->gwc, j->endpoint);
	j->endpoint = 0;
}

/* --- asking --- */

struct asked {
	rpc_reply_fn *fn;
	void *arg;
};

static void on_reply(void *arg, int status, const struct gw_hdr *hdr, const void *data, size_t len)
{
	Godwit__Procd__Reply *r = NULL;
	struct asked *a = arg;
	const char *why = "the reply makes no sense";

	if (status != GW_OK)
		why = gw_strerror(status);
	else if (hdr->command != GW_OK)
		why = gw_strerror(hdr->command);
	else
		r = godwit__procd__reply__unpack(NULL, len, data);
	a->fn(a->arg, r, status, why);
	if (r)
		godwit__procd__reply__free_unpacked(r, NULL);
	free(a);
}

static int ask(struct procd *p, const char *port, const struct gw_private *priv, Godwit__Procd__Request *q,
	       unsigned locate_ms, rpc_reply_fn *fn, void *arg)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct gw_hdr hdr = { .port = gw_port_from_name(port), .priv = *priv };
	struct asked *a;
	int64_t id;
	size_t len;

	if (!p->gwc)
		return -ENOTCONN;
	q->version = GODWIT__PROCD__VERSION__VERSION;
	len = godwit__procd__request__get_packed_size(q);
	bytes = xmalloc(len);
	(void)godwit__procd__request__pack(q, bytes);
	a = xcalloc(1, sizeof *a);
	a->fn = fn;
	a->arg = arg;
	id = gwc_trans(p->gwc, GWC_MAIN, &hdr, bytes, len, locate_ms, on_reply, a);
	if (id < 0) {
		free(a);
		return (int)id;
	}
	return 0;
}

int rpc_ask(struct procd *p, const char *port_prefix, const char *name, Godwit__Procd__Request *q,
	    unsigned locate_ms, rpc_reply_fn *fn, void *arg)
{
	_cleanup_free_ char *port = xasprintf("%s%s", port_prefix, name);
	struct gw_private nothing = { 0 };

	return ask(p, port, &nothing, q, locate_ms, fn, arg);
}

static void on_forwarded(void *arg, const Godwit__Procd__Reply *reply, int status, const char *why)
{
	struct call *c = arg;

	(void)status;
	if (reply)
		call_reply(c, (Godwit__Procd__Reply *)(uintptr_t)reply);
	else
		call_refuse(c, -ESRCH, "job %s: %s", c->job, why);
}

void call_forward(struct call *c, const char *name)
{
	_cleanup_free_ char *port = xasprintf("job:%s", name);

	/* It has been found to be allowed here; but there it must not count as ours. */
	if (c->uid)
		c->request->behalf = c->uid + 1;
	if (ask(c->p, port, &c->priv, c->request, 0, on_forwarded, c) < 0)
		call_refuse(c, -ESRCH, "job %s has moved away", name);
}

/* --- the connection --- */

static void watch(struct procd *p, int events);

static void lose(struct procd *p)
{
	if (!p->gwc)
		return;
	if (p->gwc_polling)
		(void)uv_poll_stop(&p->gwc_poll);
	p->gwc_polling = false;
	gwc_close(p->gwc);
	p->gwc = NULL;
	for (struct job *j = p->jobs; j; j = j->next)
		j->endpoint = 0;
}

static void reconnect(uv_timer_t *timer);

static void on_gwc(uv_poll_t *poll, int status, int events)
{
	struct procd *p = poll->data;

	(void)status;
	(void)events;
	if (gwc_dispatch(p->gwc) == 0)
		return;
	log_warn("the connection to flipd is lost");
	lose(p);
	(void)uv_timer_start(&p->reconnect, reconnect, RECONNECT_MS, 0);
}

static void watch(struct procd *p, int events)
{
	int uv = (events & POLLIN ? UV_READABLE : 0) | (events & POLLOUT ? UV_WRITABLE : 0);

	(void)uv_poll_start(&p->gwc_poll, uv, on_gwc);
}

static void on_events_changed(void *user, int events)
{
	struct procd *p = user;

	if (p->gwc_polling)
		watch(p, events);
}

static void on_endpoint_lost(void *user, uint32_t endpoint, uint32_t incarnation)
{
	struct job *j = jobs_by_endpoint(user, endpoint);

	if (j)
		jobs_superseded(j, incarnation);
}

static const struct gwc_ops ops = { .events_changed = on_events_changed, .endpoint_lost = on_endpoint_lost };

static void close_poll(uv_handle_t *handle)
{
	struct procd *p = handle->data;

	p->gwc_poll.data = NULL;
}

static void connected(struct procd *p)
{
	_cleanup_free_ char *name = xasprintf("procd@%s", p->settings.name);
	struct gw_port port = gw_port_from_name(name);

	p->connection++;
	(void)uv_poll_init(p->loop, &p->gwc_poll, gwc_fd(p->gwc));
	p->gwc_poll.data = p;
	p->gwc_polling = true;
	if (gwc_serve(p->gwc, GWC_MAIN, &port, on_host_request, p, on_served, (void *)(uintptr_t) "procd's port") <
	    0)
		log_error("cannot serve %s", name);
	for (struct job *j = p->jobs; j; j = j->next)
		jobs_serve_again(j);
	watch(p, gwc_events(p->gwc));
	log_info("connected to flipd");
}

static void reconnect(uv_timer_t *timer)
{
	struct procd *p = timer->data;
	struct err e = { 0 };

	if (p->gwc_poll.data && !uv_is_closing((uv_handle_t *)&p->gwc_poll))
		uv_close((uv_handle_t *)&p->gwc_poll, close_poll);
	if (p->gwc_poll.data || gwc_open(NULL, &ops, p, &p->gwc, &e) < 0) {
		p->gwc = NULL;
		(void)uv_timer_start(&p->reconnect, reconnect, RECONNECT_MS, 0);
		return;
	}
	connected(p);
}

void rpc_open(struct procd *p)
{
	(void)uv_timer_init(p->loop, &p->reconnect);
	p->reconnect.data = p;
	reconnect(&p->reconnect);
	if (!p->gwc)
		log_info("waiting for flipd");
}

void rpc_close(struct procd *p)
{
	(void)uv_timer_stop(&p->reconnect);
	lose(p);
}
