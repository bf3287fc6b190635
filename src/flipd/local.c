/* SPDX-License-Identifier: Apache-2.0 */
/* Local programs: a connection each, frames in, frames out. What they ask for becomes calls of the RPC core. */
#include "flipd/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "base/wire.h"
#include "lib/client.h"

#define READ_CHUNK 65536u
#define CONNS_MAX 4096u
/* Of these, so many are root's in any case; and descriptors that are not connections. */
#define CONNS_ROOT 256u
#define FILES_OTHER 64u
#define ACCEPT_TURN 64u
#define ACCEPT_AGAIN_MS 100u
/* What a frame costs of a turn beside its length. */
#define FRAME_COST 2048u
#define ENDPOINTS_MAX 16384u
#define ENDPOINTS_USER_MAX 64u
#define CALLS_MAX 16384u
/* Bytes that a program has not read yet: no more requests for it beyond the first, no more patience beyond the
 * second. */
#define OUT_SOFT (32u << 20)
#define OUT_HARD (256u << 20)
/* Bytes of one connection that are read before others get their turn. */
#define TURN_BYTES (4u << 20)

static void out_free(struct out_frame *o)
{
	buf_unref(o->buf);
	free(o);
}

static void on_closed(uv_handle_t *h)
{
	struct conn *c = h->data;
	struct out_frame *o;

	while ((o = STAILQ_FIRST(&c->out))) {
		STAILQ_REMOVE_HEAD(&c->out, next);
		out_free(o);
	}
	buf_unref(c->payload);
	fd_close(&c->fd);
	c->user->n_conns--;
	c->user->n_eps -= c->n_eps;
	c->user->out_bytes -= c->out_bytes;
	quota_unref(c->user);
	free(c);
}

static void on_event(uv_poll_t *p, int status, int events);

/* The core may be calling us: only mark it. */
void conn_doom(struct conn *c, const char *why)
{
	if (c->doomed)
		return;
	log_debug("connection of uid %u: %s", c->uid, why);
	c->doomed = true;
	c->d->local.n_doomed++;
}

static void conn_close(struct conn *c)
{
	struct flipd *d = c->d;

	travel_lessee_gone(c);
	rpc_owner_gone(d->rpc, c);
	raw_conn_gone(c);
	LIST_REMOVE(c, list);
	d->n_tracers -= c->tracing;
	d->local.n_conns--;
	uv_close((uv_handle_t *)&c->poll, on_closed);
}

void conn_poll(struct conn *c)
{
	if (c->lessee || c->gone)
		uv_poll_stop(&c->poll);
	else
		uv_poll_start(&c->poll, UV_READABLE | (c->writing ? UV_WRITABLE : 0), on_event);
}

static void want(struct conn *c, bool writing)
{
	if (writing == c->writing)
		return;
	c->writing = writing;
	conn_poll(c);
}

/* What of a frame the socket takes now. */
static void write_frame(struct conn *c, struct out_frame *o)
{
	struct iovec iov[2];
	struct msghdr m = { .msg_iov = iov };
	ssize_t n;

	if (o->at < o->head_len)
		iov[m.msg_iovlen++] = (struct iovec) { o->head + o->at, o->head_len - o->at };
	if (o->len) {
		size_t skip = o->at > o->head_len ? o->at - o->head_len : 0;

		iov[m.msg_iovlen++] = (struct iovec) { o->buf->data + o->off + skip, o->len - skip };
	}
	n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0)
		o->at += (size_t)n;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		conn_doom(c, "it is gone");
}

/* So many bytes more wait to be read. */
static void queued(struct conn *c, ssize_t bytes)
{
	c->out_bytes += (size_t)bytes;
	c->user->out_bytes += (size_t)bytes;
}

/* Writes it, or what of it the socket takes now; the rest is queued. */
static void send_out(struct conn *c, struct out_frame *o)
{
	if (STAILQ_EMPTY(&c->out)) {
		write_frame(c, o);
		if (o->at == o->head_len + o->len) {
			out_free(o);
			return;
		}
	}
	queued(c, sizeof(*o) + o->head_len + o->len - o->at);
	STAILQ_INSERT_TAIL(&c->out, o, next);
	if (c->out_bytes > OUT_HARD || !quota_may_receive(c->user, 0))
		conn_doom(c, "it does not read");
	else
		want(c, true);
}

static void post(struct conn *c, const struct frame *f, const char *prefix, const struct rpc_body *body)
{
	struct out_frame *o;
	size_t prefix_len = prefix ? strlen(prefix) : 0;

	/* What the cores say of one that has been taken is for where it lives then. */
	if (c->doomed || c->lessee)
		return;
	o = xcalloc(1, sizeof(*o));
	frame_encode(f, o->head);
	memcpy(o->head + FRAME_HDR_LEN, prefix ? prefix : "", prefix_len);
	o->head_len = FRAME_HDR_LEN + prefix_len;
	if (body) {
		o->buf = buf_ref(body->buf);
		o->off = body->off;
		o->len = body->len;
	}
	send_out(c, o);
}

void conn_output(struct conn *c, const void *data, size_t len)
{
	struct out_frame *o;

	if (!len)
		return;
	o = xcalloc(1, sizeof(*o));
	o->buf = buf_copy(data, len);
	o->len = len;
	send_out(c, o);
}

static void write_queue(struct conn *c)
{
	struct out_frame *o;

	while ((o = STAILQ_FIRST(&c->out)) && !c->doomed) {
		size_t before = o->at;

		write_frame(c, o);
		queued(c, -(ssize_t)(o->at - before));
		if (o->at < o->head_len + o->len)
			return;
		queued(c, -(ssize_t)sizeof(*o));
		STAILQ_REMOVE_HEAD(&c->out, next);
		out_free(o);
	}
	want(c, false);
}

void conn_answer(struct conn *c, const struct frame *f, const struct rpc_body *body)
{
	post(c, f, NULL, body);
}

void conn_done(struct conn *c, uint64_t id, int status, struct buf *payload)
{
	struct frame f = { .type = FRAME_DONE, .id = id, .status = status };
	struct rpc_body body = { .buf = payload };

	if (payload)
		f.length = (uint32_t)(body.len = payload->len);
	post(c, &f, NULL, payload ? &body : NULL);
	buf_unref(payload);
}

bool local_room(void *ctx, void *owner, size_t len)
{
	const struct conn *c = owner;

	(void)ctx;
	return !c->doomed && c->out_bytes + len < OUT_SOFT + GW_MSG_MAX && quota_may_receive(c->user, len);
}

void local_request(void *ctx, void *owner, uint32_t number, const struct rpc_request *r)
{
	struct flipd *d = ctx;
	const char *host = peers_name(d->peers, r->loc);
	struct frame f = {
		.type = FRAME_REQUEST,
		.flags = r->loc == FLIP_LOC_HERE ? FRAME_F_LOCAL : 0,
		.endpoint = number,
		.id = r->id,
		.port = r->port,
		.client = r->client,
		.uid = r->uid,
		.gid = r->gid,
		.aux = strlen(host),
	};

	f.length = (uint32_t)(f.aux + r->body.len);
	post(owner, &f, host, &r->body);
}

void local_reply(void *ctx, void *owner, uint32_t number, uint64_t cookie, int status, const struct rpc_body *body)
{
	struct frame f = { .type = FRAME_REPLY, .endpoint = number, .id = cookie, .status = status };
	struct conn *c = owner;

	(void)ctx;
	if (c->n_calls)
		c->n_calls--;
	f.length = body ? (uint32_t)body->len : 0;
	post(c, &f, NULL, body);
}

void local_cancelled(void *ctx, void *owner, uint64_t id)
{
	struct frame f = { .type = FRAME_CANCELLED, .id = id };

	(void)ctx;
	post(owner, &f, NULL, NULL);
}

void local_lost(void *ctx, void *owner, uint32_t number, uint32_t inc)
{
	struct frame f = { .type = FRAME_LOST, .endpoint = number, .aux = inc };

	(void)ctx;
	post(owner, &f, NULL, NULL);
}

static void on_trans(struct conn *c, const struct frame *f, const struct rpc_body *body)
{
	struct rpc_ep *ep = rpc_ep_find(c->d->rpc, c, f->endpoint);
	uint64_t locate_us = f->aux ? MIN(f->aux, 3600000u) * 1000 : FLIP_LOCATE_DEFAULT_US;
	struct frame reply = { .type = FRAME_REPLY, .endpoint = f->endpoint, .id = f->id, .status = GW_TRYAGAIN };

	if (body->len < RPC_USER_HDR_LEN || body->len > FRAME_BODY_MAX) {
		conn_doom(c, "a request of impossible length");
		return;
	}
	if (!ep || c->n_calls >= CALLS_MAX || c->over) {
		post(c, &reply, NULL, NULL);
		return;
	}
	c->n_calls++;
	rpc_trans(c->d->rpc, ep, f->id, &f->port, c->uid, c->gid, locate_us, body);
}

static void on_cancel(struct conn *c, const struct frame *f)
{
	struct rpc_ep *ep = rpc_ep_find(c->d->rpc, c, f->endpoint);

	if (!ep)
		return;
	if (f->flags & FRAME_F_FORGET && c->n_calls)
		c->n_calls--;
	rpc_cancel(c->d->rpc, ep, f->id, f->flags & FRAME_F_FORGET);
}

bool conn_may_open(const struct conn *c, uint32_t number)
{
	const struct flipd *d = c->d;

	return number > GWC_MAIN && !rpc_ep_find(d->rpc, c, number) && !raw_ep_find(d->raw, c, number) &&
	       c->n_eps < (c->uid ? ENDPOINTS_USER_MAX : ENDPOINTS_MAX) && quota_may_open(c->user);
}

void conn_count_ep(struct conn *c, int n)
{
	c->n_eps += (size_t)n;
	c->user->n_eps += (size_t)n;
}

static void on_ep_open(struct conn *c, const struct frame *f)
{
	if (f->aux >= UINT32_MAX || !conn_may_open(c, f->endpoint)) {
		conn_doom(c, "an endpoint it may not open");
		return;
	}
	conn_count_ep(c, 1);
	rpc_ep_new(c->d->rpc, (uint32_t)f->aux, c, f->endpoint);
}

static void on_ep_close(struct conn *c, const struct frame *f)
{
	struct rpc_ep *ep = rpc_ep_find(c->d->rpc, c, f->endpoint);
	struct raw_ep *raw = ep ? NULL : raw_ep_find(c->d->raw, c, f->endpoint);

	if (!ep && !raw)
		return;
	conn_count_ep(c, -1);
	if (ep)
		rpc_ep_close(c->d->rpc, ep);
	else
		raw_ep_close(c->d->raw, raw);
}

static void on_serve(struct conn *c, const struct frame *f)
{
	struct rpc_ep *ep = rpc_ep_find(c->d->rpc, c, f->endpoint);
	struct gw_port put;

	gw_port_publish(&f->port, &put);
	if (f->type == FRAME_UNSERVE) {
		if (ep)
			rpc_unserve(c->d->rpc, ep, &put);
	} else if (!ep) {
		conn_done(c, f->id, -ENOENT, NULL);
	} else if (gw_port_is_well_known(&f->port) &&
		   (c->uid != 0 || !ports_may_serve(c->d, FLIP_LOC_HERE, &f->port))) {
		conn_done(c, f->id, -EACCES, NULL);
	} else {
		conn_done(c, f->id, rpc_serve(c->d->rpc, ep, &put), NULL);
	}
}

/* Only root moves endpoints: an installed one speaks for the users whom its bytes name. */
static int install(struct conn *c, const struct frame *f, const struct rpc_body *body)
{
	struct rpc_bounds bounds = { .root = true };
	struct rpc_ep *ep;

	if (f->flags & FRAME_F_BOUND)
		bounds = (struct rpc_bounds) { .uid = f->uid, .gid = f->gid, .port = f->port };
	return rpc_ep_install(c->d->rpc, body->buf->data, body->len, &bounds, c, f->endpoint, &ep);
}

static void on_move(struct conn *c, const struct frame *f, const struct rpc_body *body)
{
	struct rpc_ep *ep = rpc_ep_find(c->d->rpc, c, f->endpoint);
	struct buf *blob = NULL;
	int err = -ENOENT;

	if (c->uid) {
		err = -EACCES;
	} else if (f->type == FRAME_EP_INSTALL) {
		if (!conn_may_open(c, f->endpoint))
			err = -EINVAL;
		else
			err = install(c, f, body);
		conn_count_ep(c, err == 0);
	} else if (ep && f->type == FRAME_EP_TAKE) {
		err = rpc_ep_take(c->d->rpc, ep, false, &blob);
	} else if (ep) {
		err = rpc_ep_resume(c->d->rpc, ep);
	}
	conn_done(c, f->id, err, blob);
}

static void conn_trace(struct conn *c)
{
	if (c->uid) {
		conn_doom(c, "it wants to see everybody's packets");
	} else if (!c->tracing) {
		c->tracing = true;
		c->d->n_tracers++;
	}
}

static void on_frame(struct conn *c, const struct frame *f, struct buf *payload)
{
	static struct buf empty = { .refs = 1 };
	struct rpc_body body = { .buf = payload ? payload : &empty, .len = f->length };

	if (!c->greeted && f->type != FRAME_HELLO && f->type != FRAME_CONN_ARRIVE) {
		conn_doom(c, "no greeting");
		return;
	}
	switch (f->type) {
	case FRAME_HELLO:
		if (c->greeted || f->aux != FRAME_VERSION)
			conn_doom(c, "it speaks another version");
		else
			rpc_ep_new(c->d->rpc, 1, c, GWC_MAIN);
		c->greeted = true;
		break;
	case FRAME_TRANS:
		on_trans(c, f, &body);
		break;
	case FRAME_CANCEL:
		on_cancel(c, f);
		break;
	case FRAME_EP_OPEN:
		on_ep_open(c, f);
		break;
	case FRAME_EP_CLOSE:
		on_ep_close(c, f);
		break;
	case FRAME_SERVE:
	case FRAME_UNSERVE:
		on_serve(c, f);
		break;
	case FRAME_PUTREP:
		if (body.len < RPC_USER_HDR_LEN || body.len > FRAME_BODY_MAX)
			conn_doom(c, "a reply of impossible length");
		else
			(void)rpc_reply(c->d->rpc, c, f->id, &body);
		break;
	case FRAME_EP_TAKE:
	case FRAME_EP_RESUME:
	case FRAME_EP_INSTALL:
		on_move(c, f, &body);
		break;
	case FRAME_RAW_OPEN:
	case FRAME_RAW_JOIN:
	case FRAME_RAW_LEAVE:
	case FRAME_RAW_SEND:
		raw_frame(c, f, &body);
		break;
	case FRAME_HOSTS:
		conn_done(c, f->id, 0, report_hosts(c->d));
		break;
	case FRAME_COUNTERS:
		conn_done(c, f->id, 0, report_counters(c->d));
		break;
	case FRAME_TABLE:
		conn_done(c, f->id, 0, report_table(c->d, c->uid ? c : NULL));
		break;
	case FRAME_TRACE:
		conn_trace(c);
		break;
	case FRAME_CONN_TAKE:
	case FRAME_CONN_HOLD:
	case FRAME_CONN_END:
	case FRAME_CONN_ARRIVE:
	case FRAME_CONN_INSTALL:
		if (c->uid)
			conn_done(c, f->id, -EPERM, NULL);
		else
			travel_frame(c, f, &body);
		break;
	default:
		conn_doom(c, "a frame of unknown type");
		break;
	}
}

/* A frame's header is there: takes on what it announces, or not. */
static bool begin_frame(struct conn *c)
{
	bool request;

	if (frame_decode(&c->frame, c->head) < 0) {
		conn_doom(c, "a frame that is too long");
		return false;
	}
	request = c->frame.type == FRAME_TRANS;
	c->over = c->frame.length && !quota_may_send(c->user, request, c->frame.length);
	if (c->over) {
		c->d->local.over_quota++;
		if (!request)
			conn_doom(c, "more than its user's quota");
		return request;
	}
	if (c->frame.length) {
		c->payload = buf_new(c->frame.length);
		quota_charge(c->user, request, c->payload);
	}
	return true;
}

/* Consumes what it can of some bytes that were read; true if a frame is complete. */
static bool feed(struct conn *c, const uint8_t **p, size_t *n)
{
	size_t take = MIN(*n, FRAME_HDR_LEN - c->head_len);

	memcpy(c->head + c->head_len, *p, take);
	c->head_len += take;
	*p += take;
	*n -= take;
	if (c->head_len < FRAME_HDR_LEN)
		return false;
	if (take && !begin_frame(c))
		return false;
	take = MIN(*n, c->frame.length - c->payload_len);
	if (take && c->payload)
		memcpy(c->payload->data + c->payload_len, *p, take);
	c->payload_len += take;
	*p += take;
	*n -= take;
	return c->payload_len == c->frame.length;
}

void conn_input(struct conn *c, const uint8_t *p, size_t n)
{
	while (!c->doomed && feed(c, &p, &n)) {
		struct buf *payload = steal_ptr(&c->payload);

		c->head_len = c->payload_len = 0;
		on_frame(c, &c->frame, payload);
		c->over = false;
		buf_unref(payload);
		(void)quota_turn(c->user, uv_now(&c->d->loop), FRAME_COST);
		if (!n)
			break;
	}
}

/* Reads once; true if there may be more. A long payload is read straight into its buffer. */
static bool read_some(struct conn *c, size_t *turn)
{
	static uint8_t chunk[READ_CHUNK];
	bool direct = c->payload && c->frame.length - c->payload_len >= sizeof(chunk);
	uint8_t *to = direct ? c->payload->data + c->payload_len : chunk;
	size_t room = direct ? c->frame.length - c->payload_len : sizeof(chunk);
	ssize_t n = recv(c->fd, to, room, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		conn_doom(c, "it has closed");
		return false;
	}
	*turn += (size_t)n;
	(void)quota_turn(c->user, uv_now(&c->d->loop), (size_t)n);
	if (direct) {
		c->payload_len += (size_t)n;
		if (c->payload_len == c->frame.length)
			conn_input(c, chunk, 0);
	} else {
		conn_input(c, chunk, (size_t)n);
	}
	return (size_t)n == room && !c->doomed;
}

void conn_drain(struct conn *c)
{
	size_t turn = 0;

	while (!c->doomed && read_some(c, &turn))
		;
}

static void on_event(uv_poll_t *p, int status, int events)
{
	struct conn *c = p->data;
	struct flipd *d = c->d;
	size_t turn = 0;

	if (status < 0)
		conn_doom(c, uv_strerror(status));
	rpc_clock(d->rpc, now_us());
	if (events & UV_WRITABLE)
		write_queue(c);
	if (events & UV_READABLE && !c->doomed) {
		while (turn < TURN_BYTES && quota_turn(c->user, uv_now(&d->loop), 0) && read_some(c, &turn))
			;
	}
	flipd_work(d);
}

void local_bury(struct flipd *d)
{
	struct conn *c, *next;

	for (c = LIST_FIRST(&d->local.conns); c && d->local.n_doomed; c = next) {
		next = LIST_NEXT(c, list);
		if (!c->doomed)
			continue;
		d->local.n_doomed--;
		if (!travel_keeps(c))
			conn_close(c);
	}
}

static void on_connection(uv_poll_t *p, int status, int events);

static void on_again(uv_timer_t *t)
{
	struct flipd *d = t->data;

	uv_poll_start(&d->local.poll, UV_READABLE, on_connection);
}

/* glibc's fstat() is newfstatat(), which could look at files and is not allowed in the cell. */
static uint64_t inode_of(int fd)
{
	struct stat st = { 0 };

	return syscall(SYS_fstat, fd, &st) < 0 ? 0 : st.st_ino;
}

static void admit(struct flipd *d, int fd, const struct ucred *cred)
{
	struct user *u = quota_user(&d->local, cred->uid);
	struct conn *c;

	if (d->local.n_conns >= d->local.conns_max - (cred->uid ? CONNS_ROOT : 0) || !quota_may_connect(u)) {
		d->local.refused++;
		quota_unref(u);
		(void)close(fd);
		return;
	}
	u->n_conns++;
	c = xcalloc(1, sizeof(*c));
	c->d = d;
	c->inode = inode_of(fd);
	c->fd = fd;
	c->user = u;
	c->uid = cred->uid;
	c->gid = cred->gid;
	STAILQ_INIT(&c->out);
	LIST_INSERT_HEAD(&d->local.conns, c, list);
	d->local.n_conns++;
	d->local.accepted++;
	c->poll.data = c;
	uv_poll_init(&d->loop, &c->poll, c->fd);
	uv_poll_start(&c->poll, UV_READABLE, on_event);
}

void conn_become(struct conn *c, uid_t uid, gid_t gid)
{
	struct user *was = c->user;

	c->user = quota_user(&c->d->local, uid);
	c->uid = uid;
	c->gid = gid;
	was->n_conns--;
	was->n_eps -= c->n_eps;
	was->out_bytes -= c->out_bytes;
	quota_unref(was);
	c->user->n_conns++;
	c->user->n_eps += c->n_eps;
	c->user->out_bytes += c->out_bytes;
}

/* Many at once: who comes and goes in a loop must not keep others waiting at the door. */
static void on_connection(uv_poll_t *p, int status, int events)
{
	struct flipd *d = p->data;

	(void)status;
	(void)events;
	for (unsigned i = 0; i < ACCEPT_TURN; i++) {
		int fd = accept4(d->local.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct ucred cred;
		socklen_t len = sizeof(cred);

		/* The host has no descriptors left: the connection stays ready, and would be heard of at once. */
		if (fd < 0 && (errno == ENFILE || errno == EMFILE || errno == ENOMEM)) {
			uv_poll_stop(p);
			uv_timer_start(&d->local.again, on_again, ACCEPT_AGAIN_MS, 0);
		}
		if (fd < 0)
			return;
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
			(void)close(fd);
		else
			admit(d, fd, &cred);
	}
}

/* A descriptor for every connection there may be; what is not to be had is not promised. */
static void raise_files(struct local *l)
{
	struct rlimit now = { 0 }, want = { CONNS_MAX + FILES_OTHER, CONNS_MAX + FILES_OTHER };

	(void)getrlimit(RLIMIT_NOFILE, &now);
	if (now.rlim_cur < want.rlim_cur) {
		want.rlim_max = MAX(want.rlim_max, now.rlim_max);
		if (setrlimit(RLIMIT_NOFILE, &want) < 0) {
			want.rlim_cur = want.rlim_max = now.rlim_max;
			(void)setrlimit(RLIMIT_NOFILE, &want);
		}
		(void)getrlimit(RLIMIT_NOFILE, &now);
	}
	l->conns_max = MIN(CONNS_MAX, MAX(now.rlim_cur, 2 * CONNS_ROOT + FILES_OTHER) - FILES_OTHER);
}

int local_open(struct flipd *d, struct err *e)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const char *env = getenv("GODWIT_FLIP_SOCK");
	_cleanup_free_ char *path = env && *env ? xstrdup(env) : xasprintf("%s/flip.sock", d->run);
	_cleanup_fd_ int probe = -EBADF;
	int err;

	LIST_INIT(&d->local.conns);
	LIST_INIT(&d->local.users);
	d->local.fd = -EBADF;
	raise_files(&d->local);
	err = quota_load(&d->local.quotas, d->conf, e);
	if (err)
		return err;
	if (mkdir(d->run, 0755) < 0 && errno != EEXIST)
		return err_errno(e, "cannot make %s", d->run);
	if (strlen(path) >= sizeof(sun.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: the path is too long for a socket", path);
	strcpy(sun.sun_path, path);
	probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (probe >= 0 && connect(probe, (const struct sockaddr *)&sun, sizeof(sun)) == 0)
		return err_set(e, -EADDRINUSE, "another flipd serves %s", path);
	(void)unlink(path);
	d->local.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->local.fd < 0)
		return err_errno(e, "socket");
	if (bind(d->local.fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0 || chmod(path, 0666) < 0 ||
	    listen(d->local.fd, 128) < 0)
		return err_errno(e, "cannot serve %s", path);
	return 0;
}

void local_start(struct flipd *d)
{
	d->local.poll.data = d;
	d->local.again.data = d;
	uv_timer_init(&d->loop, &d->local.again);
	uv_poll_init(&d->loop, &d->local.poll, d->local.fd);
	uv_poll_start(&d->local.poll, UV_READABLE, on_connection);
}

void local_close(struct flipd *d)
{
	struct conn *c, *next;

	for (c = LIST_FIRST(&d->local.conns); c; c = next) {
		next = LIST_NEXT(c, list);
		conn_close(c);
	}
	fd_close(&d->local.fd);
}
