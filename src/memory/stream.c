/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The socket is non-blocking; every wait is a poll() on it, the watched descriptor and the deadline (stream_io.c).
 *
 * Output gathers in one record buffer: 4 bytes of head, up to STREAM_ROOM_MAX of payload, a tag. A sealed record
 * goes out with head (length of ciphertext and tag, little-endian, authenticated as associated data) and tag; a
 * plain one as its bare payload: a plain stream has no records, so bulk data could as well be spliced between two
 * flushes.
 *
 * Input is the mirror image: a sealed record is read as a whole and opened in place before anyone sees a byte of
 * it.
 *
 * A message is 4 bytes of type, 4 of length, and the packed protobuf, written into the same stream.
 */
#include "memory/stream.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "memory/seal.h"
#include "memory/stream_private.h"
#include "memory/wire.h"

void stream_free(struct stream *s)
{
	if (!s)
		return;
	fd_close(&s->fd);
	seal_free(s->tx);
	seal_free(s->rx);
	free(s->out);
	free(s->in);
	free(s);
}

int stream_fd(const struct stream *s)
{
	return s->fd;
}

bool stream_pending(const struct stream *s)
{
	return s->in_at < s->in_end;
}

bool stream_is_sealed(const struct stream *s)
{
	return s->cipher != 0;
}

const char *stream_cipher(const struct stream *s)
{
	return seal_name(s->cipher);
}

void stream_set_deadline(struct stream *s, uint64_t deadline_us)
{
	s->deadline_us = deadline_us;
}

void stream_watch(struct stream *s, int fd)
{
	s->watch = fd;
}

uint64_t stream_bytes_sent(const struct stream *s)
{
	return s->bytes_sent;
}

uint64_t stream_bytes_received(const struct stream *s)
{
	return s->bytes_received;
}

void stream_count_received(struct stream *s, size_t len)
{
	s->bytes_received += len;
}

/* --- output --- */

int stream_flush(struct stream *s, struct err *e)
{
	size_t len = s->out_len;
	int err;

	if (!len)
		return 0;
	s->out_len = 0;
	if (!s->tx)
		return stream_put(s, s->out + STREAM_HEAD_LEN, len, e);
	wire_put_u32(s->out, (uint32_t)(len + SEAL_TAG_LEN));
	err = seal_box(s->tx, s->out + STREAM_HEAD_LEN, len, s->out, STREAM_HEAD_LEN);
	if (err)
		return err_code(e, err, "sealing a record");
	return stream_put(s, s->out, STREAM_HEAD_LEN + len + SEAL_TAG_LEN, e);
}

int stream_room(struct stream *s, size_t want, void **ret_at, size_t *ret_room, struct err *e)
{
	int err;

	if (!want || want > STREAM_ROOM_MAX)
		return err_set(e, -EINVAL, "no record is that long");
	if (STREAM_ROOM_MAX - s->out_len < want) {
		err = stream_flush(s, e);
		if (err)
			return err;
	}
	*ret_at = s->out + STREAM_HEAD_LEN + s->out_len;
	*ret_room = STREAM_ROOM_MAX - s->out_len;
	return 0;
}

void stream_commit(struct stream *s, size_t len)
{
	s->out_len += len;
}

int stream_write(struct stream *s, const void *buf, size_t len, struct err *e)
{
	const uint8_t *from = buf;

	while (len) {
		size_t room, n;
		void *at;
		int err = stream_room(s, 1, &at, &room, e);

		if (err)
			return err;
		n = MIN(room, len);
		memcpy(at, from, n);
		stream_commit(s, n);
		from += n;
		len -= n;
	}
	return 0;
}

/* protobuf-c packs straight into the stream; the first error sticks. */
struct message_sink {
	ProtobufCBuffer base;
	struct stream *stream;
	struct err *e;
	int err;
};

static void sink_append(ProtobufCBuffer *base, size_t len, const uint8_t *data)
{
	struct message_sink *sink = (struct message_sink *)base;

	if (!sink->err)
		sink->err = stream_write(sink->stream, data, len, sink->e);
}

int stream_send_msg(struct stream *s, uint32_t type, const ProtobufCMessage *m, struct err *e)
{
	struct message_sink sink = { .base = { .append = sink_append }, .stream = s, .e = e };
	size_t len = m ? protobuf_c_message_get_packed_size(m) : 0;
	uint8_t head[8];
	int err;

	if (len > STREAM_MSG_MAX)
		return err_set(e, -EMSGSIZE, "message %u is too long (%zu bytes)", type, len);
	wire_put_u32(head, type);
	wire_put_u32(head + 4, (uint32_t)len);
	err = stream_write(s, head, sizeof head, e);
	if (err)
		return err;
	if (m)
		(void)protobuf_c_message_pack_to_buffer(m, &sink.base);
	if (sink.err)
		return sink.err;
	return stream_flush(s, e);
}

/* --- input --- */

static int read_record(struct stream *s, struct err *e)
{
	uint32_t len;
	int err = stream_get(s, s->in, STREAM_HEAD_LEN, e);

	if (err)
		return err;
	len = wire_get_u32(s->in);
	if (len <= SEAL_TAG_LEN || len > STREAM_ROOM_MAX + SEAL_TAG_LEN)
		return err_set(e, -EPROTO, "the peer sent a record of %u bytes", len);
	err = stream_get(s, s->in + STREAM_HEAD_LEN, len, e);
	if (err)
		return err;
	err = seal_unbox(s->rx, s->in + STREAM_HEAD_LEN, len, s->in, STREAM_HEAD_LEN);
	if (err)
		return err_set(e, err, "a record is not what the peer sealed");
	s->in_at = STREAM_HEAD_LEN;
	s->in_end = STREAM_HEAD_LEN + len - SEAL_TAG_LEN;
	return 0;
}

static int fill(struct stream *s, struct err *e)
{
	ssize_t n;
	int err = stream_flush(s, e);

	if (err)
		return err;
	if (s->rx)
		return read_record(s, e);
	n = stream_get_some(s, s->in, STREAM_ROOM_MAX, e);
	if (n < 0)
		return (int)n;
	s->in_at = 0;
	s->in_end = (size_t)n;
	return 0;
}

int stream_peek(struct stream *s, const void **ret_at, size_t *ret_len, struct err *e)
{
	if (!stream_pending(s)) {
		int err = fill(s, e);

		if (err)
			return err;
	}
	*ret_at = s->in + s->in_at;
	*ret_len = s->in_end - s->in_at;
	return 0;
}

void stream_consume(struct stream *s, size_t len)
{
	s->in_at += len;
}

int stream_read(struct stream *s, void *buf, size_t len, struct err *e)
{
	uint8_t *to = buf;

	while (len) {
		const void *at;
		size_t n;
		int err = stream_peek(s, &at, &n, e);

		if (err)
			return err;
		n = MIN(n, len);
		memcpy(to, at, n);
		stream_consume(s, n);
		to += n;
		len -= n;
	}
	return 0;
}

int stream_recv_any(struct stream *s, size_t max, uint32_t *ret_type, uint8_t **ret_bytes, size_t *ret_len,
		    struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	uint8_t head[8];
	uint32_t type, len;
	int err = stream_read(s, head, sizeof head, e);

	if (err)
		return err;
	type = wire_get_u32(head);
	len = wire_get_u32(head + 4);
	if (!type || len > MIN(max, STREAM_MSG_MAX))
		return err_set(e, -EPROTO, "the peer sent a message of type %u, %u bytes", type, len);
	bytes = malloc(len + 1u);
	if (!bytes)
		return err_set(e, -ENOMEM, "no memory for a message of %u bytes", len);
	err = stream_read(s, bytes, len, e);
	if (err)
		return err;
	*ret_type = type;
	*ret_len = len;
	*ret_bytes = steal_ptr(&bytes);
	return 0;
}

int stream_recv_msg(struct stream *s, uint32_t type, const ProtobufCMessageDescriptor *d, size_t max,
		    ProtobufCMessage **ret, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	ProtobufCMessage *m;
	uint32_t got;
	size_t len;
	int err = stream_recv_any(s, max, &got, &bytes, &len, e);

	if (err)
		return err;
	if (got != type)
		return err_set(e, -EPROTO, "the peer sent message %u where %u was due", got, type);
	if (!d)
		return len ? err_set(e, -EPROTO, "message %u should be empty", type) : 0;
	m = protobuf_c_message_unpack(d, NULL, len, bytes);
	if (!m)
		return err_set(e, -EPROTO, "message %u does not decode", type);
	if (ret)
		*ret = m;
	else
		protobuf_c_message_free_unpacked(m, NULL);
	return 0;
}
