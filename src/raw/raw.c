/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw FLIP.
 *
 * Theory of operation. FLIP sends a message of one fragment and forgets it, and hears of it again only if it comes
 * back. So each message is kept here for a while as SENT. If BUSY comes back for it, it waits as AGAIN: for its
 * turn, which comes at growing intervals, or for the announcement of its receiver's new home. What is sent to the
 * same address meanwhile queues up behind it, so that a move does not turn the order of messages round. NOTHERE
 * means that the route was old: FLIP has forgotten it, and the next copy locates the address.
 *
 * A message for a group waits (GROUP) until flip/group.c knows who is in it, and becomes a copy for each of them
 * then. A copy that cannot be delivered is nobody's business but the group's: its member is struck off the list.
 */
#include "raw/core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "base/wire.h"

#define AGAIN_US 2000u
#define AGAIN_MAX_US 160000u
#define BOUNCES_MAX 8u

static const struct flip_raw_ops flip_ops;

struct raw *raw_new(struct flip *f, const struct raw_ops *ops, void *ctx)
{
	struct raw *r = xcalloc(1, sizeof(*r));

	r->flip = f;
	r->ops = ops;
	r->ctx = ctx;
	LIST_INIT(&r->eps);
	flip_raw(f, &flip_ops, r);
	return r;
}

void raw_free(struct raw *r)
{
	if (!r)
		return;
	while (!LIST_EMPTY(&r->eps))
		raw_ep_close(r, LIST_FIRST(&r->eps));
	flip_raw(r->flip, NULL, NULL);
	htab_done(&r->owned);
	free(r);
}

const struct raw_stats *raw_stats(const struct raw *r)
{
	return &r->stats;
}

/* --- messages --- */

static size_t kept_size(const struct message *m)
{
	return sizeof(*m) + m->s.data.len;
}

static void count(struct message *m, bool in)
{
	struct raw_ep *ep = m->ep;

	if (m->state == MESSAGE_SENT)
		ep->kept += in ? kept_size(m) : -kept_size(m);
	else
		ep->n_under_way += in ? 1 : (size_t)-1;
}

void message_state(struct message *m, enum message_state state)
{
	count(m, false);
	m->state = state;
	count(m, true);
}

static void message_fire(struct timer *t, void *ctx, uint64_t now_us);

struct message *message_new(struct raw_ep *ep, const struct raw_send *s, flip_addr group, enum message_state state)
{
	struct message *m = xcalloc(1, sizeof(*m));

	m->ep = ep;
	m->s = *s;
	m->group = group;
	m->state = state;
	m->timer.fire = message_fire;
	if (m->s.data.body)
		buf_ref(m->s.data.body);
	TAILQ_INSERT_TAIL(&ep->messages, m, list);
	count(m, true);
	return m;
}

void message_free(struct raw *r, struct message *m)
{
	timers_disarm(flip_timers(r->flip), &m->timer);
	count(m, false);
	TAILQ_REMOVE(&m->ep->messages, m, list);
	buf_unref(m->s.data.body);
	free(m);
}

static void message_fail(struct raw *r, struct message *m, enum flip_why why, bool certain)
{
	const struct raw_ep *ep = m->ep;

	r->stats.failed++;
	if (m->group && why == FLIP_WHY_NOT_LOCATED)
		flip_group_drop(r->flip, m->group, m->s.dst);
	if (!m->group && ep->owner)
		r->ops->failed(r->ctx, ep->owner, ep->number, m->s.id, m->s.dst, why, certain);
	message_free(r, m);
}

/* --- one receiver --- */

static bool is_locating(struct raw *r, const struct message *m)
{
	return flip_location(r->flip, m->s.dst) == FLIP_LOC_NONE;
}

static void arm(struct raw *r, struct message *m, uint64_t due_us)
{
	timers_arm(flip_timers(r->flip), &m->timer, due_us);
}

/* What was sent longest ago is most likely to have arrived. */
static void keep_few(struct raw *r, struct raw_ep *ep)
{
	struct message *m, *next;

	for (m = TAILQ_FIRST(&ep->messages); m && ep->kept > RAW_KEPT_MAX; m = next) {
		next = TAILQ_NEXT(m, list);
		if (m->state == MESSAGE_SENT && !flip_sending(r->flip, ep->flip, m->messid))
			message_free(r, m);
	}
}

static void transmit(struct raw *r, struct message *m, uint64_t now_us)
{
	struct raw_ep *ep = m->ep;

	message_state(m, MESSAGE_SENT);
	if (m->s.flags & RAW_INVAL)
		flip_invalidate(r->flip, m->s.dst);
	m->s.flags &= ~(unsigned)RAW_INVAL;
	arm(r, m, is_locating(r, m) ? MAX(m->deadline_us, now_us) : now_us + RAW_KEPT_US);
	if (m->messid) {
		r->stats.again++;
		flip_send_again(r->flip, ep->flip, m->messid, m->s.dst, &m->s.data, now_us);
	} else {
		r->stats.sent++;
		m->messid = flip_send(r->flip, ep->flip, m->s.dst, FLIP_LOC_NONE, &m->s.data, now_us);
	}
}

/* Whatever waits for that address, in the order in which it was sent. */
static void send_waiting(struct raw *r, struct raw_ep *ep, flip_addr dst, uint64_t now_us)
{
	struct message *m;

	TAILQ_FOREACH (m, &ep->messages, list) {
		if (m->state == MESSAGE_AGAIN && m->s.dst == dst)
			transmit(r, m, now_us);
	}
}

static struct message *waiting_for(const struct raw_ep *ep, flip_addr dst)
{
	struct message *m;

	TAILQ_FOREACH (m, &ep->messages, list) {
		if (m->state == MESSAGE_AGAIN && m->s.dst == dst)
			return m;
	}
	return NULL;
}

/* A fresh message for one address. */
static void send_one(struct raw *r, struct raw_ep *ep, const struct raw_send *s, flip_addr group, uint64_t now_us)
{
	bool behind = ep->n_under_way && waiting_for(ep, s->dst);
	struct message *m = message_new(ep, s, group, MESSAGE_AGAIN);

	m->deadline_us = now_us + s->locate_us;
	if (!behind)
		transmit(r, m, now_us);
	keep_few(r, ep);
}

static void message_fire(struct timer *t, void *ctx, uint64_t now_us)
{
	struct message *m = container_of(t, struct message, timer);
	struct raw_ep *ep = m->ep;
	struct raw *r = ep->raw;

	(void)ctx;
	if (m->state == MESSAGE_AGAIN) {
		send_waiting(r, ep, m->s.dst, now_us);
	} else if (!flip_sending(r->flip, ep->flip, m->messid)) {
		message_free(r, m);
	} else if (is_locating(r, m) && now_us >= m->deadline_us) {
		flip_cancel(r->flip, ep->flip, m->messid);
		message_fail(r, m, FLIP_WHY_NOT_LOCATED, true);
	} else {
		arm(r, m, now_us + RAW_KEPT_US);
	}
}

/* --- a group --- */

void raw_head(struct flip_data *d, flip_addr group)
{
	struct wire_out w = wire_out(d->head, sizeof(d->head));

	if (group)
		wire_put_u64(&w, group);
	d->head_len = w.len;
}

static bool may_reach(struct raw *r, const struct message *m, flip_addr member)
{
	return member != m->ep->flip->addr && (!m->s.hops || flip_distance(r->flip, member) <= m->s.hops);
}

static bool has_room(const struct raw_ep *ep, size_t copies, size_t len)
{
	return copies <= (RAW_SENDING_MAX - MIN(ep->kept, RAW_SENDING_MAX)) / (sizeof(struct message) + len);
}

/* A copy for each, if they are enough. */
static bool spread(struct raw *r, struct message *m, const flip_addr *members, size_t n, uint64_t now_us)
{
	struct raw_send s = m->s;
	flip_addr group = m->s.dst;
	size_t reached = 0;

	for (size_t i = 0; i < n; i++)
		reached += may_reach(r, m, members[i]);
	if (reached < m->s.n)
		return false;
	if (!has_room(m->ep, reached, m->s.data.len)) {
		message_fail(r, m, FLIP_WHY_BUSY, true);
		return true;
	}
	raw_head(&s.data, group);
	s.data.flags |= FLIP_F_GROUP;
	s.flags &= ~(unsigned)RAW_GROUP;
	for (size_t i = 0; i < n; i++) {
		s.dst = members[i];
		if (may_reach(r, m, members[i]))
			send_one(r, m->ep, &s, group, now_us);
	}
	message_free(r, m);
	return true;
}

static void seek(struct raw *r, struct message *m, uint64_t now_us)
{
	bool me = flip_ep_in(m->ep->flip, m->s.dst);

	flip_locate_group(r->flip, m->s.dst, m->s.n + me, m->deadline_us - now_us, now_us);
}

static bool try_spread(struct raw *r, struct message *m, uint64_t now_us)
{
	flip_addr *members = NULL;
	size_t n = 0;
	bool done;

	if (!flip_group(r->flip, m->s.dst, &members, &n, now_us))
		return false;
	done = spread(r, m, members, n, now_us);
	free(members);
	return done;
}

void message_go(struct raw *r, struct message *m, uint64_t now_us)
{
	m->deadline_us = now_us + m->s.locate_us;
	if (m->state == MESSAGE_AGAIN)
		transmit(r, m, now_us);
	else if (m->s.flags & RAW_INVAL || !try_spread(r, m, now_us))
		seek(r, m, now_us);
}

static struct message *seeking(struct raw *r, flip_addr group, uint64_t before)
{
	struct raw_ep *ep;
	struct message *m;

	LIST_FOREACH (ep, &r->eps, list) {
		TAILQ_FOREACH (m, &ep->messages, list) {
			if (m->state == MESSAGE_GROUP && !ep->taken && m->s.dst == group && m->asked < before)
				return m;
		}
	}
	return NULL;
}

/* Each that waits for the group is looked at once, for they may ask for different numbers; copies and the end of
 * one message may free others. */
static void on_group_located(void *ctx, flip_addr group)
{
	struct raw *r = ctx;
	uint64_t now_us = flip_now(r->flip), round = ++r->rounds;
	struct message *m;

	while ((m = seeking(r, group, round))) {
		m->asked = round;
		if (try_spread(r, m, now_us))
			continue;
		if (now_us < m->deadline_us)
			seek(r, m, now_us);
		else
			message_fail(r, m, FLIP_WHY_NOT_LOCATED, true);
	}
}

/* --- what FLIP has to say --- */

static void on_deliver(void *ctx, struct flip_ep *fep, const struct flip_delivery *d)
{
	struct raw *r = ctx;
	struct raw_ep *ep = fep->user;
	struct flip_data data = d->data;
	flip_addr group = 0;

	if (data.flags & FLIP_F_GROUP) {
		bool in_head = data.head_len != 0;
		struct wire_in w = in_head ? wire_in(data.head, data.head_len)
					   : wire_in(data.body->data + data.off, data.len);

		group = wire_get_u64(&w);
		if (w.bad || !flip_ep_in(fep, group)) {
			r->stats.strays++;
			return;
		}
		data.head_len = 0;
		data.off += in_head ? 0 : FLIP_GROUP_LEN;
		data.len -= in_head ? 0 : FLIP_GROUP_LEN;
	}
	if (r->ops->data(r->ctx, ep->owner, ep->number, d->src, group, &data))
		r->stats.received++;
	else
		r->stats.full++;
}

static struct message *sent_as(const struct raw_ep *ep, uint32_t messid)
{
	struct message *m;

	/* What comes back was sent lately. */
	TAILQ_FOREACH_REVERSE(m, &ep->messages, messages, list)
	{
		if (m->state == MESSAGE_SENT && m->messid == messid)
			return m;
	}
	return NULL;
}

static void on_notdeliver(void *ctx, struct flip_ep *fep, const struct flip_failure *f)
{
	struct raw *r = ctx;
	struct raw_ep *ep = fep->user;
	struct message *m = sent_as(ep, f->messid);
	uint64_t now_us = flip_now(r->flip);

	if (!m || ep->taken)
		return;
	if (f->why == FLIP_WHY_BUSY && f->certain) {
		message_state(m, MESSAGE_AGAIN);
		arm(r, m, now_us + MIN(AGAIN_US << MIN(m->busy, 10u), AGAIN_MAX_US));
		m->busy++;
	} else if (f->why == FLIP_WHY_NOTHERE && f->certain && m->bounces++ < BOUNCES_MAX) {
		m->deadline_us = now_us + m->s.locate_us;
		transmit(r, m, now_us);
	} else {
		message_fail(r, m, f->why, f->certain);
	}
}

static void on_announced(void *ctx, flip_addr addr)
{
	struct raw *r = ctx;
	struct raw_ep *ep;

	LIST_FOREACH (ep, &r->eps, list) {
		if (!ep->taken && ep->n_under_way)
			send_waiting(r, ep, addr, flip_now(r->flip));
	}
}

static void on_lost(void *ctx, struct flip_ep *fep, uint32_t inc)
{
	struct raw *r = ctx;
	struct raw_ep *ep = fep->user;

	if (ep->owner)
		r->ops->lost(r->ctx, ep->owner, ep->number, inc);
}

static bool on_trusts(void *ctx, uint32_t loc)
{
	struct raw *r = ctx;

	return !r->ops->trusts || r->ops->trusts(r->ctx, loc);
}

static const struct flip_raw_ops flip_ops = {
	.deliver = on_deliver,
	.notdeliver = on_notdeliver,
	.announced = on_announced,
	.lost = on_lost,
	.group_located = on_group_located,
	.trusts = on_trusts,
};

/* --- endpoints --- */

static uint64_t owned_hash(const void *owner, uint32_t number)
{
	return hash_u64((uintptr_t)owner ^ hash_u64(number));
}

struct raw_ep *raw_ep_wrap(struct raw *r, struct flip_ep *flip, void *owner, uint32_t number)
{
	struct raw_ep *ep = xcalloc(1, sizeof(*ep));

	flip->raw = true;
	flip->user = ep;
	ep->raw = r;
	ep->flip = flip;
	ep->owner = owner;
	ep->number = number;
	TAILQ_INIT(&ep->messages);
	LIST_INSERT_HEAD(&r->eps, ep, list);
	htab_add(&r->owned, &ep->node, owned_hash(owner, number));
	return ep;
}

struct raw_ep *raw_ep_new(struct raw *r, void *owner, uint32_t number)
{
	struct flip_ep *flip = NULL;

	while (!flip) /* a random address that is in use is tried for once in 2^56 */
		flip = flip_ep_new(r->flip, flip_addr_random(), 1, NULL);
	return raw_ep_wrap(r, flip, owner, number);
}

struct raw_ep *raw_ep_find(struct raw *r, const void *owner, uint32_t number)
{
	for (struct hnode *h = htab_first(&r->owned, owned_hash(owner, number)); h; h = htab_next(h)) {
		struct raw_ep *ep = container_of(h, struct raw_ep, node);

		if (ep->owner == owner && ep->number == number)
			return ep;
	}
	return NULL;
}

struct raw_ep *raw_ep_next(struct raw *r, const void *owner, const struct raw_ep *after)
{
	struct raw_ep *ep = after ? LIST_NEXT(after, list) : LIST_FIRST(&r->eps);

	while (ep && ep->owner != owner)
		ep = LIST_NEXT(ep, list);
	return ep;
}

uint32_t raw_ep_number(const struct raw_ep *ep)
{
	return ep->number;
}

struct flip_ep *raw_ep_flip(const struct raw_ep *ep)
{
	return ep->flip;
}

void raw_ep_close(struct raw *r, struct raw_ep *ep)
{
	while (!TAILQ_EMPTY(&ep->messages))
		message_free(r, TAILQ_FIRST(&ep->messages));
	LIST_REMOVE(ep, list);
	htab_del(&r->owned, &ep->node);
	flip_ep_free(r->flip, ep->flip);
	free(ep);
}

int raw_join(struct raw *r, struct raw_ep *ep, flip_addr private_group, flip_addr *ret)
{
	if (ep->taken)
		return -EBUSY;
	*ret = private_group ? flip_addr_publish(private_group) : FLIP_EVERYBODY;
	return flip_join(r->flip, ep->flip, *ret);
}

void raw_leave(struct raw *r, struct raw_ep *ep, flip_addr group)
{
	flip_leave(r->flip, ep->flip, group);
}

void raw_send(struct raw *r, struct raw_ep *ep, const struct raw_send *s, uint64_t now_us)
{
	struct raw_send mine = *s;
	bool group = s->flags & RAW_GROUP;

	mine.locate_us = MIN(s->locate_us, (uint64_t)RAW_LOCATE_MAX_US);
	mine.data.flags = (uint8_t)(FLIP_F_RAW | (s->flags & RAW_SAFE ? FLIP_F_SAFE : 0));
	if (ep->flip->state != FLIP_EP_UP || !s->dst || ep->n_under_way >= RAW_UNDER_WAY_MAX ||
	    !has_room(ep, 1, s->data.len)) {
		r->stats.failed++;
		r->ops->failed(r->ctx, ep->owner, ep->number, s->id, s->dst, FLIP_WHY_BUSY, true);
		return;
	}
	if (group)
		message_go(r, message_new(ep, &mine, 0, MESSAGE_GROUP), now_us);
	else
		send_one(r, ep, &mine, 0, now_us);
}

void raw_each_ep(struct raw *r, void (*fn)(void *ctx, const struct raw_ep_info *info), void *ctx)
{
	struct raw_ep *ep;

	LIST_FOREACH (ep, &r->eps, list) {
		struct raw_ep_info info = {
			.owner = ep->owner,
			.number = ep->number,
			.inc = ep->flip->inc,
			.addr = ep->flip->addr,
			.busy = ep->flip->state == FLIP_EP_BUSY,
			.groups = (uint32_t)ep->flip->n_groups,
			.under_way = (uint32_t)ep->n_under_way,
		};

		fn(ctx, &info);
	}
}
