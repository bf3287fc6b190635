/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "base/fd.h"
#include "base/htab.h"
#include "base/util.h"
#include "base/wire.h"
#include "lib/call.h"
#include "lib/conn.h"

/* Who serves what: by port, or everything of an endpoint (port null). */
struct service {
	LIST_ENTRY(service) list;
	uint32_t endpoint;
	bool all;
	struct gw_port get, put;
	gwc_request_fn *fn;
	void *arg;
};

int gwc_open(const char *path, const struct gwc_ops *ops, void *user, struct gwc **ret_c, struct err *e)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct frame hello = { .type = FRAME_HELLO, .aux = FRAME_VERSION };
	uint8_t hdr[FRAME_HDR_LEN];
	_cleanup_fd_ int fd = -EBADF;
	struct gwc *c;

	path = path ? path : frame_socket_path();
	if (strlen(path) >= sizeof(sun.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: the path is too long for a socket", path);
	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_errno(e, "socket");
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0)
		return err_errno(e, "flipd cannot be reached at %s", path);
	frame_encode(&hello, hdr);
	if (send(fd, hdr, sizeof(hdr), MSG_NOSIGNAL) != (ssize_t)sizeof(hdr))
		return err_errno(e, "flipd at %s", path);
	c = xcalloc(1, sizeof(*c));
	c->fd = steal_fd(&fd);
	c->ops = ops;
	c->user = user;
	c->endpoint = GWC_MAIN;
	LIST_INIT(&c->services);
	conn_init(c);
	*ret_c = c;
	return 0;
}

void gwc_close(struct gwc *c)
{
	struct hnode *node, *next;
	struct service *s;

	if (!c)
		return;
	for (size_t i = 0; (node = htab_walk(&c->calls, &i, &next));)
		free(container_of(node, struct call, node));
	while ((s = LIST_FIRST(&c->services))) {
		LIST_REMOVE(s, list);
		free(s);
	}
	htab_done(&c->calls);
	conn_done(c);
	fd_close(&c->fd);
	free(c);
}

struct call *call_new(struct gwc *c, enum call_kind kind, void *arg)
{
	struct call *call = xcalloc(1, sizeof(*call));

	call->kind = kind;
	call->arg = arg;
	call->id = ++c->id;
	htab_add(&c->calls, &call->node, hash_u64(call->id));
	return call;
}

static struct call *call_find(struct gwc *c, uint64_t id)
{
	for (struct hnode *h = htab_first(&c->calls, hash_u64(id)); h; h = htab_next(h)) {
		struct call *call = container_of(h, struct call, node);

		if (call->id == id)
			return call;
	}
	return NULL;
}

static void call_drop(struct gwc *c, struct call *call)
{
	htab_del(&c->calls, &call->node);
	free(call);
}

int call_post(struct gwc *c, struct call *call, struct frame *f, const struct iovec *payload, int n)
{
	int err;

	f->id = call->id;
	err = call_post_frame(c, f, payload, n);
	if (err)
		call_drop(c, call);
	return err;
}

int64_t gwc_trans(struct gwc *c, uint32_t endpoint, const struct gw_hdr *hdr, const void *data, size_t len,
		  unsigned locate_ms, gwc_reply_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_TRANS, .endpoint = endpoint, .port = hdr->port, .aux = locate_ms };
	uint8_t user[RPC_USER_HDR_LEN];
	struct iovec iov[2] = { { user, sizeof(user) }, { (void *)(uintptr_t)data, len } };
	struct call *call;
	int64_t id;
	int err;

	if (len > GW_MSG_MAX)
		return -EMSGSIZE;
	f.length = (uint32_t)(RPC_USER_HDR_LEN + len);
	rpc_user_hdr_encode(hdr, user);
	call = call_new(c, CALL_TRANS, arg);
	call->endpoint = endpoint;
	call->fn.reply = fn;
	id = (int64_t)call->id;
	err = call_post(c, call, &f, iov, 2);
	return err ? err : id;
}

void gwc_cancel(struct gwc *c, int64_t id)
{
	const struct call *call = call_find(c, (uint64_t)id);
	struct frame f = { .type = FRAME_CANCEL, .id = (uint64_t)id };

	if (!call || call->kind != CALL_TRANS)
		return;
	f.endpoint = call->endpoint;
	(void)call_post_frame(c, &f, NULL, 0);
}

void gwc_forget(struct gwc *c, int64_t id)
{
	struct call *call = call_find(c, (uint64_t)id);
	struct frame f = { .type = FRAME_CANCEL, .flags = FRAME_F_FORGET, .id = (uint64_t)id };

	if (!call || call->kind != CALL_TRANS)
		return;
	f.endpoint = call->endpoint;
	call_drop(c, call);
	(void)call_post_frame(c, &f, NULL, 0);
}

uint32_t call_endpoint(struct gwc *c)
{
	return ++c->endpoint;
}

uint64_t call_id(struct gwc *c)
{
	return ++c->id;
}

uint32_t gwc_endpoint_open(struct gwc *c, uint32_t incarnation)
{
	struct frame f = { .type = FRAME_EP_OPEN, .endpoint = ++c->endpoint, .aux = incarnation };

	(void)call_post_frame(c, &f, NULL, 0);
	return f.endpoint;
}

static void drop_services(struct gwc *c, uint32_t endpoint, const struct gw_port *get)
{
	struct service *s, *next;

	for (s = LIST_FIRST(&c->services); s; s = next) {
		next = LIST_NEXT(s, list);
		if (s->endpoint != endpoint || (get && memcmp(&s->get, get, sizeof(*get)) != 0))
			continue;
		LIST_REMOVE(s, list);
		free(s);
	}
}

void gwc_endpoint_close(struct gwc *c, uint32_t endpoint)
{
	struct frame f = { .type = FRAME_EP_CLOSE, .endpoint = endpoint };

	drop_services(c, endpoint, NULL);
	(void)call_post_frame(c, &f, NULL, 0);
}

int gwc_serve(struct gwc *c, uint32_t endpoint, const struct gw_port *get, gwc_request_fn *fn, void *arg,
	      gwc_done_fn *done, void *done_arg)
{
	struct frame f = { .type = FRAME_SERVE, .endpoint = endpoint, .port = *get };
	struct service *s = xcalloc(1, sizeof(*s));
	struct call *call = call_new(c, CALL_DONE, done_arg);

	s->endpoint = endpoint;
	s->get = *get;
	gw_port_publish(get, &s->put);
	s->fn = fn;
	s->arg = arg;
	LIST_INSERT_HEAD(&c->services, s, list);
	call->fn.done = done;
	return call_post(c, call, &f, NULL, 0);
}

void gwc_unserve(struct gwc *c, uint32_t endpoint, const struct gw_port *get)
{
	struct frame f = { .type = FRAME_UNSERVE, .endpoint = endpoint, .port = *get };

	drop_services(c, endpoint, get);
	(void)call_post_frame(c, &f, NULL, 0);
}

int gwc_reply(struct gwc *c, uint64_t request, const struct gw_hdr *hdr, const void *data, size_t len)
{
	struct frame f = { .type = FRAME_PUTREP, .id = request, .length = (uint32_t)(RPC_USER_HDR_LEN + len) };
	uint8_t user[RPC_USER_HDR_LEN];
	struct iovec iov[2] = { { user, sizeof(user) }, { (void *)(uintptr_t)data, len } };

	if (len > GW_MSG_MAX)
		return -EMSGSIZE;
	rpc_user_hdr_encode(hdr, user);
	return call_post_frame(c, &f, iov, 2);
}

int gwc_endpoint_take(struct gwc *c, uint32_t endpoint, gwc_take_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_EP_TAKE, .endpoint = endpoint };
	struct call *call = call_new(c, CALL_TAKE, arg);

	call->fn.take = fn;
	return call_post(c, call, &f, NULL, 0);
}

int gwc_endpoint_resume(struct gwc *c, uint32_t endpoint, gwc_done_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_EP_RESUME, .endpoint = endpoint };
	struct call *call = call_new(c, CALL_DONE, arg);

	call->fn.done = fn;
	return call_post(c, call, &f, NULL, 0);
}

int gwc_endpoint_install(struct gwc *c, const void *blob, size_t len, const struct gwc_bounds *bounds,
			 gwc_request_fn *serve, void *serve_arg, gwc_done_fn *fn, void *arg,
			 uint32_t *ret_endpoint)
{
	struct frame f = { .type = FRAME_EP_INSTALL, .endpoint = c->endpoint + 1, .length = (uint32_t)len };
	struct iovec iov = { (void *)(uintptr_t)blob, len };
	struct service *s;
	struct call *call;
	int err;

	if (len > GWC_BLOB_MAX)
		return -EMSGSIZE;
	if (bounds) {
		f.flags = FRAME_F_BOUND;
		f.port = bounds->put;
		f.uid = bounds->uid;
		f.gid = bounds->gid;
	}
	call = call_new(c, CALL_DONE, arg);
	call->fn.done = fn;
	err = call_post(c, call, &f, &iov, 1);
	if (err)
		return err;
	c->endpoint++;
	s = xcalloc(1, sizeof(*s));
	s->endpoint = c->endpoint;
	s->all = true;
	s->fn = serve;
	s->arg = serve_arg;
	LIST_INSERT_HEAD(&c->services, s, list);
	*ret_endpoint = c->endpoint;
	return 0;
}

int gwc_conn_take(struct gwc *c, uint64_t inode, gwc_conn_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_CONN_TAKE, .client = inode };
	struct call *call = call_new(c, CALL_CONN, arg);

	call->fn.conn = fn;
	return call_post(c, call, &f, NULL, 0);
}

int gwc_conn_end(struct gwc *c, uint64_t inode, bool moved, gwc_done_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_CONN_END, .client = inode, .flags = moved ? FRAME_F_MOVED : 0 };
	struct call *call = call_new(c, CALL_DONE, arg);

	call->fn.done = fn;
	return call_post(c, call, &f, NULL, 0);
}

int gwc_conn_hold(struct gwc *c, uint64_t inode, bool decided)
{
	struct frame f = { .type = FRAME_CONN_HOLD, .client = inode, .flags = decided ? 0 : FRAME_F_UNSURE };

	return call_post(c, call_new(c, CALL_DONE, NULL), &f, NULL, 0);
}

int gwc_conn_install(struct gwc *c, uint64_t token, uid_t uid, gid_t gid, const void *blob, size_t len,
		     gwc_done_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_CONN_INSTALL, .client = token, .uid = uid, .gid = gid };
	struct iovec iov = { (void *)(uintptr_t)blob, len };
	struct call *call;

	if (len > FRAME_PAYLOAD_MAX)
		return -EMSGSIZE;
	f.length = (uint32_t)len;
	call = call_new(c, CALL_DONE, arg);
	call->fn.done = fn;
	return call_post(c, call, &f, &iov, 1);
}

int gwc_hosts(struct gwc *c, gwc_hosts_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_HOSTS };
	struct call *call = call_new(c, CALL_HOSTS, arg);

	call->fn.hosts = fn;
	return call_post(c, call, &f, NULL, 0);
}

int gwc_counters(struct gwc *c, gwc_counters_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_COUNTERS };
	struct call *call = call_new(c, CALL_COUNTERS, arg);

	call->fn.counters = fn;
	return call_post(c, call, &f, NULL, 0);
}

int gwc_table(struct gwc *c, gwc_table_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_TABLE };
	struct call *call = call_new(c, CALL_TABLE, arg);

	call->fn.table = fn;
	return call_post(c, call, &f, NULL, 0);
}

int gwc_trace(struct gwc *c)
{
	struct frame f = { .type = FRAME_TRACE };

	return call_post_frame(c, &f, NULL, 0);
}

static void on_traced(struct gwc *c, const struct frame *f, const uint8_t *p)
{
	struct gwc_traced t = { .at_us = f->id, .left_out = f->uid, .sent = f->flags & FRAME_F_SENT };

	if (f->aux >= sizeof(t.host) || f->aux > f->length || !c->ops || !c->ops->traced)
		return;
	memcpy(t.host, p, f->aux);
	t.bytes = p + f->aux;
	t.n = f->length - f->aux;
	t.len = (size_t)f->status;
	c->ops->traced(c->user, &t);
}

/* Calls and forgets. */
static void answer(struct gwc *c, struct call *call, int status, uint64_t aux, const struct payload *load)
{
	const uint8_t *p = load->p;
	size_t len = load->len;
	struct call copy = *call;
	struct gw_hdr hdr = { 0 };

	call_drop(c, call);
	switch (copy.kind) {
	case CALL_TRANS:
		if (status == GW_OK && rpc_user_hdr_decode(&hdr, p, len) < 0)
			status = GW_FAILURE;
		if (!copy.fn.reply)
			break;
		if (status == GW_OK)
			copy.fn.reply(copy.arg, status, &hdr, payload_data(load, RPC_USER_HDR_LEN),
				      len - RPC_USER_HDR_LEN);
		else
			copy.fn.reply(copy.arg, status, NULL, NULL, 0);
		break;
	case CALL_DONE:
		if (copy.fn.done)
			copy.fn.done(copy.arg, status);
		break;
	case CALL_TAKE:
		copy.fn.take(copy.arg, status, p, len);
		break;
	case CALL_CONN:
		copy.fn.conn(copy.arg, status, (uid_t)(aux >> 32), (gid_t)aux, p, len);
		break;
	case CALL_ADDRESS:
		copy.fn.address(copy.arg, status, aux);
		break;
	case CALL_HOSTS:
		call_answer_hosts(&copy, status, p, len);
		break;
	case CALL_COUNTERS:
		call_answer_counters(&copy, status, p, len);
		break;
	case CALL_TABLE:
		call_answer_table(&copy, status, p, len);
		break;
	}
}

static const struct service *service_of(const struct gwc *c, const struct frame *f)
{
	const struct service *s;

	LIST_FOREACH (s, &c->services, list) {
		if (s->endpoint == f->endpoint && (s->all || !memcmp(&s->put, &f->port, sizeof(f->port))))
			return s;
	}
	return NULL;
}

static void on_request(struct gwc *c, const struct frame *f, const struct payload *load)
{
	const uint8_t *p = load->p;
	struct gwc_request r = { .id = f->id, .endpoint = f->endpoint, .client = f->client };
	const struct service *s = service_of(c, f);
	char host[GW_HOST_MAX];
	struct gw_hdr none = { .command = GW_STD_NOTNOW };

	if (f->aux >= sizeof(host) || f->aux > f->length ||
	    rpc_user_hdr_decode(&r.hdr, p + f->aux, f->length - f->aux) < 0)
		return;
	if (!s) {
		/* It crossed our gwc_unserve. */
		(void)gwc_reply(c, f->id, &none, NULL, 0);
		return;
	}
	memcpy(host, p, f->aux);
	host[f->aux] = '\0';
	r.host = host;
	r.hdr.port = f->port;
	r.data = payload_data(load, f->aux + RPC_USER_HDR_LEN);
	r.len = f->length - f->aux - RPC_USER_HDR_LEN;
	r.uid = f->uid;
	r.gid = f->gid;
	r.local = f->flags & FRAME_F_LOCAL;
	s->fn(s->arg, &r);
}

static void on_reply(struct gwc *c, const struct frame *f, const struct payload *load)
{
	const uint8_t *p = load->p;
	struct call *call = call_find(c, f->id);
	struct gw_hdr hdr;

	if (call && call->kind == CALL_TRANS && call->endpoint == f->endpoint) {
		answer(c, call, f->status, f->aux, load);
		return;
	}
	if (call || f->endpoint == GWC_MAIN || !c->ops || !c->ops->orphan_reply)
		return;
	if (f->status != GW_OK)
		c->ops->orphan_reply(c->user, f->endpoint, f->id, f->status, NULL, NULL, 0);
	else if (rpc_user_hdr_decode(&hdr, p, f->length) == 0)
		c->ops->orphan_reply(c->user, f->endpoint, f->id, GW_OK, &hdr, p + RPC_USER_HDR_LEN,
				     f->length - RPC_USER_HDR_LEN);
}

void conn_frame(struct gwc *c, const struct frame *f, const struct payload *load)
{
	const uint8_t *p = load->p;
	struct call *call;

	switch (f->type) {
	case FRAME_REPLY:
		on_reply(c, f, load);
		break;
	case FRAME_REQUEST:
		on_request(c, f, load);
		break;
	case FRAME_CANCELLED:
		if (c->ops && c->ops->request_cancelled)
			c->ops->request_cancelled(c->user, f->id);
		break;
	case FRAME_LOST:
		if (c->ops && c->ops->endpoint_lost)
			c->ops->endpoint_lost(c->user, f->endpoint, (uint32_t)f->aux);
		break;
	case FRAME_TRACED:
		on_traced(c, f, p);
		break;
	case FRAME_RAW_DATA:
		if (c->ops && c->ops->raw_data)
			c->ops->raw_data(c->user, f->endpoint, f->id, f->client, p, f->length);
		break;
	case FRAME_RAW_FAILED:
		if (c->ops && c->ops->raw_failed)
			c->ops->raw_failed(c->user, f->endpoint, f->id, f->client, f->status,
					   !(f->flags & FRAME_F_UNSURE));
		break;
	case FRAME_DONE:
		call = call_find(c, f->id);
		if (call && call->kind != CALL_TRANS)
			answer(c, call, f->status, f->aux, load);
		break;
	default:
		break;
	}
}

int conn_die(struct gwc *c)
{
	const struct payload none = { 0 };
	struct hnode *node, *next;

	if (c->dead)
		return -ECONNRESET;
	c->dead = true;
	/* A callback may start something new, which fails at once since we are dead; so the table only shrinks. */
	do {
		size_t i = 0;

		node = htab_walk(&c->calls, &i, &next);
		if (node) {
			struct call *call = container_of(node, struct call, node);

			answer(c, call, call->kind == CALL_TRANS ? GW_FAILURE : -ECONNRESET, 0, &none);
		}
	} while (node);
	conn_done(c);
	if (c->ops && c->ops->disconnected)
		c->ops->disconnected(c->user);
	return -ECONNRESET;
}
