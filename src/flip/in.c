/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on their way in: reassembly, and the answers to what cannot be delivered. */
#include "flip/core.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define REASSEMBLY_IDLE_US 10000000u
/* Fragments in order between two CREDITs. */
#define CREDIT_EVERY 16u

static void bounce(struct flip *f, uint32_t loc, const struct flip_hdr *h, enum flip_type type, uint32_t inc)
{
	uint8_t head[FLIP_HDR_LEN];
	struct iovec iov = { head, sizeof(head) };
	struct flip_hdr back = *h;

	back.type = type;
	back.flags = 0;
	back.hops = 0;
	back.src = h->dst;
	back.dst = h->src;
	back.src_inc = inc;
	back.dst_inc = h->src_inc;
	back.length = 0;
	if (type == FLIP_BUSY)
		f->stats.busy++;
	else
		f->stats.nothere++;
	/* Not flip_packet: the sender's own fragment length tells it whether this was the whole message. */
	flip_hdr_encode(&back, head);
	f->stats.out++;
	f->ops->transmit(f->ctx, loc, &iov, 1);
}

static void hand_up(struct flip *f, const struct flip_hdr *h, uint32_t loc, struct buf *buf)
{
	flip_upcall(f, UP_DELIVER, h->dst)->delivery = (struct flip_delivery) {
		.src = h->src,
		.src_inc = h->src_inc,
		.loc = loc,
		.messid = h->messid,
		.data = {
			.body = buf,
			.len = buf->len,
			.flags = (uint8_t)((h->flags & (FLIP_F_RAW | FLIP_F_SAFE)) |
					   (h->type == FLIP_MULTIDATA ? FLIP_F_GROUP : 0)),
		},
	};
}

void in_local(struct flip *f, struct flip_ep *ep, const struct flip_ep *src, uint32_t messid,
	      const struct flip_data *d)
{
	buf_ref(d->body);
	flip_upcall(f, UP_DELIVER, ep->addr)->delivery = (struct flip_delivery) {
		.src = src->addr,
		.src_inc = src->inc,
		.loc = FLIP_LOC_HERE,
		.messid = messid,
		.data = *d,
	};
}

static struct in *in_find(struct flip *f, const struct flip_hdr *h)
{
	struct hnode *node = htab_first(&f->ins, message_hash(h->src, h->dst, h->messid));

	for (; node; node = htab_next(node)) {
		struct in *in = container_of(node, struct in, node);

		if (in->src == h->src && in->dst == h->dst && in->messid == h->messid)
			return in;
	}
	return NULL;
}

void in_free(struct flip *f, struct in *in)
{
	htab_del(&f->ins, &in->node);
	TAILQ_REMOVE(&f->ins_by_age, in, age);
	timers_disarm(&f->timers, &in->timer);
	f->reassembly_bytes -= in->total;
	buf_unref(in->buf);
	free(in);
}

static void in_fire(struct timer *t, void *ctx, uint64_t now_us)
{
	(void)now_us;
	in_free(ctx, container_of(t, struct in, timer));
}

static uint32_t frags_of(const struct flip_hdr *h)
{
	return (h->total + h->frag - 1) / h->frag;
}

static struct in *in_new(struct flip *f, const struct flip_hdr *h)
{
	uint32_t n = frags_of(h);
	struct in *in;

	if (f->reassembly_bytes + h->total > f->config.reassembly_bytes)
		return NULL;
	in = xcalloc(1, sizeof(*in) + (n + 7) / 8);
	in->src = h->src;
	in->dst = h->dst;
	in->messid = h->messid;
	in->total = h->total;
	in->frag = h->frag;
	in->n_frags = n;
	in->buf = buf_new(h->total);
	in->timer.fire = in_fire;
	f->reassembly_bytes += in->total;
	htab_add(&f->ins, &in->node, message_hash(h->src, h->dst, h->messid));
	TAILQ_INSERT_TAIL(&f->ins_by_age, in, age);
	return in;
}

static bool has(const struct in *in, uint32_t i)
{
	return in->got[i / 8] >> i % 8 & 1;
}

static void credit(struct flip *f, uint32_t loc, const struct flip_hdr *h, uint32_t whole, const struct in *in)
{
	uint8_t data[4 + FLIP_CREDIT_BITS / 8] = { (uint8_t)(whole >> 24), (uint8_t)(whole >> 16),
						   (uint8_t)(whole >> 8), (uint8_t)whole };
	struct flip_hdr c = {
		.type = FLIP_CREDIT, .src = h->dst, .dst = h->src, .messid = h->messid, .length = 4
	};

	for (uint32_t bit = 0; in && bit < FLIP_CREDIT_BITS && whole + bit < in->n_frags; bit++) {
		if (!has(in, whole + bit))
			continue;
		data[4 + bit / 8] |= (uint8_t)(1u << bit % 8);
		c.length = 4 + bit / 8 + 1;
	}
	flip_packet(f, loc, &c, data);
}

static size_t recent_slot(const struct flip_hdr *h)
{
	return message_hash(h->src, h->dst, h->messid) % RECENT_N;
}

/* Puts a fragment in its place; true if the message is whole now. */
static bool take(struct flip *f, struct in *in, uint32_t loc, const struct flip_hdr *h, const uint8_t *data)
{
	uint32_t i = h->offset / h->frag;
	bool odd = has(in, i) || i != in->next || h->flags & FLIP_F_ASK;

	if (!has(in, i)) {
		memcpy(in->buf->data + h->offset, data, h->length);
		in->got[i / 8] |= (uint8_t)(1u << i % 8);
		in->n_got++;
	}
	while (in->next < in->n_frags && has(in, in->next))
		in->next++;
	if (odd || ++in->since_credit >= CREDIT_EVERY || in->n_got == in->n_frags) {
		in->since_credit = 0;
		credit(f, loc, h, in->next, in);
	}
	return in->n_got == in->n_frags;
}

static void fragment(struct flip *f, uint32_t loc, const struct flip_hdr *h, const uint8_t *data, uint64_t now_us)
{
	size_t slot = recent_slot(h);
	struct in *in = in_find(f, h);

	if (!in && f->recent[slot].src == h->src && f->recent[slot].dst == h->dst &&
	    f->recent[slot].messid == h->messid) {
		credit(f, loc, h, frags_of(h), NULL); /* all, as it counts them now */
		return;
	}
	/* Its sender found them too long for the path, and began anew. */
	if (in && h->frag < in->frag && h->total == in->total) {
		in_free(f, in);
		in = NULL;
	}
	if (!in)
		in = in_new(f, h);
	if (!in || in->total != h->total || in->frag != h->frag) {
		f->stats.dropped++;
		return;
	}
	timers_arm(&f->timers, &in->timer, now_us + REASSEMBLY_IDLE_US);
	if (!take(f, in, loc, h, data))
		return;
	f->recent[slot].src = h->src;
	f->recent[slot].dst = h->dst;
	f->recent[slot].messid = h->messid;
	hand_up(f, h, loc, buf_ref(in->buf));
	in_free(f, in);
}

void in_unidata(struct flip *f, uint32_t loc, const struct flip_hdr *h, const uint8_t *data, uint64_t now_us)
{
	struct flip_ep *ep = flip_ep_find(f, h->dst);

	flip_learn(f, h->src, loc, h->src_inc);
	if (!flip_admits(f, h->flags, loc)) {
		bounce(f, loc, h, FLIP_UNTRUSTED, ep ? ep->inc : 0);
		return;
	}
	/* Whoever sends raw messages writes all of them: none may pass for RPC's. */
	if (ep && ep->raw != !!(h->flags & FLIP_F_RAW)) {
		f->stats.bad++;
		return;
	}
	if (!ep || ep->state != FLIP_EP_UP) {
		struct flip_data d = { 0 };

		if (ep && h->total <= h->frag) {
			struct buf *buf = buf_copy(data, h->length);

			d = (struct flip_data) { .body = buf, .len = buf->len };
			if (flip_owes(f, ep, h->src, &d)) {
				hand_up(f, h, loc, buf);
				return;
			}
			buf_unref(buf);
		}
		bounce(f, loc, h, ep && ep->state == FLIP_EP_BUSY ? FLIP_BUSY : FLIP_NOTHERE, ep ? ep->inc : 0);
		return;
	}
	if (h->total <= h->frag)
		hand_up(f, h, loc, buf_copy(data, h->length));
	else
		fragment(f, loc, h, data, now_us);
}
