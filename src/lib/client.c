/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/htab.h"
#include "base/util.h"
#include "base/wire.h"
#include "lib/call.h"
#include "lib/frame.h"

#define READ_CHUNK 65536u
/* Requests and replies that one gwc_dispatch hands out before it lets its caller look at other things. */
#define DISPATCH_BYTES (8u << 20)

/* Who serves what: by port, or everything of an endpoint (port null). */
struct service {
	LIST_ENTRY(service) list;
	uint32_t endpoint;
	bool all;
	struct gw_port get, put;
	gwc_request_fn *fn;
	void *arg;
};

struct chunk {
	STAILQ_ENTRY(chunk) next;
	size_t len, at;
	uint8_t data[];
};

struct gwc {
	int fd;
	const struct gwc_ops *ops;
	void *user;
	bool dead;
	uint64_t id;
	uint32_t endpoint;
	struct htab calls;
	LIST_HEAD(, service) services;
	STAILQ_HEAD(, chunk) queue;
	size_t queued;
	/* The frame that is being read: its header, then header and payload together. */
	uint8_t *in;
	size_t in_len, in_cap, in_at;
};

static int write_some(struct gwc *c);

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
	STAILQ_INIT(&c->queue);
	*ret_c = c;
	return 0;
}

static void free_queue(struct gwc *c)
{
	struct chunk *chunk;

	while ((chunk = STAILQ_FIRST(&c->queue))) {
		STAILQ_REMOVE_HEAD(&c->queue, next);
		free(chunk);
	}
	c->queued = 0;
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
	free_queue(c);
	free(c->in);
	fd_close(&c->fd);
	free(c);
}

int gwc_fd(const struct gwc *c)
{
	return c->fd;
}

int gwc_events(const struct gwc *c)
{
	return POLLIN | (STAILQ_EMPTY(&c->queue) ? 0 : POLLOUT);
}

static void tell_events(struct gwc *c, int before)
{
	if (gwc_events(c) != before && c->ops && c->ops->events_changed)
		c->ops->events_changed(c->user, gwc_events(c));
}

/* Writes a frame, or what of it the socket takes now; the rest is queued. */
static int post(struct gwc *c, const struct frame *f, const struct iovec *payload, int n)
{
	int before = gwc_events(c);
	uint8_t hdr[FRAME_HDR_LEN];
	struct iovec iov[4] = { { hdr, sizeof(hdr) } };
	size_t total = FRAME_HDR_LEN, skip = 0;
	struct chunk *chunk;

	if (c->dead)
		return -ENOTCONN;
	frame_encode(f, hdr);
	for (int i = 0; i < n; i++) {
		iov[i + 1] = payload[i];
		total += payload[i].iov_len;
	}
	if (STAILQ_EMPTY(&c->queue)) {
		struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)n + 1 };
		ssize_t sent = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

		/* An error other than a full socket is found again, and reported, by gwc_dispatch. */
		skip = sent > 0 ? (size_t)sent : 0;
		if (skip == total)
			return 0;
	} else if (c->queued + total > GWC_QUEUE_MAX) {
		return -ENOBUFS;
	}
	chunk = xmalloc(sizeof(*chunk) + total);
	chunk->len = 0;
	chunk->at = skip;
	for (int i = 0; i <= n; i++) {
		if (iov[i].iov_len)
			memcpy(chunk->data + chunk->len, iov[i].iov_base, iov[i].iov_len);
		chunk->len += iov[i].iov_len;
	}
	STAILQ_INSERT_TAIL(&c->queue, chunk, next);
	c->queued += total - skip;
	tell_events(c, before);
	return 0;
}

static struct call *call_new(struct gwc *c, enum call_kind kind, void *arg)
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

/* Posts the frame of a call; takes the call back if that fails. */
static int post_call(struct gwc *c, struct call *call, struct frame *f, const struct iovec *payload, int n)
{
	int err;

	f->id = call->id;
	err = post(c, f, payload, n);
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
	err = post_call(c, call, &f, iov, 2);
	return err ? err : id;
}

void gwc_cancel(struct gwc *c, int64_t id)
{
	const struct call *call = call_find(c, (uint64_t)id);
	struct frame f = { .type = FRAME_CANCEL, .id = (uint64_t)id };

	if (!call || call->kind != CALL_TRANS)
		return;
	f.endpoint = call->endpoint;
	(void)post(c, &f, NULL, 0);
}

void gwc_forget(struct gwc *c, int64_t id)
{
	struct call *call = call_find(c, (uint64_t)id);
	struct frame f = { .type = FRAME_CANCEL, .flags = FRAME_F_FORGET, .id = (uint64_t)id };

	if (!call || call->kind != CALL_TRANS)
		return;
	f.endpoint = call->endpoint;
	call_drop(c, call);
	(void)post(c, &f, NULL, 0);
}

uint32_t gwc_endpoint_open(struct gwc *c, uint32_t incarnation)
{
	struct frame f = { .type = FRAME_EP_OPEN, .endpoint = ++c->endpoint, .aux = incarnation };

	(void)post(c, &f, NULL, 0);
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
	(void)post(c, &f, NULL, 0);
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
	return post_call(c, call, &f, NULL, 0);
}

void gwc_unserve(struct gwc *c, uint32_t endpoint, const struct gw_port *get)
{
	struct frame f = { .type = FRAME_UNSERVE, .endpoint = endpoint, .port = *get };

	drop_services(c, endpoint, get);
	(void)post(c, &f, NULL, 0);
}

int gwc_reply(struct gwc *c, uint64_t request, const struct gw_hdr *hdr, const void *data, size_t len)
{
	struct frame f = { .type = FRAME_PUTREP, .id = request, .length = (uint32_t)(RPC_USER_HDR_LEN + len) };
	uint8_t user[RPC_USER_HDR_LEN];
	struct iovec iov[2] = { { user, sizeof(user) }, { (void *)(uintptr_t)data, len } };

	if (len > GW_MSG_MAX)
		return -EMSGSIZE;
	rpc_user_hdr_encode(hdr, user);
	return post(c, &f, iov, 2);
}

int gwc_endpoint_take(struct gwc *c, uint32_t endpoint, gwc_take_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_EP_TAKE, .endpoint = endpoint };
	struct call *call = call_new(c, CALL_TAKE, arg);

	call->fn.take = fn;
	return post_call(c, call, &f, NULL, 0);
}

int gwc_endpoint_resume(struct gwc *c, uint32_t endpoint, gwc_done_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_EP_RESUME, .endpoint = endpoint };
	struct call *call = call_new(c, CALL_DONE, arg);

	call->fn.done = fn;
	return post_call(c, call, &f, NULL, 0);
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
	err = post_call(c, call, &f, &iov, 1);
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
	return post_call(c, call, &f, NULL, 0);
}

int gwc_conn_end(struct gwc *c, uint64_t inode, bool moved, gwc_done_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_CONN_END, .client = inode, .flags = moved ? FRAME_F_MOVED : 0 };
	struct call *call = call_new(c, CALL_DONE, arg);

	call->fn.done = fn;
	return post_call(c, call, &f, NULL, 0);
}

int gwc_conn_hold(struct gwc *c, uint64_t inode)
{
	struct frame f = { .type = FRAME_CONN_HOLD, .client = inode };

	return post_call(c, call_new(c, CALL_DONE, NULL), &f, NULL, 0);
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
	return post_call(c, call, &f, &iov, 1);
}

int gwc_hosts(struct gwc *c, gwc_hosts_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_HOSTS };
	struct call *call = call_new(c, CALL_HOSTS, arg);

	call->fn.hosts = fn;
	return post_call(c, call, &f, NULL, 0);
}

int gwc_counters(struct gwc *c, gwc_counters_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_COUNTERS };
	struct call *call = call_new(c, CALL_COUNTERS, arg);

	call->fn.counters = fn;
	return post_call(c, call, &f, NULL, 0);
}

int gwc_table(struct gwc *c, gwc_table_fn *fn, void *arg)
{
	struct frame f = { .type = FRAME_TABLE };
	struct call *call = call_new(c, CALL_TABLE, arg);

	call->fn.table = fn;
	return post_call(c, call, &f, NULL, 0);
}

int gwc_trace(struct gwc *c)
{
	struct frame f = { .type = FRAME_TRACE };

	return post(c, &f, NULL, 0);
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
static void answer(struct gwc *c, struct call *call, int status, uint64_t aux, const uint8_t *p, size_t len)
{
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
			copy.fn.reply(copy.arg, status, &hdr, p + RPC_USER_HDR_LEN, len - RPC_USER_HDR_LEN);
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

static void on_request(struct gwc *c, const struct frame *f, const uint8_t *p)
{
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
	r.data = p + f->aux + RPC_USER_HDR_LEN;
	r.len = f->length - f->aux - RPC_USER_HDR_LEN;
	r.uid = f->uid;
	r.gid = f->gid;
	r.local = f->flags & FRAME_F_LOCAL;
	s->fn(s->arg, &r);
}

static void on_reply(struct gwc *c, const struct frame *f, const uint8_t *p)
{
	struct call *call = call_find(c, f->id);
	struct gw_hdr hdr;

	if (call && call->kind == CALL_TRANS && call->endpoint == f->endpoint) {
		answer(c, call, f->status, f->aux, p, f->length);
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

static void on_frame(struct gwc *c, const struct frame *f, const uint8_t *p)
{
	struct call *call;

	switch (f->type) {
	case FRAME_REPLY:
		on_reply(c, f, p);
		break;
	case FRAME_REQUEST:
		on_request(c, f, p);
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
	case FRAME_DONE:
		call = call_find(c, f->id);
		if (call && call->kind != CALL_TRANS)
			answer(c, call, f->status, f->aux, p, f->length);
		break;
	default:
		break;
	}
}

static int die(struct gwc *c)
{
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

			answer(c, call, call->kind == CALL_TRANS ? GW_FAILURE : -ECONNRESET, 0, NULL, 0);
		}
	} while (node);
	free_queue(c);
	if (c->ops && c->ops->disconnected)
		c->ops->disconnected(c->user);
	return -ECONNRESET;
}

static int write_some(struct gwc *c)
{
	struct chunk *chunk;

	while ((chunk = STAILQ_FIRST(&c->queue))) {
		ssize_t n =
			send(c->fd, chunk->data + chunk->at, chunk->len - chunk->at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		chunk->at += (size_t)n;
		c->queued -= (size_t)n;
		if (chunk->at < chunk->len)
			return 0;
		STAILQ_REMOVE_HEAD(&c->queue, next);
		free(chunk);
	}
	return 0;
}

/* Runs the whole frames of the input buffer and moves the rest to its start. -EPROTO if it makes no sense. */
static int run_frames(struct gwc *c)
{
	struct frame f;

	while (c->in_len - c->in_at >= FRAME_HDR_LEN && !c->dead) {
		if (frame_decode(&f, c->in + c->in_at) < 0)
			return -EPROTO;
		if (c->in_len - c->in_at - FRAME_HDR_LEN < f.length)
			break;
		on_frame(c, &f, c->in + c->in_at + FRAME_HDR_LEN);
		c->in_at += FRAME_HDR_LEN + f.length;
	}
	memmove(c->in, c->in + c->in_at, c->in_len - c->in_at);
	c->in_len -= c->in_at;
	c->in_at = 0;
	return 0;
}

/* Room for the frame that has begun, or for the next reads; gives back what a long frame needed. */
static void make_room(struct gwc *c)
{
	size_t want = READ_CHUNK;
	struct frame f;

	if (c->in_len >= FRAME_HDR_LEN && frame_decode(&f, c->in) == 0)
		want = MAX(want, FRAME_HDR_LEN + (size_t)f.length);
	if (want != c->in_cap && (want > c->in_cap || !c->in_len)) {
		c->in = xrealloc(c->in, want);
		c->in_cap = want;
	}
}

/* `flags` of the first read: MSG_DONTWAIT, or 0 to wait for it. */
static int dispatch(struct gwc *c, int flags)
{
	int before = gwc_events(c);
	size_t done = 0;

	if (c->dead)
		return -ECONNRESET;
	if (write_some(c) < 0)
		return die(c);
	tell_events(c, before);
	while (done < DISPATCH_BYTES) {
		bool more;
		ssize_t n;

		make_room(c);
		n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, flags);
		if (n < 0 && errno == EINTR && !flags)
			return -EINTR;
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		flags = MSG_DONTWAIT;
		if (n <= 0)
			return die(c);
		more = (size_t)n == c->in_cap - c->in_len;
		c->in_len += (size_t)n;
		done += (size_t)n;
		if (run_frames(c) < 0)
			return die(c);
		/* A short read found the socket empty: no need to ask again. */
		if (!more)
			break;
	}
	return 0;
}

int gwc_dispatch(struct gwc *c)
{
	return dispatch(c, MSG_DONTWAIT);
}

int gwc_wait(struct gwc *c, int timeout_ms)
{
	struct pollfd p = { .fd = c->fd, .events = (short)gwc_events(c) };
	int n;

	if (c->dead)
		return -ECONNRESET;
	/* One system call less where it counts: a null RPC. */
	if (timeout_ms < 0 && p.events == POLLIN)
		return dispatch(c, 0);
	n = poll(&p, 1, timeout_ms);
	if (n < 0)
		return errno == EINTR ? -EINTR : -ECONNRESET;
	return n ? gwc_dispatch(c) : -ETIMEDOUT;
}
