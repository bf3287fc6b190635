/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The process that is being built reads its own pages from the stream's socket, straight to where they belong: one
 * copy instead of two. It sleeps in that call; here this is allowed, since it dies with us (PTRACE_O_EXITKILL).
 * The socket's receive timeout brings it back now and then, so that the stream's deadline and a call-off are
 * noticed.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "memory/chunk.h"

#define LOOK_UP_US 200000
#define PARTS 1024

static int give_socket(struct mm_target *t, struct stream *stream, struct err *e)
{
	struct timeval look_up = { .tv_usec = LOOK_UP_US };
	int fd = stream_fd(stream);

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &look_up, sizeof look_up) < 0)
		return err_errno(e, "setting the stream's timeout");
	return remote_put_fds(t->remote, &t->remote->threads[0], t->agent_sock, t->agent_sock_there, &fd, 1,
			      &t->stream_there, e);
}

/* One call there. Returns the bytes read, 0 after a timeout, or -errno. */
static int64_t read_there(struct mm_target *t, struct batch *b, const struct iovec *parts, size_t n, struct err *e)
{
	struct msghdr msg = { .msg_iovlen = n };
	int call, err;

	batch_init(b);
	msg.msg_iov =
		(struct iovec *)(uintptr_t)remote_batch_addr(t->remote, batch_put(b, parts, n * sizeof *parts)).a;
	call = batch_call(b, NULL, SYS_recvmsg, bval((uint64_t)t->stream_there),
			  bdata(batch_put(b, &msg, sizeof msg)), bval(MSG_WAITALL));
	err = batch_run(t->remote, &t->remote->threads[0], b, e);
	if (err)
		return err;
	if (!batch_ret(b, call))
		return err_set(e, -ECONNRESET, "the other mover has gone");
	if (batch_ret(b, call) == -EAGAIN || batch_ret(b, call) == -EINTR)
		return 0;
	if (batch_ret(b, call) < 0)
		return err_code(e, (int)batch_ret(b, call), "the connection to the other mover is lost");
	return batch_ret(b, call);
}

/* What was read ahead belongs to the front of the chunk. */
static int take_read_ahead(struct mm_target *t, struct stream *stream, const struct chunk *c,
			   struct chunk_place *p, size_t *left, struct err *e)
{
	while (stream_pending(stream) && *left) {
		const void *from;
		size_t n;
		int err = stream_peek(stream, &from, &n, e);

		if (err)
			return err;
		n = MIN(n, *left);
		err = chunk_write(t, c, p, from, n, e);
		if (err)
			return err;
		stream_consume(stream, n);
		*left -= n;
	}
	return 0;
}

static int take_rest(struct mm_target *t, struct stream *stream, const struct chunk *c, struct chunk_place p,
		     size_t left, struct batch *b, struct err *e)
{
	struct iovec parts[PARTS];

	while (left) {
		struct chunk_place next = p;
		size_t n = chunk_next_parts(c, &next, left, parts, PARTS);
		int64_t got = read_there(t, b, parts, n, e);
		int err;

		if (got < 0)
			return (int)got;
		/* Usually all of it; after a timeout, from where it stopped. */
		for (size_t some = (size_t)got; some;) {
			struct iovec done;

			(void)chunk_next_parts(c, &p, some, &done, 1);
			some -= done.iov_len;
		}
		left -= (size_t)got;
		stream_count_received(stream, (size_t)got);
		err = got ? 0 : stream_still_wanted(stream, e);
		if (err)
			return err;
	}
	return 0;
}

int chunk_take_direct(struct mm_target *t, struct stream *stream, const struct chunk *c, struct err *e)
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	struct chunk_place p = { .run = 0, .at = c->run[0].start };
	size_t left = c->n_pages * PAGE_BYTES;
	int err = 0;

	if (t->stream_there < 0)
		err = give_socket(t, stream, e);
	if (!err)
		err = take_read_ahead(t, stream, c, &p, &left, e);
	return err ? err : take_rest(t, stream, c, p, left, b, e);
}

int chunk_direct_done(struct mm_target *t, struct err *e)
{
	int64_t got;

	if (t->stream_there < 0)
		return 0;
	got = remote_call(t->remote, &t->remote->threads[0], e, SYS_close,
			  (uint64_t[6]) { (uint64_t)t->stream_there });
	t->stream_there = -1;
	return got < 0 ? err_code(e, (int)got, "closing the stream in the job") : 0;
}
