/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program moves to another host, and its connection with it: what flipd holds of it becomes bytes here and a
 * connection there, and nothing that it or its partners see is lost or doubled.
 *
 * Theory of operation. The program's end of the connection is a socket of the program, and moves as its files do:
 * there, whoever rebuilds the program opens a connection in its place and says that it is for one who ARRIVEs.
 * What flipd holds follows by way of procd, at the commit.
 *
 *   source's procd  source's flipd                          destination's flipd
 *
 *   (the program has been stopped)
 *   TAKE ->         does what it was told up to then,
 *                   takes all endpoints, as wholes: BUSY
 *                   <- blob
 *                                                           <- ARRIVE, from the one who rebuilds the program, with
 *   (nothing is sent to the program any more: what lies        the unread bytes: they are written again
 *   unread in its socket is copied, and goes along)
 *                                                           <- INSTALL, from the destination's procd: endpoints
 *                                                              live here; what the source had not written comes
 *                                                              first
 *   HOLD ->         (unsure: before the decision is put on record; then once more)
 *   END, moved ->   forgets it all, without a word
 *
 * From TAKE to END the connection is in the care of the one who took it (the lessee): flipd neither reads from it
 * nor writes to it. If it is not to move after all, or the lessee goes, all goes on as if nothing had been. If the
 * program goes meanwhile, its connection is closed when the lease ends. From HOLD on the decision has been taken
 * and is only not known everywhere: the lease outlives the lessee, and ends when one that comes after it says how
 * it is. Between the first HOLD and the second nobody but the journal knows: then it outlives him by ten seconds.
 *
 * The blob:
 *
 *	magic (4) version (2) flags (2): 1 greeted  calls (4)
 *	input (4): bytes of a frame that has begun   output (4): bytes that were not written
 *	endpoints (4): number (4) length (4) blob of rpc_ep_take
 *	raw endpoints (4): number (4) length (4) blob of raw_ep_take
 *
 * It comes from another host: whose user the connection is, and so what it may serve, says this host's procd.
 */
#include "flipd/conn.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "base/wire.h"
#include "lib/client.h"

#define MAGIC 0x4757434eu
#define VERSION 2u
#define BLOB_MAX (16u << 20)
#define EPS_MAX 64u
/* How long the next lessee may take to come and say how it is. */
#define PATIENCE_US 10000000u

enum { BLOB_GREETED = 1 };

static struct conn *by_inode(struct flipd *d, uint64_t inode)
{
	struct conn *c;

	LIST_FOREACH (c, &d->local.conns, list) {
		if (inode && c->inode == inode)
			return c;
	}
	return NULL;
}

static struct conn *by_token(struct flipd *d, uint64_t token)
{
	struct conn *c;

	LIST_FOREACH (c, &d->local.conns, list) {
		if (token && c->token == token)
			return c;
	}
	return NULL;
}

/* --- source --- */

static void end_care(struct conn *c)
{
	c->lessee = NULL;
	c->committed = c->deciding = false;
	timers_disarm(flip_timers(rpc_flip(c->d->rpc)), &c->patience);
}

static void give_back(struct conn *c)
{
	struct rpc *r = c->d->rpc;
	struct raw *raw = c->d->raw;
	bool whole = true;
	struct raw_ep *rep;
	struct rpc_ep *ep;

	end_care(c);
	for (ep = rpc_ep_next(r, c, NULL); ep; ep = rpc_ep_next(r, c, ep))
		whole &= rpc_ep_resume(r, ep) == 0;
	for (rep = raw_ep_next(raw, c, NULL); rep; rep = raw_ep_next(raw, c, rep))
		whole &= raw_ep_resume(raw, rep, now_us()) == 0;
	if (!whole) /* the program connects anew, as if we had been started anew */
		conn_doom(c, "it was taken over elsewhere");
	else if (c->gone)
		conn_doom(c, "it was closed while it was to move");
	else
		conn_poll(c);
}

static void let_go(struct conn *c)
{
	struct rpc *r = c->d->rpc;
	struct rpc_ep *ep;

	while ((ep = rpc_ep_next(r, c, NULL)))
		rpc_ep_close(r, ep);
	raw_conn_gone(c);
	end_care(c);
	c->gone = true;
	conn_doom(c, "it lives elsewhere");
}

static size_t output_len(const struct conn *c)
{
	const struct out_frame *o;
	size_t n = 0;

	STAILQ_FOREACH (o, &c->out, next)
		n += o->head_len + o->len - o->at;
	return n;
}

static void put_output(struct wire_out *w, const struct conn *c)
{
	const struct out_frame *o;

	wire_put_u32(w, (uint32_t)output_len(c));
	STAILQ_FOREACH (o, &c->out, next) {
		size_t skip = o->at > o->head_len ? o->at - o->head_len : 0;

		if (o->at < o->head_len)
			wire_put_bytes(w, o->head + o->at, o->head_len - o->at);
		if (o->len)
			wire_put_bytes(w, o->buf->data + o->off + skip, o->len - skip);
	}
}

static void put_input(struct wire_out *w, const struct conn *c)
{
	wire_put_u32(w, (uint32_t)(c->head_len + c->payload_len));
	wire_put_bytes(w, c->head, c->head_len);
	if (c->payload_len)
		wire_put_bytes(w, c->payload->data, c->payload_len);
}

/* What was taken: RPC's endpoints, then raw ones. */
struct taken {
	size_t n, n_rpc;
	struct {
		uint32_t number;
		struct buf *blob;
	} eps[EPS_MAX];
};

static int take_rpc(struct conn *c, struct taken *t)
{
	struct rpc *r = c->d->rpc;
	struct rpc_ep *ep;
	int err = 0;

	for (ep = rpc_ep_next(r, c, NULL); ep && !err; ep = rpc_ep_next(r, c, ep)) {
		err = t->n < EPS_MAX ? rpc_ep_take(r, ep, true, &t->eps[t->n].blob) : -EMFILE;
		if (!err)
			t->eps[t->n++].number = rpc_ep_number(ep);
	}
	t->n_rpc = t->n;
	return err;
}

static int take_raw(struct conn *c, struct taken *t)
{
	struct raw *r = c->d->raw;
	struct raw_ep *ep;
	int err = 0;

	for (ep = raw_ep_next(r, c, NULL); ep && !err; ep = raw_ep_next(r, c, ep)) {
		err = t->n < EPS_MAX ? raw_ep_take(r, ep, &t->eps[t->n].blob) : -EMFILE;
		if (!err)
			t->eps[t->n++].number = raw_ep_number(ep);
	}
	return err;
}

/* All endpoints are taken or none is. */
static int take_endpoints(struct conn *c, struct taken *t)
{
	struct rpc *r = c->d->rpc;
	struct rpc_ep *ep;
	struct raw_ep *raw;
	int err = take_rpc(c, t);

	if (!err)
		err = take_raw(c, t);
	if (!err)
		return 0;
	for (ep = rpc_ep_next(r, c, NULL); ep; ep = rpc_ep_next(r, c, ep))
		(void)!rpc_ep_resume(r, ep);
	for (raw = raw_ep_next(c->d->raw, c, NULL); raw; raw = raw_ep_next(c->d->raw, c, raw))
		(void)!raw_ep_resume(c->d->raw, raw, now_us());
	return err;
}

static void put_endpoints(struct wire_out *w, const struct taken *t, size_t from, size_t to)
{
	wire_put_u32(w, (uint32_t)(to - from));
	for (size_t i = from; i < to; i++) {
		const struct buf *blob = t->eps[i].blob;

		wire_put_u32(w, t->eps[i].number);
		wire_put_u32(w, (uint32_t)blob->len);
		wire_put_bytes(w, blob->data, blob->len);
	}
}

static struct buf *encode(const struct conn *c, const struct taken *t)
{
	size_t len = 28 + c->head_len + c->payload_len + output_len(c);
	struct buf *out;
	struct wire_out w;

	for (size_t i = 0; i < t->n; i++)
		len += 8 + t->eps[i].blob->len;
	if (len > BLOB_MAX)
		return NULL;
	out = buf_new(len);
	w = wire_out(out->data, out->len);
	wire_put_u32(&w, MAGIC);
	wire_put_u16(&w, VERSION);
	wire_put_u16(&w, c->greeted ? BLOB_GREETED : 0);
	wire_put_u32(&w, (uint32_t)c->n_calls);
	put_input(&w, c);
	put_output(&w, c);
	put_endpoints(&w, t, 0, t->n_rpc);
	put_endpoints(&w, t, t->n_rpc, t->n);
	return out;
}

static int take(struct conn *lessee, struct conn *c, struct buf **ret)
{
	struct taken t = { 0 };
	int err;

	if (c == lessee || c->lessee || c->arriving)
		return -EBUSY;
	conn_drain(c);
	if (c->doomed)
		return -ENOENT;
	if (c->over)
		return -EAGAIN; /* what has come of that frame was not kept */
	err = take_endpoints(c, &t);
	if (!err) {
		*ret = encode(c, &t);
		c->lessee = lessee;
		if (!*ret) {
			give_back(c);
			err = -EMSGSIZE;
		} else {
			conn_poll(c);
		}
	}
	while (t.n)
		buf_unref(t.eps[--t.n].blob);
	return err;
}

static void on_take(struct conn *lessee, const struct frame *f)
{
	struct conn *c = by_inode(lessee->d, f->client);
	struct frame done = { .type = FRAME_DONE, .id = f->id };
	struct rpc_body body = { 0 };

	done.status = c ? take(lessee, c, &body.buf) : -ENOENT;
	if (!done.status) {
		done.aux = (uint64_t)c->uid << 32 | c->gid;
		done.length = (uint32_t)(body.len = body.buf->len);
	}
	conn_answer(lessee, &done, body.buf ? &body : NULL);
	buf_unref(body.buf);
}

static void on_end(struct conn *lessee, const struct frame *f)
{
	struct conn *c = by_inode(lessee->d, f->client);

	if (!c || !c->lessee || (c->lessee != lessee && c->lessee != c)) {
		conn_done(lessee, f->id, -ENOENT, NULL);
		return;
	}
	if (f->type == FRAME_CONN_HOLD && f->flags & FRAME_F_UNSURE)
		c->deciding = true;
	else if (f->type == FRAME_CONN_HOLD)
		c->committed = true;
	else if (f->flags & FRAME_F_MOVED)
		let_go(c);
	else
		give_back(c);
	conn_done(lessee, f->id, 0, NULL);
}

bool travel_keeps(struct conn *c)
{
	if (!c->lessee)
		return false;
	c->doomed = false;
	c->gone = true;
	conn_poll(c);
	return true;
}

static void on_patience(struct timer *t, void *ctx, uint64_t now_us)
{
	struct conn *c = container_of(t, struct conn, patience);

	(void)ctx;
	(void)now_us;
	if (!c->committed)
		give_back(c);
}

/* Its lessee is gone, and may have taken the decision. */
static void await_news(struct conn *c)
{
	c->lessee = c;
	if (c->committed)
		return;
	c->patience.fire = on_patience;
	timers_arm(flip_timers(rpc_flip(c->d->rpc)), &c->patience, now_us() + PATIENCE_US);
}

void travel_lessee_gone(struct conn *lessee)
{
	struct conn *c;

	timers_disarm(flip_timers(rpc_flip(lessee->d->rpc)), &lessee->patience);
	LIST_FOREACH (c, &lessee->d->local.conns, list) {
		if (c->lessee != lessee || c == lessee)
			continue;
		if (c->committed || c->deciding)
			await_news(c);
		else
			give_back(c);
	}
}

/* --- destination --- */

static void on_arrive(struct conn *c, const struct frame *f, const struct rpc_body *body)
{
	int err = 0;

	if (c->greeted || c->arriving || !f->client)
		err = -EINVAL;
	else if (by_token(c->d, f->client))
		err = -EEXIST;
	conn_done(c, f->id, err, NULL);
	if (err)
		return;
	conn_output(c, body->buf->data + body->off, body->len);
	c->token = f->client;
	c->arriving = true;
}

static int get_endpoints(struct conn *c, struct wire_in *w)
{
	struct rpc_bounds bounds = { .root = c->uid == 0, .uid = c->uid, .gid = c->gid };
	uint32_t n = wire_get_u32(w);
	struct rpc_ep *ep;
	int err = n > EPS_MAX ? -EBADMSG : 0;

	for (uint32_t i = 0; i < n && !err; i++) {
		uint32_t number = wire_get_u32(w), len = wire_get_u32(w);
		const uint8_t *p = wire_skip(w, len);

		if (!p || !number || rpc_ep_find(c->d->rpc, c, number))
			return -EBADMSG;
		err = rpc_ep_install(c->d->rpc, p, len, &bounds, c, number, &ep);
		conn_count_ep(c, !err && number != GWC_MAIN);
	}
	return err;
}

static int get_raw_endpoints(struct conn *c, struct wire_in *w)
{
	uint32_t n = wire_get_u32(w);
	int err = n > EPS_MAX ? -EBADMSG : 0;

	for (uint32_t i = 0; i < n && !err; i++) {
		uint32_t number = wire_get_u32(w), len = wire_get_u32(w);
		const uint8_t *p = wire_skip(w, len);

		if (!p || !conn_may_open(c, number))
			return -EBADMSG;
		err = raw_ep_install(c->d->raw, p, len, c, number, now_us());
		conn_count_ep(c, !err);
	}
	return err;
}

static int install(struct conn *c, const uint8_t *blob, size_t len)
{
	struct wire_in w = wire_in(blob, len);
	uint32_t magic = wire_get_u32(&w), in_len, out_len;
	uint16_t version = wire_get_u16(&w), flags = wire_get_u16(&w);
	const uint8_t *in, *out;
	int err;

	c->n_calls = wire_get_u32(&w);
	in_len = wire_get_u32(&w);
	in = wire_skip(&w, in_len);
	out_len = wire_get_u32(&w);
	out = wire_skip(&w, out_len);
	if (w.bad || magic != MAGIC || version != VERSION || flags & ~BLOB_GREETED)
		return -EBADMSG;
	/* Before the endpoints, which may have replies to hand out at once. */
	conn_output(c, out, out_len);
	err = get_endpoints(c, &w);
	if (!err)
		err = get_raw_endpoints(c, &w);
	if (!err && (w.bad || w.left))
		err = -EBADMSG;
	if (err)
		return err;
	c->greeted = flags & BLOB_GREETED;
	c->arriving = false;
	c->arrived = true;
	conn_input(c, in, in_len);
	return 0;
}

static void on_install(struct conn *from, const struct frame *f, const struct rpc_body *body)
{
	struct conn *c = by_token(from->d, f->client);
	int err = 0;

	if (!c) {
		err = -ENOENT;
	} else if (!c->arrived) { /* else: once more, since the answer was lost */
		conn_become(c, f->uid, f->gid);
		err = install(c, body->buf->data + body->off, body->len);
		/* The program finds its connection lost, as if flipd had been started anew. */
		if (err)
			conn_doom(c, "it did not arrive whole");
	}
	conn_done(from, f->id, err, NULL);
}

void travel_frame(struct conn *c, const struct frame *f, const struct rpc_body *body)
{
	switch (f->type) {
	case FRAME_CONN_TAKE:
		on_take(c, f);
		break;
	case FRAME_CONN_HOLD:
	case FRAME_CONN_END:
		on_end(c, f);
		break;
	case FRAME_CONN_ARRIVE:
		on_arrive(c, f, body);
		break;
	case FRAME_CONN_INSTALL:
		on_install(c, f, body);
		break;
	default:
		break;
	}
}
