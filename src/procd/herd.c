/* SPDX-License-Identifier: Apache-2.0 */
#include "procd/herd.h"

#include <errno.h>

#include "base/log.h"
#include "base/util.h"
#include "procd/chan.h"

struct question {
	struct question *next;
	uint64_t id;
	herd_reply_fn *fn;
	void *arg;
};

struct herd {
	struct chan *chan;
	const struct herd_ops *ops;
	void *arg;
	uint64_t last_id;
	struct question *pending, **pending_end; /* in the order asked */
};

static struct question *take(struct herd *h, uint64_t id)
{
	for (struct question **at = &h->pending; *at; at = &(*at)->next) {
		struct question *q = *at;

		if (q->id != id)
			continue;
		*at = q->next;
		if (!*at)
			h->pending_end = at;
		return q;
	}
	return NULL;
}

static void on_packet(void *arg, const void *bytes, size_t len, int *fds, size_t n_fds)
{
	Godwit__Shepherd__Reply *r = godwit__shepherd__reply__unpack(NULL, len, bytes);
	struct herd *h = arg;
	struct question *q;

	if (!r) {
		log_error("a shepherd sent something damaged");
		return;
	}
	if (!r->id) {
		h->ops->event(h->arg, r);
	} else if ((q = take(h, r->id))) {
		if (q->fn)
			q->fn(q->arg, r, fds, n_fds);
		free(q);
	}
	godwit__shepherd__reply__free_unpacked(r, NULL);
}

static void fail_pending(struct herd *h)
{
	struct question *q;

	while ((q = h->pending)) {
		h->pending = q->next;
		if (!h->pending)
			h->pending_end = &h->pending;
		if (q->fn)
			q->fn(q->arg, NULL, NULL, 0);
		free(q);
	}
}

static void on_gone(void *arg, int reason)
{
	struct herd *h = arg;

	(void)reason;
	fail_pending(h);
	h->ops->gone(h->arg);
}

static const struct chan_ops ops = { .packet = on_packet, .gone = on_gone };

struct herd *herd_new(uv_loop_t *loop, int sock, const struct herd_ops *herd_ops, void *arg)
{
	struct herd *h = xcalloc(1, sizeof *h);

	h->ops = herd_ops;
	h->pending_end = &h->pending;
	h->arg = arg;
	h->chan = chan_new(loop, sock, &ops, h);
	return h;
}

int herd_ask(struct herd *h, Godwit__Shepherd__Request *q, int fd, herd_reply_fn *fn, void *arg)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct question *asked;
	size_t len;
	int r;

	if (!h)
		return -EPIPE;
	q->id = ++h->last_id;
	len = godwit__shepherd__request__get_packed_size(q);
	bytes = xmalloc(len);
	(void)godwit__shepherd__request__pack(q, bytes);
	r = chan_send(h->chan, bytes, len, &fd, fd >= 0);
	if (r < 0)
		return r;
	asked = xcalloc(1, sizeof *asked);
	asked->id = q->id;
	asked->fn = fn;
	asked->arg = arg;
	*h->pending_end = asked;
	h->pending_end = &asked->next;
	return 0;
}

void herd_close(struct herd *h)
{
	if (!h)
		return;
	chan_close(h->chan);
	h->chan = NULL;
	fail_pending(h);
	free(h);
}
