/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving a raw endpoint: its state as bytes.
 *
 *	magic (4) version (2) zero (2)  private address (8)  incarnation (4)  messid (4)
 *	groups (4): address (8)
 *	messages (4): state (1) flags (1) zero (2)  id (8)  dst (8)  group (8)  messid (4)  n (4)  hops (4)
 *	              locate_us (8)  length (4)  bytes
 *
 * Of its messages those go along that have not left whole. They keep their numbers: of what a receiver has got of
 *one already, nothing is handed up twice.
 */
#include "raw/core.h"

#include <errno.h>

#include "base/util.h"
#include "base/wire.h"

#define MAGIC 0x47575257u
#define VERSION 1u
#define MESSAGE_LEN 52u
#define BLOB_MAX (16u << 20)

/* Has it left, as far as one can know? Then it stays behind. */
static bool is_over(struct raw *r, const struct message *m)
{
	return m->state == MESSAGE_SENT && !flip_sending(r->flip, m->ep->flip, m->messid);
}

static size_t blob_size(struct raw *r, const struct raw_ep *ep)
{
	size_t size = FLIP_EP_HEAD_LEN + 8 + 8 * ep->flip->n_groups;
	const struct message *m;

	TAILQ_FOREACH (m, &ep->messages, list) {
		if (!is_over(r, m))
			size += MESSAGE_LEN + m->s.data.len;
	}
	return size;
}

static void put_message(struct wire_out *w, const struct message *m)
{
	const struct flip_data *d = &m->s.data;

	wire_put_u8(w, m->state == MESSAGE_GROUP ? MESSAGE_GROUP : MESSAGE_AGAIN);
	wire_put_u8(w, (uint8_t)m->s.flags);
	wire_put_u16(w, 0);
	wire_put_u64(w, m->s.id);
	wire_put_u64(w, m->s.dst);
	wire_put_u64(w, m->group);
	wire_put_u32(w, m->messid);
	wire_put_u32(w, m->s.n);
	wire_put_u32(w, m->s.hops);
	wire_put_u64(w, m->s.locate_us);
	wire_put_u32(w, (uint32_t)d->len);
	if (d->len)
		wire_put_bytes(w, d->body->data + d->off, d->len);
}

static struct buf *encode(const struct raw_ep *ep, size_t size)
{
	struct buf *blob = buf_new(size);
	struct wire_out w = wire_out(blob->data, size);
	const struct message *m;
	uint32_t n = 0;

	TAILQ_FOREACH (m, &ep->messages, list)
		n++;
	flip_ep_put(&w, ep->flip, MAGIC, VERSION);
	wire_put_u32(&w, (uint32_t)ep->flip->n_groups);
	for (size_t i = 0; i < ep->flip->n_groups; i++)
		wire_put_u64(&w, ep->flip->groups[i]);
	wire_put_u32(&w, n);
	TAILQ_FOREACH (m, &ep->messages, list)
		put_message(&w, m);
	return blob;
}

int raw_ep_take(struct raw *r, struct raw_ep *ep, struct buf **ret_blob)
{
	size_t size = blob_size(r, ep);
	struct message *m, *next;

	if (ep->taken || ep->flip->state != FLIP_EP_UP)
		return -EBUSY;
	if (size > BLOB_MAX)
		return -EMSGSIZE;
	if (ep->flip->inc == UINT32_MAX) /* it has had its last home */
		return -EOVERFLOW;
	for (m = TAILQ_FIRST(&ep->messages); m; m = next) {
		next = TAILQ_NEXT(m, list);
		timers_disarm(flip_timers(r->flip), &m->timer);
		if (is_over(r, m)) {
			message_free(r, m);
		} else if (m->state == MESSAGE_SENT) {
			flip_cancel(r->flip, ep->flip, m->messid);
			message_state(m, MESSAGE_AGAIN);
		}
	}
	ep->taken = true;
	ep->flip->state = FLIP_EP_BUSY;
	*ret_blob = encode(ep, size);
	return 0;
}

static void go_on(struct raw *r, struct raw_ep *ep, uint64_t now_us)
{
	const struct message *last = TAILQ_LAST(&ep->messages, messages);
	struct message *m, *next;
	bool end = !last;

	flip_ep_announce(r->flip, ep->flip, now_us);
	for (m = TAILQ_FIRST(&ep->messages); m && !end; m = next) {
		next = TAILQ_NEXT(m, list);
		end = m == last;
		message_go(r, m, now_us);
	}
}

int raw_ep_resume(struct raw *r, struct raw_ep *ep, uint64_t now_us)
{
	if (!ep->taken || ep->flip->state != FLIP_EP_BUSY)
		return -EINVAL;
	ep->taken = false;
	ep->flip->state = FLIP_EP_UP;
	go_on(r, ep, now_us);
	return 0;
}

static int get_message(struct wire_in *w, struct raw_ep *ep)
{
	uint8_t state = wire_get_u8(w), flags = wire_get_u8(w);
	uint16_t zero = wire_get_u16(w);
	struct raw_send s = { .flags = flags, .id = wire_get_u64(w) };
	struct message *m;
	flip_addr group;
	uint32_t messid, len;
	const uint8_t *p;

	s.dst = wire_get_u64(w);
	group = wire_get_u64(w);
	messid = wire_get_u32(w);
	s.n = wire_get_u32(w);
	s.hops = wire_get_u32(w);
	s.locate_us = wire_get_u64(w);
	len = wire_get_u32(w);
	p = wire_skip(w, len);
	if (w->bad || zero || !s.dst || len > RAW_MSG_MAX || s.locate_us > RAW_LOCATE_MAX_US ||
	    flags & ~(RAW_INVAL | RAW_SAFE | RAW_GROUP) || (state != MESSAGE_GROUP && state != MESSAGE_AGAIN) ||
	    (state == MESSAGE_GROUP) != !!(flags & RAW_GROUP) || (group && state == MESSAGE_GROUP))
		return -EBADMSG;
	s.data.flags = FLIP_F_RAW | (flags & RAW_SAFE ? FLIP_F_SAFE : 0) | (group ? FLIP_F_GROUP : 0);
	raw_head(&s.data, group);
	s.data.body = buf_copy(p, len);
	s.data.len = len;
	m = message_new(ep, &s, group, state);
	buf_unref(s.data.body);
	m->messid = messid;
	return 0;
}

static int get_rest(struct wire_in *w, struct raw *r, struct raw_ep *ep)
{
	uint32_t n = wire_get_u32(w);
	int err = n > FLIP_GROUPS_MAX ? -EBADMSG : 0;

	for (uint32_t i = 0; i < n && !err; i++) {
		flip_addr group = wire_get_u64(w);

		err = w->bad || !group ? -EBADMSG : flip_join(r->flip, ep->flip, group);
	}
	n = err ? 0 : wire_get_u32(w);
	for (uint32_t i = 0; i < n && !err; i++)
		err = get_message(w, ep);
	return !err && (w->bad || w->left) ? -EBADMSG : err;
}

int raw_ep_install(struct raw *r, const void *blob, size_t len, void *owner, uint32_t number, uint64_t now_us)
{
	struct wire_in w = wire_in(blob, len);
	struct flip_ep *flip;
	struct raw_ep *ep;
	int err = flip_ep_get(r->flip, &w, MAGIC, VERSION, &flip);

	if (err)
		return err;
	ep = raw_ep_wrap(r, flip, owner, number);
	err = get_rest(&w, r, ep);
	if (err) {
		raw_ep_close(r, ep);
		return err;
	}
	go_on(r, ep, now_us);
	return 0;
}
