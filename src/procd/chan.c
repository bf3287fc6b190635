/* SPDX-License-Identifier: Apache-2.0 */
#include "procd/chan.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

struct queued {
	struct queued *next;
	int fds[FD_MSG_FDS_MAX];
	size_t n_fds, len;
	uint8_t bytes[];
};

struct chan {
	uv_poll_t poll;
	int fd;
	const struct chan_ops *ops;
	void *arg;
	struct queued *queue, **queue_end;
	size_t queued_bytes;
	bool closing, gone;
	uint8_t buf[CHAN_PACKET_MAX];
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct chan *c)
{
	int events = UV_READABLE | UV_DISCONNECT | (c->queue ? UV_WRITABLE : 0);

	if (!c->closing && !c->gone)
		(void)uv_poll_start(&c->poll, events, on_poll);
}

static void free_queued(struct queued *q)
{
	for (size_t i = 0; i < q->n_fds; i++)
		(void)close(q->fds[i]);
	free(q);
}

static void peer_gone(struct chan *c, int reason)
{
	if (c->gone || c->closing)
		return;
	c->gone = true;
	(void)uv_poll_stop(&c->poll);
	c->ops->gone(c->arg, reason);
}

static int flush(struct chan *c)
{
	while (c->queue) {
		struct queued *q = c->queue;
		int r = fd_msg_send(c->fd, q->bytes, q->len, q->fds, q->n_fds);

		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return r;
		c->queue = q->next;
		if (!c->queue)
			c->queue_end = &c->queue;
		c->queued_bytes -= q->len;
		free_queued(q);
	}
	return 0;
}

/* One packet; false when there is none now or the channel has ended. */
static bool receive(struct chan *c)
{
	int fds[FD_MSG_FDS_MAX];
	size_t n_fds = 0;
	ssize_t n = fd_msg_recv(c->fd, c->buf, sizeof c->buf, fds, ARRAY_LEN(fds), &n_fds);

	if (n == -EAGAIN)
		return false;
	if (n <= 0) {
		peer_gone(c, n < 0 ? (int)n : -ECONNRESET);
		return false;
	}
	c->ops->packet(c->arg, c->buf, (size_t)n, fds, n_fds);
	for (size_t i = 0; i < n_fds; i++)
		fd_close(&fds[i]);
	return !c->closing && !c->gone;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct chan *c = poll->data;
	int r;

	if (status < 0) {
		peer_gone(c, status);
		return;
	}
	if (events & UV_WRITABLE) {
		r = flush(c);
		if (r < 0 && r != -EPIPE) { /* after -EPIPE there may be something to read, then its end */
			peer_gone(c, r);
			return;
		}
		watch(c);
	}
	if (events & (UV_READABLE | UV_DISCONNECT))
		/* A bounded number, so that one talkative peer does not keep the others waiting. */
		for (int i = 0; i < 64 && receive(c); i++)
			;
}

struct chan *chan_new(uv_loop_t *loop, int fd, const struct chan_ops *ops, void *arg)
{
	struct chan *c = xmalloc(sizeof *c);
	int size = 2 << 20;

	memset(c, 0, offsetof(struct chan, buf));
	c->fd = fd;
	c->ops = ops;
	c->arg = arg;
	c->queue_end = &c->queue;
	(void)!fd_set_nonblock(fd, 1);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	(void)uv_poll_init(loop, &c->poll, fd);
	c->poll.data = c;
	watch(c);
	return c;
}

static int enqueue(struct chan *c, const void *bytes, size_t len, const int *fds, size_t n_fds)
{
	struct queued *q;

	if (c->queued_bytes + len > CHAN_QUEUE_MAX)
		return -ENOBUFS;
	q = xcalloc(1, sizeof *q + len);
	q->len = len;
	memcpy(q->bytes, bytes, len);
	for (size_t i = 0; i < n_fds; i++) {
		int fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

		if (fd < 0) {
			free_queued(q);
			return -errno;
		}
		q->fds[q->n_fds++] = fd;
	}
	*c->queue_end = q;
	c->queue_end = &q->next;
	c->queued_bytes += len;
	watch(c);
	return 0;
}

int chan_send(struct chan *c, const void *bytes, size_t len, const int *fds, size_t n_fds)
{
	int r;

	if (c->gone || c->closing)
		return -EPIPE;
	if (len > CHAN_PACKET_MAX || n_fds > FD_MSG_FDS_MAX)
		return -EMSGSIZE;
	if (!c->queue) {
		r = fd_msg_send(c->fd, bytes, len, fds, n_fds);
		if (r != -EAGAIN)
			return r;
	}
	return enqueue(c, bytes, len, fds, n_fds);
}

static void on_closed(uv_handle_t *handle)
{
	struct chan *c = handle->data;

	fd_close(&c->fd);
	while (c->queue) {
		struct queued *q = c->queue;

		c->queue = q->next;
		free_queued(q);
	}
	free(c);
}

void chan_close(struct chan *c)
{
	if (!c || c->closing)
		return;
	c->closing = true;
	uv_close((uv_handle_t *)&c->poll, on_closed);
}
