/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket to flipd: frames out and in.
 *
 * Theory of operation. What is written goes from the caller's memory into the socket, with one system call. What
 * the socket does not take is copied and queued or, for a blocking client, waited for.
 *
 * What is read goes into a buffer, and frames are handed up from there. But the data of a long frame are read to
 * where they are wanted, if somebody says where (ops.place): a megabyte that is copied once more costs about as
 * much as its way through flipd does, and fresh memory for it costs more than that.
 */
#include "lib/conn.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/util.h"
#include "lib/call.h"
#include "rpc/header.h"

#define READ_CHUNK 65536u
/* What is kept of a buffer that was needed once. */
#define KEEP_MAX (2u << 20)
/* Requests and replies that one gwc_dispatch hands out before it lets its caller look at other things. */
#define DISPATCH_BYTES (8u << 20)

struct chunk {
	STAILQ_ENTRY(chunk) next;
	size_t len, at;
	uint8_t data[];
};

void conn_init(struct gwc *c)
{
	STAILQ_INIT(&c->queue);
}

void conn_done(struct gwc *c)
{
	struct chunk *chunk;

	while ((chunk = STAILQ_FIRST(&c->queue))) {
		STAILQ_REMOVE_HEAD(&c->queue, next);
		free(chunk);
	}
	c->queued = 0;
	free(c->in);
	c->in = NULL;
	c->in_len = c->in_cap = c->in_at = 0;
	c->direct.to = NULL;
}

int gwc_fd(const struct gwc *c)
{
	return c->fd;
}

int gwc_events(const struct gwc *c)
{
	return POLLIN | (STAILQ_EMPTY(&c->queue) ? 0 : POLLOUT);
}

void gwc_block(struct gwc *c)
{
	c->blocking = true;
}

bool gwc_interrupted(struct gwc *c)
{
	bool was = c->interrupted;

	c->interrupted = false;
	return was;
}

static void tell_events(struct gwc *c, int before)
{
	if (gwc_events(c) != before && c->ops && c->ops->events_changed)
		c->ops->events_changed(c->user, gwc_events(c));
}

/* --- out --- */

/* Steps over `n` bytes of the vector. */
static void advance(struct iovec **iov, size_t *n_iov, size_t n)
{
	while (*n_iov && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		++*iov;
		--*n_iov;
	}
	if (*n_iov) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}

/* How much of it has been written. An error other than a full socket is found again, and reported, by
 * gwc_dispatch.
 */
static size_t write_now(struct gwc *c, struct iovec *iov, size_t n_iov, size_t total)
{
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n_iov };
	size_t done = 0;

	do {
		ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | (c->blocking ? 0 : MSG_DONTWAIT));

		if (n < 0 && (errno != EINTR || !c->blocking))
			break;
		done += n > 0 ? (size_t)n : 0;
		advance(&m.msg_iov, &m.msg_iovlen, n > 0 ? (size_t)n : 0);
		/* A blocking write that is short has met a signal. */
		c->interrupted |= done < total && c->blocking;
	} while (c->blocking && done < total);
	return done;
}

/* Puts aside what follows the first `skip` bytes. */
static void queue_rest(struct gwc *c, const struct iovec *iov, size_t n_iov, size_t total, size_t skip)
{
	struct chunk *chunk = xmalloc(sizeof(*chunk) + total - skip);

	chunk->len = chunk->at = 0;
	for (size_t i = 0; i < n_iov; i++) {
		size_t over = MIN(skip, iov[i].iov_len), len = iov[i].iov_len - over;

		if (len)
			memcpy(chunk->data + chunk->len, (const uint8_t *)iov[i].iov_base + over, len);
		chunk->len += len;
		skip -= over;
	}
	STAILQ_INSERT_TAIL(&c->queue, chunk, next);
	c->queued += chunk->len;
}

int call_post_frame(struct gwc *c, const struct frame *f, const struct iovec *payload, int n)
{
	int before = gwc_events(c);
	uint8_t hdr[FRAME_HDR_LEN];
	struct iovec iov[4] = { { hdr, sizeof(hdr) } }, left[4];
	size_t total = FRAME_HDR_LEN, done = 0;

	if (c->dead)
		return -ENOTCONN;
	frame_encode(f, hdr);
	for (int i = 0; i < n; i++) {
		iov[i + 1] = payload[i];
		total += payload[i].iov_len;
	}
	memcpy(left, iov, sizeof(left));
	if (STAILQ_EMPTY(&c->queue))
		done = write_now(c, left, (size_t)n + 1, total);
	else if (c->queued + total > GWC_QUEUE_MAX)
		return -ENOBUFS;
	if (done == total)
		return 0;
	queue_rest(c, iov, (size_t)n + 1, total, done);
	tell_events(c, before);
	return 0;
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

/* --- in --- */

/* Bytes of a frame's payload before its data; SIZE_MAX: it has none that are worth it. */
static size_t before_data(const struct frame *f)
{
	switch (f->type) {
	case FRAME_REPLY:
		return f->status == GW_OK ? RPC_USER_HDR_LEN : SIZE_MAX;
	case FRAME_REQUEST:
		return f->aux < GW_HOST_MAX ? f->aux + RPC_USER_HDR_LEN : SIZE_MAX;
	default:
		return SIZE_MAX;
	}
}

/* A frame has begun: does somebody want its data somewhere? */
static void find_place(struct gwc *c)
{
	struct direct *d = &c->direct;
	size_t skip, have;
	uint8_t *to;

	if (d->to || !c->ops || !c->ops->place || c->in_len < FRAME_HDR_LEN || frame_decode(&d->frame, c->in) < 0)
		return;
	skip = before_data(&d->frame);
	if (d->frame.length < READ_CHUNK || skip == SIZE_MAX || c->in_len < FRAME_HDR_LEN + skip)
		return;
	to = c->ops->place(c->user, d->frame.type == FRAME_REQUEST, d->frame.id, &d->frame.port, &d->room);
	if (!to)
		return;
	have = c->in_len - FRAME_HDR_LEN - skip;
	memcpy(to, c->in + FRAME_HDR_LEN + skip, MIN(have, d->room));
	d->to = to;
	d->skip = skip;
	d->got = have;
	c->in_len -= have;
}

/* Data for which there is no room there are read, too, and dropped. Returns what recv does. */
static ssize_t read_direct(struct gwc *c, int flags, bool *ret_more)
{
	struct direct *d = &c->direct;
	size_t want = d->frame.length - d->skip - d->got;
	bool fits = d->got < d->room;
	uint8_t *to = fits ? d->to + d->got : c->in + c->in_len;
	ssize_t n;

	want = MIN(want, fits ? d->room - d->got : c->in_cap - c->in_len);
	n = recv(c->fd, to, want, flags);
	*ret_more = n == (ssize_t)want;
	if (n > 0)
		d->got += (size_t)n;
	return n;
}

static void end_direct(struct gwc *c)
{
	struct direct *d = &c->direct;
	struct payload load = { .p = c->in + FRAME_HDR_LEN, .len = d->frame.length, .direct = d->to };

	if (!d->to || d->got < d->frame.length - d->skip)
		return;
	d->to = NULL;
	c->in_len = 0;
	conn_frame(c, &d->frame, &load);
}

/* Runs the whole frames of the input buffer and moves the rest to its start. -EPROTO if it makes no sense. */
static int run_frames(struct gwc *c)
{
	struct frame f;

	while (c->in_len - c->in_at >= FRAME_HDR_LEN && !c->dead) {
		struct payload load = { .p = c->in + c->in_at + FRAME_HDR_LEN };

		if (frame_decode(&f, c->in + c->in_at) < 0)
			return -EPROTO;
		if (c->in_len - c->in_at - FRAME_HDR_LEN < f.length)
			break;
		load.len = f.length;
		conn_frame(c, &f, &load);
		c->in_at += FRAME_HDR_LEN + f.length;
	}
	if (c->dead)
		return 0;
	memmove(c->in, c->in + c->in_at, c->in_len - c->in_at);
	c->in_len -= c->in_at;
	c->in_at = 0;
	find_place(c);
	return 0;
}

/* Room for the frame that has begun, or for the next reads; gives back what a very long frame needed. */
static void make_room(struct gwc *c)
{
	size_t want = READ_CHUNK;
	struct frame f;

	if (!c->direct.to && c->in_len >= FRAME_HDR_LEN && frame_decode(&f, c->in) == 0)
		want = MAX(want, FRAME_HDR_LEN + (size_t)f.length);
	if (want > c->in_cap || (!c->in_len && c->in_cap > KEEP_MAX)) {
		c->in = xrealloc(c->in, want);
		c->in_cap = want;
	}
}

static ssize_t read_some(struct gwc *c, int flags, bool *ret_more)
{
	ssize_t n;

	if (c->direct.to)
		return read_direct(c, flags, ret_more);
	n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, flags);
	*ret_more = n > 0 && (size_t)n == c->in_cap - c->in_len;
	c->in_len += n > 0 ? (size_t)n : 0;
	return n;
}

/* `flags` of the first read: MSG_DONTWAIT, or 0 to wait for it. */
static int dispatch(struct gwc *c, int flags)
{
	int before = gwc_events(c);
	size_t done = 0;

	if (c->dead)
		return -ECONNRESET;
	if (write_some(c) < 0)
		return conn_die(c);
	tell_events(c, before);
	while (done < DISPATCH_BYTES) {
		bool more, direct = c->direct.to;
		ssize_t n;

		make_room(c);
		n = read_some(c, flags, &more);
		if (n < 0 && errno == EINTR && !flags)
			return -EINTR;
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		flags = MSG_DONTWAIT;
		if (n <= 0)
			return conn_die(c);
		done += (size_t)n;
		if (direct)
			end_direct(c);
		else if (run_frames(c) < 0)
			return conn_die(c);
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

bool gwc_placing(const struct gwc *c)
{
	return c->direct.to;
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
