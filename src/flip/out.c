/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages on their way out.
 *
 * Theory of operation. A message of one fragment whose route is known is transmitted and forgotten. Any other
 * becomes a `struct out`, which first waits for a route if there is none (locate.c) and then, if it has several
 * fragments, stands in its link's queue. The link (flow.c) says how many bytes may be under way. The receiver
 * answers with CREDIT packets that name every fragment it has.
 *
 * Each transmission of a fragment gets a number that is unique on the link. A fragment is lost when one that was
 * transmitted more than link_reorder() later has arrived; this works for retransmissions too, since it goes by
 * transmissions and not by offsets. The first and the last fragment ask for their CREDIT, and so does one that
 * fills the window: the sender waits then, and the receiver cannot know. If no CREDIT comes at all for a
 * retransmission timeout, all that was under way counts as lost.
 */
#include "flip/core.h"

#include <stdlib.h>

#include "base/util.h"

#define TRIES_MAX 12u
/* In vain (most of a second), until fragments are made shorter. */
#define SHORTEN_TRIES 4u
/* Fragments between two that ask. */
#define ASK_EVERY 16u

static void out_fire(struct timer *t, void *ctx, uint64_t now_us);

static struct out *out_new(struct flip *f, const struct flip_ep *ep, flip_addr dst, uint32_t messid,
			   const struct flip_data *d)
{
	struct out *o = xcalloc(1, sizeof(*o));

	o->f = f;
	o->src = ep->addr;
	o->src_inc = ep->inc;
	o->dst = dst;
	o->messid = messid;
	o->data = *d;
	buf_ref(d->body);
	o->total = (uint32_t)(d->head_len + d->len);
	o->timer.fire = out_fire;
	htab_add(&f->outs, &o->node, message_hash(o->src, 0, messid));
	return o;
}

struct out *out_find(struct flip *f, flip_addr src, uint32_t messid)
{
	struct hnode *h = htab_first(&f->outs, message_hash(src, 0, messid));

	for (; h; h = htab_next(h)) {
		struct out *o = container_of(h, struct out, node);

		if (o->src == src && o->messid == messid)
			return o;
	}
	return NULL;
}

static uint32_t frag_len(const struct out *o, uint32_t i)
{
	return i + 1 < o->n_frags ? o->frag : o->total - i * o->frag;
}

/* A message of one fragment is not acknowledged: one that is longer than every path can be expected to carry
 * becomes two, so that it is noticed if they do not arrive. */
static void divide(struct out *o, uint32_t frag)
{
	o->frag = o->total > FLIP_FRAG && o->total <= frag ? (o->total + 1) / 2 : frag;
	o->n_frags = o->total ? (o->total + o->frag - 1) / o->frag : 1;
}

void out_free(struct flip *f, struct out *o)
{
	struct link *l = o->link;

	if (o->locate)
		locate_leave(f, o);
	if (l) {
		for (uint32_t i = o->first_unacked; o->seqs && i < o->next_new; i++) {
			if (o->seqs[i])
				l->inflight -= frag_len(o, i);
		}
		TAILQ_REMOVE(&l->outs, o, queue);
	}
	timers_disarm(&f->timers, &o->timer);
	htab_del(&f->outs, &o->node);
	buf_unref(o->data.body);
	free(o->seqs);
	free(o->acked);
	free(o);
	/* What it held of the window is free for others, who may have no timer of their own yet. */
	if (l && !f->closing)
		link_pump(f, l, f->now_us);
}

void out_fail(struct flip *f, struct out *o, enum flip_why why, bool certain)
{
	flip_fail(f, o->src, o->dst, o->messid, why, certain);
	out_free(f, o);
}

/* Sends bytes [offset, offset + len) of a message. */
static void transmit(struct flip *f, uint32_t loc, struct flip_hdr *h, const struct flip_data *d)
{
	uint8_t head[FLIP_HDR_LEN];
	struct iovec iov[3] = { { head, sizeof(head) } };
	uint32_t at = h->offset, left = h->length;
	int n = 1;

	flip_hdr_encode(h, head);
	if (at < d->head_len) {
		uint32_t piece = MIN(left, (uint32_t)d->head_len - at);

		iov[n++] = (struct iovec) { (void *)(uintptr_t)(d->head + at), piece };
		at += piece;
		left -= piece;
	}
	if (left)
		iov[n++] = (struct iovec) { d->body->data + d->off + at - d->head_len, left };
	f->stats.out++;
	f->ops->transmit(f->ctx, loc, iov, n);
}

static struct flip_hdr data_hdr(struct flip *f, flip_addr src, uint32_t src_inc, flip_addr dst, uint8_t flags,
				uint32_t messid, uint32_t total, uint32_t frag)
{
	return (struct flip_hdr) {
		.type = flags & FLIP_F_GROUP ? FLIP_MULTIDATA : FLIP_UNIDATA,
		.flags = flags & (FLIP_F_RAW | FLIP_F_SAFE),
		.hops_max = 1,
		.frag = (uint16_t)frag,
		.src = src,
		.dst = dst,
		.src_inc = src_inc,
		.dst_inc = routes_floor(&f->routes, dst),
		.messid = messid,
		.total = total,
	};
}

static void send_frag(struct flip *f, struct out *o, uint32_t i, uint64_t now_us)
{
	struct flip_hdr h = data_hdr(f, o->src, o->src_inc, o->dst, o->data.flags, o->messid, o->total, o->frag);
	struct link *l = o->link;

	h.offset = i * o->frag;
	h.length = frag_len(o, i);
	if (!++l->seq)
		l->seq = 1;
	if (i == o->next_new) {
		o->next_new++;
	} else {
		o->n_lost--;
		o->resent = true;
		f->stats.fragments_resent++;
	}
	o->seqs[i] = l->seq;
	l->inflight += h.length;
	if (!i || i + 1 == o->n_frags || l->inflight + o->frag > l->cwnd || !(l->seq % ASK_EVERY))
		h.flags |= FLIP_F_ASK;
	if (!o->timed_seq && h.flags & FLIP_F_ASK) {
		o->timed_seq = l->seq;
		o->timed_us = now_us;
	}
	if (!timer_armed(&o->timer))
		timers_arm(&f->timers, &o->timer, now_us + link_rto(l, 0));
	transmit(f, l->loc, &h, &o->data);
}

static bool is_acked(const struct out *o, uint32_t i)
{
	return o->acked[i / 8] >> i % 8 & 1;
}

/* The next fragment to send, n_frags if all have been sent. */
static uint32_t next_frag(const struct out *o)
{
	for (uint32_t i = o->first_unacked; o->n_lost && i < o->next_new; i++) {
		if (!o->seqs[i] && !is_acked(o, i))
			return i;
	}
	return o->next_new;
}

/* Round robin, a bunch of fragments each, so that messages share the link and bunches can leave as one system
 * call. */
void link_pump(struct flip *f, struct link *l, uint64_t now_us)
{
	struct out *o, *stop = NULL;

	while ((o = TAILQ_FIRST(&l->outs)) && o != stop) {
		unsigned sent = 0;

		/* One always may: a message that began when fragments were longer. */
		for (; sent < 32 && (!l->inflight || l->inflight + o->frag <= l->cwnd); sent++) {
			uint32_t i = next_frag(o);

			if (i == o->n_frags)
				break;
			send_frag(f, o, i, now_us);
		}
		if (!TAILQ_NEXT(o, queue) && !sent)
			break;
		TAILQ_REMOVE(&l->outs, o, queue);
		TAILQ_INSERT_TAIL(&l->outs, o, queue);
		if (sent)
			stop = NULL;
		else if (!stop)
			stop = o;
	}
}

void out_start(struct flip *f, struct out *o, uint32_t loc, uint64_t now_us)
{
	struct flip_hdr h;

	if (!flip_admits(f, o->data.flags, loc)) {
		out_fail(f, o, FLIP_WHY_UNTRUSTED, true);
		return;
	}
	divide(o, link_frag(f, loc));
	if (o->n_frags == 1) {
		h = data_hdr(f, o->src, o->src_inc, o->dst, o->data.flags, o->messid, o->total, o->frag);
		h.length = o->total;
		transmit(f, loc, &h, &o->data);
		out_free(f, o);
		return;
	}
	o->link = link_get(f, loc);
	o->seqs = xcalloc(o->n_frags, sizeof(*o->seqs));
	o->acked = xcalloc((o->n_frags + 7) / 8, 1);
	o->top_seq = o->link->seq;
	TAILQ_INSERT_TAIL(&o->link->outs, o, queue);
	link_pump(f, o->link, now_us);
}

/* Fragment i has arrived. Returns its bytes if that is news. */
static uint32_t ack(struct out *o, uint32_t i, uint64_t now_us)
{
	struct link *l = o->link;
	uint32_t len = frag_len(o, i), seq = o->seqs[i];

	if (is_acked(o, i))
		return 0;
	o->acked[i / 8] |= (uint8_t)(1u << i % 8);
	o->n_acked++;
	o->seqs[i] = 0;
	if (!seq) {
		o->n_lost--;
	} else {
		l->inflight -= len;
		if ((int32_t)(seq - o->top_seq) > 0)
			o->top_seq = seq;
		/* A later one's arrival is as good: it was not sent earlier. */
		if (o->timed_seq && (int32_t)(seq - o->timed_seq) >= 0) {
			if (seq == o->timed_seq)
				link_rtt(l, seq, now_us - o->timed_us, now_us);
			o->timed_seq = 0;
		}
	}
	return len;
}

static void find_losses(struct flip *f, struct out *o)
{
	uint32_t reorder = link_reorder(o->link);

	for (uint32_t i = o->first_unacked; i < o->next_new; i++) {
		if (!o->seqs[i] || (int32_t)(o->top_seq - o->seqs[i]) <= (int32_t)reorder)
			continue;
		o->link->inflight -= frag_len(o, i);
		link_loss(f, o->link, o->seqs[i]);
		o->seqs[i] = 0;
		o->n_lost++;
	}
}

void out_credit(struct flip *f, const struct flip_hdr *h, const uint8_t *data, uint64_t now_us)
{
	struct out *o = out_find(f, h->dst, h->messid);
	uint32_t whole, news = 0;

	if (!o || !o->link || o->dst != h->src)
		return;
	whole = (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
	whole = MIN(whole, o->next_new);
	for (uint32_t i = o->first_unacked; i < whole; i++)
		news += ack(o, i, now_us);
	for (uint32_t bit = 0; bit < 8 * (h->length - 4) && whole + bit < o->next_new; bit++) {
		if (data[4 + bit / 8] >> bit % 8 & 1)
			news += ack(o, whole + bit, now_us);
	}
	while (o->first_unacked < o->next_new && is_acked(o, o->first_unacked))
		o->first_unacked++;
	if (news) {
		o->tries = 0;
		link_progress(o->link, news);
		timers_arm(&f->timers, &o->timer, now_us + link_rto(o->link, 0));
	}
	find_losses(f, o);
	link_pump(f, o->link, now_us);
	if (o->n_acked == o->n_frags)
		out_free(f, o);
}

static void forget_flight(struct out *o)
{
	for (uint32_t i = o->first_unacked; i < o->next_new; i++) {
		if (!o->seqs[i])
			continue;
		o->link->inflight -= frag_len(o, i);
		o->seqs[i] = 0;
		o->n_lost++;
	}
}

/* Nothing has come of several tries: perhaps the fragments are too long for something on the way that does not say
 * so, or that lets only some of them pass. The receiver gives up what it has for shorter ones. */
static void shorten(struct flip *f, struct out *o)
{
	if (o->tries % SHORTEN_TRIES || !link_narrow(f, o->link, o->frag))
		return;
	free(o->seqs);
	free(o->acked);
	divide(o, link_get(f, o->link->loc)->frag);
	o->seqs = xcalloc(o->n_frags, sizeof(*o->seqs));
	o->acked = xcalloc((o->n_frags + 7) / 8, 1);
	o->next_new = o->first_unacked = o->n_lost = o->n_acked = 0;
}

/* Nothing was heard of a message for a retransmission timeout. */
static void out_fire(struct timer *t, void *ctx, uint64_t now_us)
{
	struct out *o = container_of(t, struct out, timer);
	struct flip *f = ctx;
	struct link *l = o->link;

	if (++o->tries > TRIES_MAX) {
		f->stats.messages_timed_out++;
		out_fail(f, o, FLIP_WHY_TIMEOUT, false);
		return;
	}
	f->now_us = now_us;
	forget_flight(o);
	shorten(f, o);
	o->timed_seq = 0;
	o->top_seq = l->seq;
	link_timeout(f, l);
	timers_arm(&f->timers, t, now_us + link_rto(l, o->tries));
	link_pump(f, l, now_us);
}

static void send_as(struct flip *f, struct flip_ep *ep, uint32_t messid, flip_addr dst, uint32_t loc,
		    const struct flip_data *d, uint64_t now_us)
{
	struct flip_ep *here = loc == FLIP_LOC_NONE || loc == FLIP_LOC_HERE ? flip_ep_find(f, dst) : NULL;
	struct out *o;

	f->now_us = now_us;
	if (here && here->raw != ep->raw)
		return; /* as in_unidata */
	if (here && (here->state == FLIP_EP_UP || flip_owes(f, here, ep->addr, d))) {
		in_local(f, here, ep, messid, d);
		return;
	}
	if (here && here->state == FLIP_EP_BUSY) {
		flip_fail(f, ep->addr, dst, messid, FLIP_WHY_BUSY, true);
		return;
	}
	if (loc == FLIP_LOC_NONE || loc == FLIP_LOC_HERE) {
		const struct route *route = routes_find(&f->routes, dst, f->now_us);

		loc = route ? route->loc : FLIP_LOC_NONE;
	}
	if (loc != FLIP_LOC_NONE && !flip_admits(f, d->flags, loc)) {
		flip_fail(f, ep->addr, dst, messid, FLIP_WHY_UNTRUSTED, true);
		return;
	}
	if (loc != FLIP_LOC_NONE && d->head_len + d->len <= MIN(link_frag(f, loc), (uint32_t)FLIP_FRAG)) {
		struct flip_hdr h = data_hdr(f, ep->addr, ep->inc, dst, d->flags, messid,
					     (uint32_t)(d->head_len + d->len), link_frag(f, loc));

		h.length = h.total;
		transmit(f, loc, &h, d);
		return;
	}
	o = out_new(f, ep, dst, messid, d);
	if (loc == FLIP_LOC_NONE)
		locate_address(f, o, now_us);
	else
		out_start(f, o, loc, now_us);
}

uint32_t flip_send(struct flip *f, struct flip_ep *ep, flip_addr dst, uint32_t loc, const struct flip_data *d,
		   uint64_t now_us)
{
	uint32_t messid = ep->messid++;

	send_as(f, ep, messid, dst, loc, d, now_us);
	return messid;
}

void flip_send_again(struct flip *f, struct flip_ep *ep, uint32_t messid, flip_addr dst, const struct flip_data *d,
		     uint64_t now_us)
{
	send_as(f, ep, messid, dst, FLIP_LOC_NONE, d, now_us);
}

bool flip_sending(struct flip *f, const struct flip_ep *ep, uint32_t messid)
{
	return out_find(f, ep->addr, messid) != NULL;
}

void flip_cancel(struct flip *f, const struct flip_ep *ep, uint32_t messid)
{
	struct out *o = out_find(f, ep->addr, messid);

	if (o)
		out_free(f, o);
}
