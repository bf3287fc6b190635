/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "memory/stream_private.h"

int stream_wait(int fd, short events, uint64_t deadline_us, int watch, struct err *e)
{
	struct pollfd fds[2] = { { .fd = fd, .events = events }, { .fd = watch, .events = POLLIN } };

	for (;;) {
		struct timespec t, *timeout = NULL;
		int n;

		if (deadline_us != STREAM_NEVER) {
			uint64_t now = now_us(), left = deadline_us > now ? deadline_us - now : 0;

			t = (struct timespec) { .tv_sec = (time_t)(left / 1000000),
						.tv_nsec = (long)(left % 1000000) * 1000 };
			timeout = &t;
		}
		n = ppoll(fds, watch >= 0 ? 2 : 1, timeout, NULL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "waiting for the other mover");
		if (!n)
			return err_set(e, -ETIME, "the other mover did not answer in time");
		if (watch >= 0 && fds[1].revents)
			return err_set(e, -ECANCELED, "called off");
		return 0;
	}
}

int stream_still_wanted(const struct stream *s, struct err *e)
{
	struct pollfd fd = { .fd = s->watch, .events = POLLIN };

	if (now_us() >= s->deadline_us)
		return err_set(e, -ETIME, "the other mover did not answer in time");
	if (s->watch >= 0 && poll(&fd, 1, 0) > 0)
		return err_set(e, -ECANCELED, "called off");
	return 0;
}

static int io_error(int code, struct err *e)
{
	if (code == -EPIPE)
		code = -ECONNRESET;
	return err_code(e, code, "the connection to the other mover is lost");
}

int stream_put(struct stream *s, const void *buf, size_t len, struct err *e)
{
	const uint8_t *from = buf;

	while (len) {
		ssize_t n = send(s->fd, from, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			int err = stream_wait(s->fd, POLLOUT, s->deadline_us, s->watch, e);

			if (err)
				return err;
			continue;
		}
		if (n < 0)
			return io_error(-errno, e);
		s->bytes_sent += (uint64_t)n;
		from += n;
		len -= (size_t)n;
	}
	return 0;
}

ssize_t stream_get_some(struct stream *s, void *buf, size_t len, struct err *e)
{
	for (;;) {
		ssize_t n = recv(s->fd, buf, len, MSG_DONTWAIT);
		int err;

		if (n > 0) {
			s->bytes_received += (uint64_t)n;
			return n;
		}
		if (!n)
			return err_set(e, -ECONNRESET, "the other mover has gone");
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return io_error(-errno, e);
		err = stream_wait(s->fd, POLLIN, s->deadline_us, s->watch, e);
		if (err)
			return err;
	}
}

int stream_get(struct stream *s, void *buf, size_t len, struct err *e)
{
	uint8_t *to = buf;

	while (len) {
		ssize_t n = stream_get_some(s, to, len, e);

		if (n < 0)
			return (int)n;
		to += n;
		len -= (size_t)n;
	}
	return 0;
}

int stream_splice(struct stream *s, int pipe, size_t len, struct err *e)
{
	while (len) {
		/* More of it follows, or a head: never worth a segment of its own. */
		ssize_t n = splice(pipe, NULL, s->fd, NULL, len, SPLICE_F_MORE | SPLICE_F_NONBLOCK);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			int err = stream_wait(s->fd, POLLOUT, s->deadline_us, s->watch, e);

			if (err)
				return err;
			continue;
		}
		if (n < 0)
			return io_error(-errno, e);
		if (!n)
			return err_set(e, -EIO, "a pipe has fewer bytes than were put into it");
		s->bytes_sent += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int stream_read_exact(struct stream *s, void *buf, size_t len, struct err *e)
{
	size_t have = MIN(len, s->in_end - s->in_at);
	int err = stream_flush(s, e);

	if (err)
		return err;
	memcpy(buf, s->in + s->in_at, have);
	s->in_at += have;
	return stream_get(s, (uint8_t *)buf + have, len - have, e);
}

uint64_t stream_link_rate(const struct stream *s)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof info;

	if (getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
	    len < offsetof(struct tcp_info, tcpi_delivery_rate) + sizeof info.tcpi_delivery_rate)
		return 0;
	return info.tcpi_delivery_rate;
}
