/* SPDX-License-Identifier: Apache-2.0 */
/* Raw FLIP of local programs: their frames become calls of its core, and what that has to say becomes frames. */
#include "flipd/conn.h"

#include <errno.h>

#include "base/log.h"
#include "base/util.h"

static bool on_data(void *ctx, void *owner, uint32_t number, flip_addr src, flip_addr group,
		    const struct flip_data *d)
{
	struct frame f = {
		.type = FRAME_RAW_DATA,
		.endpoint = number,
		.id = src,
		.client = group,
		.length = (uint32_t)d->len,
	};
	struct rpc_body body = { .buf = d->body, .off = d->off, .len = d->len };

	if (d->len > FRAME_PAYLOAD_MAX || !local_room(ctx, owner, d->len))
		return false;
	conn_answer(owner, &f, d->len ? &body : NULL);
	return true;
}

static int status_of(enum flip_why why)
{
	static const int status[] = {
		[FLIP_WHY_NOT_LOCATED] = GW_NOTFOUND, [FLIP_WHY_NOTHERE] = GW_NOTFOUND,
		[FLIP_WHY_BUSY] = GW_TRYAGAIN,	      [FLIP_WHY_TIMEOUT] = GW_FAILURE,
		[FLIP_WHY_UNTRUSTED] = GW_UNSAFE,
	};

	return status[why];
}

static void on_failed(void *ctx, void *owner, uint32_t number, uint64_t id, flip_addr dst, enum flip_why why,
		      bool certain)
{
	struct frame f = {
		.type = FRAME_RAW_FAILED,
		.flags = certain ? 0 : FRAME_F_UNSURE,
		.endpoint = number,
		.id = id,
		.client = dst,
		.status = status_of(why),
	};

	(void)ctx;
	conn_answer(owner, &f, NULL);
}

static bool on_trusts(void *ctx, uint32_t loc)
{
	return trusts_host(ctx, loc);
}

const struct raw_ops raw_ops = {
	.data = on_data,
	.failed = on_failed,
	.lost = local_lost,
	.trusts = on_trusts,
};

static void on_open(struct conn *c, const struct frame *f)
{
	struct frame done = { .type = FRAME_DONE, .id = f->id };

	if (!conn_may_open(c, f->endpoint)) {
		done.status = -EMFILE;
	} else {
		conn_count_ep(c, 1);
		done.aux = raw_ep_flip(raw_ep_new(c->d->raw, c, f->endpoint))->addr;
	}
	conn_answer(c, &done, NULL);
}

static void on_join(struct conn *c, const struct frame *f)
{
	struct frame done = { .type = FRAME_DONE, .id = f->id };
	struct raw_ep *ep = raw_ep_find(c->d->raw, c, f->endpoint);

	done.status = ep ? raw_join(c->d->raw, ep, f->client, &done.aux) : -ENOENT;
	conn_answer(c, &done, NULL);
}

static void on_leave(struct conn *c, const struct frame *f)
{
	struct raw_ep *ep = raw_ep_find(c->d->raw, c, f->endpoint);

	if (ep)
		raw_leave(c->d->raw, ep, f->client);
}

static void on_send(struct conn *c, const struct frame *f, const struct rpc_body *body)
{
	struct raw_ep *ep = raw_ep_find(c->d->raw, c, f->endpoint);
	struct raw_send s = {
		.id = f->id,
		.dst = f->client,
		.flags = (f->flags & FRAME_F_INVAL ? RAW_INVAL : 0) | (f->flags & FRAME_F_SAFE ? RAW_SAFE : 0) |
			 (f->flags & FRAME_F_GROUP ? RAW_GROUP : 0),
		.n = f->uid,
		.hops = f->gid,
		.locate_us = f->aux ? MIN(f->aux, 3600000u) * 1000 : FLIP_LOCATE_DEFAULT_US,
		.data = { .body = body->buf, .off = body->off, .len = body->len },
	};

	if (body->len > GW_MSG_MAX)
		conn_doom(c, "a message of impossible length");
	else if (ep)
		raw_send(c->d->raw, ep, &s, now_us());
}

void raw_frame(struct conn *c, const struct frame *f, const struct rpc_body *body)
{
	switch (f->type) {
	case FRAME_RAW_OPEN:
		on_open(c, f);
		break;
	case FRAME_RAW_JOIN:
		on_join(c, f);
		break;
	case FRAME_RAW_LEAVE:
		on_leave(c, f);
		break;
	case FRAME_RAW_SEND:
		on_send(c, f, body);
		break;
	default:
		break;
	}
}

void raw_conn_gone(struct conn *c)
{
	struct raw_ep *ep;

	while ((ep = raw_ep_next(c->d->raw, c, NULL)))
		raw_ep_close(c->d->raw, ep);
}
