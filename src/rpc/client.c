/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of a transaction.
 *
 * Theory of operation.
 *
 *	LOCATE  who serves the port?                      found: SEND; nobody: GW_NOTFOUND
 *	SEND    the request is on its way                 REPLY: done; ACK: WAIT
 *	WAIT    the server has it                         REPLY: done; FAIL: GW_FAILURE
 *
 * A request is not repeated blindly: if nothing is heard of it, RECEIVED asks whether it arrived. The answers are
 * ACK (it is being served), the REPLY, NAK (send it again) or FAIL (it was begun and is lost). In WAIT, ENQUIRE
 * asks now and then whether the server still works on it; ALIVE says yes.
 *
 * `unsure` counts the copies of the request that may have reached a server: each one sent adds one, each that came
 * back (NOTHERE, BUSY, or refused) takes one off. While it is zero nothing was executed: the transaction may go to
 * another server, or end with GW_NOTFOUND. Otherwise all that can be said at the end is GW_FAILURE.
 *
 * BUSY is not a failure: it restarts all counting, and the transaction is tried again after a short, growing time,
 * or at once when the new home is announced. Copies of one request carry one tid, and the server's window belongs
 * to its address and moves with it, so that a copy which arrived before the move is recognised after it.
 */
#include "rpc/core.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define WAIT_MAX_SHIFT 3u
#define BOUNCES_FREE 8u
/* A server that moves twice during one search can be missed by it. */
#define MISSES_MAX 2u
#define MISS_US 50000u
#define DOUBTS_MAX 3u
#define DOUBT_US 20000u

static void trans_fire(struct timer *timer, void *ctx, uint64_t now_us);

struct trans *trans_new(struct rpc_ep *ep, uint64_t tid, uint64_t cookie, const struct rpc_body *body)
{
	struct trans *t = xcalloc(1, sizeof(*t));

	t->ep = ep;
	t->tid = tid;
	t->cookie = cookie;
	t->body = *body;
	buf_ref(body->buf);
	t->timer.fire = trans_fire;
	htab_add(&ep->trans_by_tid, &t->node, hash_u64(tid));
	TAILQ_INSERT_TAIL(&ep->trans, t, by_tid);
	return t;
}

static void leave_locating(struct rpc *r, struct trans *t)
{
	if (t->state != TRANS_LOCATE)
		return;
	TAILQ_REMOVE(&r->locating, t, locating);
	t->state = TRANS_SEND;
}

void trans_drop(struct rpc *r, struct trans *t)
{
	leave_locating(r, t);
	timers_disarm(&r->timers, &t->timer);
	htab_del(&t->ep->trans_by_tid, &t->node);
	TAILQ_REMOVE(&t->ep->trans, t, by_tid);
	buf_unref(t->body.buf);
	free(t);
}

static void end_with(struct rpc *r, struct trans *t, int status, const struct rpc_body *reply)
{
	if (status == GW_FAILURE)
		r->stats.failures++;
	else if (status == GW_NOTFOUND)
		r->stats.notfound++;
	if (!t->forgotten && t->ep->owner && !t->ep->closed)
		r->ops->reply(r->ctx, t->ep->owner, t->ep->number, t->cookie, status, reply);
	trans_drop(r, t);
}

void trans_end(struct rpc *r, struct trans *t, int status)
{
	end_with(r, t, status, NULL);
}

static struct trans *by_tid(const struct rpc_ep *ep, uint64_t tid)
{
	for (struct hnode *h = htab_first(&ep->trans_by_tid, hash_u64(tid)); h; h = htab_next(h)) {
		struct trans *t = container_of(h, struct trans, node);

		if (t->tid == tid)
			return t;
	}
	return NULL;
}

/* All transactions up to this one are over. */
static uint64_t acked(const struct rpc_ep *ep)
{
	const struct trans *first = TAILQ_FIRST(&ep->trans);

	return first ? first->tid - 1 : ep->tid;
}

static struct rpc_hdr about(const struct trans *t, enum rpc_type type)
{
	return (struct rpc_hdr) { .type = type, .tid = t->tid, .acked = acked(t->ep) };
}

static void arm(struct rpc *r, struct trans *t, uint64_t delay_us)
{
	timers_arm(&r->timers, &t->timer, r->now_us + delay_us);
}

static uint64_t patience(const struct rpc *r, const struct trans *t)
{
	return r->config.answer_us << MIN(t->tries, WAIT_MAX_SHIFT);
}

void ack_drop(struct rpc *r, struct ack *a)
{
	timers_disarm(&r->timers, &a->timer);
	LIST_REMOVE(a, list);
	free(a);
}

static void say_ack(struct rpc *r, struct rpc_ep *ep, flip_addr server, uint32_t loc, uint64_t tid)
{
	struct rpc_hdr h = { .type = RPC_ACK, .flags = RPC_F_REPLY, .tid = tid, .acked = acked(ep) };

	rpc_say(r, ep, server, loc, &h);
}

static void ack_fire(struct timer *timer, void *ctx, uint64_t now_us)
{
	struct ack *a = container_of(timer, struct ack, timer);

	(void)now_us;
	say_ack(ctx, a->ep, a->server, a->loc, a->tid);
	ack_drop(ctx, a);
}

void client_flush_acks(struct rpc *r, struct rpc_ep *ep)
{
	struct ack *a;

	while ((a = LIST_FIRST(&ep->acks)))
		ack_fire(&a->timer, r, 0);
}

/* The next request to the same server says it as well; so an acknowledgement waits a little for one. */
static void ack_later(struct rpc *r, struct rpc_ep *ep, const struct flip_delivery *d, uint64_t tid)
{
	struct ack *a = xcalloc(1, sizeof(*a));

	a->ep = ep;
	a->server = d->src;
	a->loc = d->loc;
	a->tid = tid;
	a->timer.fire = ack_fire;
	LIST_INSERT_HEAD(&ep->acks, a, list);
	timers_arm(&r->timers, &a->timer, r->now_us + r->config.ack_us);
}

static void acks_ride(struct rpc *r, struct rpc_ep *ep, flip_addr server, uint64_t upto)
{
	struct ack *a, *next;

	for (a = LIST_FIRST(&ep->acks); a; a = next) {
		next = LIST_NEXT(a, list);
		if (a->server == server && a->tid <= upto)
			ack_drop(r, a);
	}
}

/* A message about it that still waits for a route would only arrive together with the next. */
static void withdraw(struct rpc *r, struct trans *t)
{
	if (t->messid)
		flip_cancel(r->flip, t->ep->flip, t->messid);
}

void trans_suspend(struct rpc *r, struct trans *t)
{
	withdraw(r, t);
	timers_disarm(&r->timers, &t->timer);
}

static void send_request(struct rpc *r, struct trans *t)
{
	struct rpc_hdr h = about(t, RPC_REQUEST);

	withdraw(r, t);
	h.flags = t->unsure ? RPC_F_RETRANS : 0;
	h.port = t->port;
	h.uid = t->uid;
	h.gid = t->gid;
	acks_ride(r, t->ep, t->dst, h.acked);
	t->state = TRANS_SEND;
	t->sent_request = true;
	t->busy = false;
	t->unsure++;
	t->messid = rpc_send(r, t->ep, t->dst, &h, &t->body);
	arm(r, t, patience(r, t));
}

static void ask(struct rpc *r, struct trans *t)
{
	struct rpc_hdr h = about(t, t->state == TRANS_WAIT ? RPC_ENQUIRE : RPC_RECEIVED);

	if (t->cancelled && h.type == RPC_ENQUIRE)
		h.flags |= RPC_F_SIGTRANS;
	withdraw(r, t);
	r->stats.retries++;
	t->sent_request = false;
	t->busy = t->doubted = false;
	t->messid = rpc_say(r, t->ep, t->dst, FLIP_LOC_NONE, &h);
	arm(r, t, patience(r, t));
}

void trans_poke(struct rpc *r, struct trans *t)
{
	if (t->state == TRANS_SEND && !t->unsure)
		send_request(r, t);
	else
		ask(r, t);
}

void trans_find_server(struct rpc *r, struct trans *t)
{
	struct port *here = rpc_local_port(r, &t->port);

	leave_locating(r, t);
	if (here && here->ep->flip->state == FLIP_EP_UP)
		t->dst = here->ep->flip->addr;
	else
		t->dst = rpc_port_cached(r, &t->port);
	if (t->dst) {
		send_request(r, t);
		return;
	}
	t->state = TRANS_LOCATE;
	TAILQ_INSERT_TAIL(&r->locating, t, locating);
	if (r->now_us < t->deadline_us)
		flip_locate_port(r->flip, t->port.bytes, t->deadline_us - r->now_us, r->now_us);
	/* The search may have been asked to last longer, by somebody else. */
	timers_arm(&r->timers, &t->timer, MAX(t->deadline_us, r->now_us) + 1000);
}

void rpc_trans(struct rpc *r, struct rpc_ep *ep, uint64_t cookie, const struct gw_port *put, uint32_t uid,
	       uint32_t gid, uint64_t locate_us, const struct rpc_body *body)
{
	struct trans *t = trans_new(ep, ++ep->tid, cookie, body);

	r->stats.requests++;
	t->port = *put;
	t->uid = uid;
	t->gid = gid;
	t->locate_us = locate_us;
	t->deadline_us = r->now_us + locate_us;
	t->state = TRANS_SEND;
	if (gw_port_is_null(put))
		trans_end(r, t, GW_BADPORT);
	else if (ep->taken)
		trans_end(r, t, GW_TRYAGAIN);
	else
		trans_find_server(r, t);
}

/* The request is certainly at no server: another may serve the port. */
static void fail_over(struct rpc *r, struct trans *t)
{
	rpc_port_uncache(r, &t->port, t->dst);
	t->deadline_us = MAX(t->deadline_us, r->now_us + t->locate_us);
	if (++t->failovers > FAILOVERS_MAX)
		trans_end(r, t, GW_NOTFOUND);
	else
		trans_find_server(r, t);
}

static void give_up(struct rpc *r, struct trans *t)
{
	trans_end(r, t, t->state == TRANS_SEND && !t->unsure ? GW_NOTFOUND : GW_FAILURE);
}

static void wait_busy(struct rpc *r, struct trans *t)
{
	r->stats.busy++;
	t->busy = true;
	t->tries = t->bounces = t->failovers = 0;
	arm(r, t, MIN(r->config.busy_us << MIN(t->busy_tries, 12u), r->config.busy_max_us));
	t->busy_tries++;
}

static void trans_fire(struct timer *timer, void *ctx, uint64_t now_us)
{
	struct trans *t = container_of(timer, struct trans, timer);
	struct rpc *r = ctx;

	if (t->ep->taken)
		return;
	if (t->state == TRANS_LOCATE) {
		if (flip_port_busy(r->flip, t->port.bytes, now_us))
			arm(r, t, t->locate_us);
		else
			trans_end(r, t, GW_NOTFOUND);
		return;
	}
	if (t->busy) {
		trans_poke(r, t);
		return;
	}
	if (t->messid && flip_sending(r->flip, t->ep->flip, t->messid)) {
		arm(r, t, r->config.answer_us);
		return;
	}
	if (++t->tries > r->config.tries) {
		give_up(r, t);
		return;
	}
	if (t->tries > r->config.tries / 2)
		flip_invalidate(r->flip, t->dst);
	ask(r, t);
}

static void refused(struct rpc *r, struct trans *t, enum rpc_why why)
{
	if (t->unsure)
		t->unsure--;
	if (why == RPC_WHY_PORT) {
		if (!t->unsure)
			fail_over(r, t);
		else if (++t->tries > r->config.tries)
			give_up(r, t);
		else
			ask(r, t);
		return;
	}
	/* Full: as if busy, but not for ever. */
	if (r->now_us >= t->deadline_us && !t->unsure)
		trans_end(r, t, GW_TRYAGAIN);
	else
		wait_busy(r, t);
}

/*
 * A server that had it once and lacks it now has forgotten its window: it must not run again. But it may not be
 *so:
 *
 *	1. The request is lost. RECEIVED asks for it, and the answer is NAK.
 *	2. The network doubles that, and one copy is late.
 *	3. The request is sent again, arrives, and is acknowledged.
 *	4. The other copy arrives.
 *
 * So it is believed when it is the answer to several questions in a row, some time apart.
 */
static void doubt(struct rpc *r, struct trans *t)
{
	if (t->doubted)
		return;
	t->doubted = true;
	if (++t->doubts > DOUBTS_MAX)
		give_up(r, t);
	else
		arm(r, t, DOUBT_US);
}

static void on_nak(struct rpc *r, struct trans *t, const struct rpc_hdr *h)
{
	if (t->state == TRANS_SEND && h->why != RPC_WHY_LACK) {
		refused(r, t, h->why);
		return;
	}
	/* Answers a question that a later copy of the request has overtaken. */
	if (t->state == TRANS_SEND && t->sent_request)
		return;
	if (t->state == TRANS_WAIT)
		doubt(r, t);
	else if (++t->tries > r->config.tries)
		give_up(r, t);
	else
		send_request(r, t);
}

static void on_reply(struct rpc *r, struct rpc_ep *ep, const struct flip_delivery *d, const struct rpc_hdr *h,
		     struct trans *t, const struct rpc_body *body)
{
	size_t len = body->len;

	r->stats.replies++;
	end_with(r, t, GW_OK, body);
	/* A server keeps a long reply no longer than needed, and a local one is told by a call. */
	if (d->loc == FLIP_LOC_HERE || len > FLIP_FRAG - RPC_HDR_LEN)
		say_ack(r, ep, d->src, d->loc, h->tid);
	else
		ack_later(r, ep, d, h->tid);
}

void client_message(struct rpc *r, struct rpc_ep *ep, const struct flip_delivery *d, const struct rpc_hdr *h,
		    const struct rpc_body *body)
{
	struct trans *t = by_tid(ep, h->tid);

	if (t && (t->dst != d->src || t->state == TRANS_LOCATE))
		return;
	if (!t) {
		if (h->type == RPC_REPLY || h->type == RPC_RECEIVED)
			say_ack(r, ep, d->src, d->loc, h->tid);
		return;
	}
	switch (h->type) {
	case RPC_REPLY:
		on_reply(r, ep, d, h, t, body);
		break;
	case RPC_RECEIVED: {
		struct rpc_hdr nak = { .type = RPC_NAK, .flags = RPC_F_REPLY, .why = RPC_WHY_LACK, .tid = h->tid };

		rpc_say(r, ep, d->src, d->loc, &nak);
		break;
	}
	case RPC_ACK:
	case RPC_ALIVE:
		t->state = TRANS_WAIT;
		t->busy = false;
		t->tries = t->busy_tries = t->bounces = t->doubts = 0;
		arm(r, t, r->config.enquire_us);
		if (t->cancelled && h->type == RPC_ACK)
			ask(r, t);
		break;
	case RPC_NAK:
		on_nak(r, t, h);
		break;
	case RPC_FAIL:
		trans_end(r, t, GW_FAILURE);
		break;
	default:
		break;
	}
}

static void on_notdelivered(struct rpc *r, struct trans *t, const struct flip_failure *f)
{
	if (t->sent_request && f->certain && t->unsure)
		t->unsure--;
	switch (f->why) {
	case FLIP_WHY_BUSY:
		wait_busy(r, t);
		break;
	case FLIP_WHY_NOTHERE:
		if (++t->bounces <= BOUNCES_FREE)
			trans_poke(r, t);
		else if (++t->tries > r->config.tries)
			give_up(r, t);
		else
			arm(r, t, r->config.answer_us);
		break;
	case FLIP_WHY_NOT_LOCATED:
		if (t->state == TRANS_SEND && !t->unsure)
			fail_over(r, t);
		else if (++t->misses > MISSES_MAX)
			give_up(r, t);
		else
			arm(r, t, MISS_US);
		break;
	case FLIP_WHY_TIMEOUT:
	case FLIP_WHY_UNTRUSTED: /* nothing of ours asks for trust: whoever says so is mistaken */
		if (++t->tries > r->config.tries)
			give_up(r, t);
		else
			ask(r, t);
		break;
	}
}

bool client_notdeliver(struct rpc *r, struct rpc_ep *ep, const struct flip_failure *f)
{
	struct trans *t;

	TAILQ_FOREACH (t, &ep->trans, by_tid) {
		if (t->state == TRANS_LOCATE || t->dst != f->dst || t->messid != f->messid)
			continue;
		if (!ep->taken)
			on_notdelivered(r, t, f);
		return true;
	}
	return false;
}

void client_announced(struct rpc *r, struct rpc_ep *ep, flip_addr addr)
{
	struct trans *t;

	TAILQ_FOREACH (t, &ep->trans, by_tid) {
		if (t->busy && t->dst == addr && !ep->taken)
			trans_poke(r, t);
	}
}

void trans_signal(struct rpc *r, struct trans *t)
{
	struct rpc_hdr h = about(t, RPC_ENQUIRE);

	if (t->state == TRANS_LOCATE || !t->unsure)
		return;
	h.flags = RPC_F_SIGTRANS;
	rpc_say(r, t->ep, t->dst, FLIP_LOC_NONE, &h);
}

void rpc_cancel(struct rpc *r, struct rpc_ep *ep, uint64_t cookie, bool forget)
{
	struct trans *t;

	TAILQ_FOREACH (t, &ep->trans, by_tid) {
		if (t->cookie == cookie)
			break;
	}
	if (!t)
		return;
	t->forgotten |= forget;
	if (t->state == TRANS_LOCATE || !t->unsure) {
		trans_end(r, t, GW_ABORTED);
		return;
	}
	if (!t->cancelled)
		trans_signal(r, t);
	t->cancelled = true;
}
