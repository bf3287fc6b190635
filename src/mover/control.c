/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/decode.h"
#include "image/scan.h"
#include "memory/wire.h"
#include "mover/mover.h"

int control_receive(struct mover *m, Godwit__Mover__MoverMessage **ret, struct err *e)
{
	_cleanup_free_ uint8_t *buf = xmalloc(MOVER_PACKET_MAX);
	ssize_t n = fd_msg_recv(m->control, buf, MOVER_PACKET_MAX, m->came, MOVER_FDS_MAX, &m->n_came);

	if (n < 0 && n != -ECONNRESET)
		return err_code(e, (int)n, "cannot read from procd");
	if (n <= 0)
		return err_set(e, -ENODATA, "procd has gone");
	*ret = godwit__mover__mover_message__unpack(NULL, (size_t)n, buf);
	return *ret ? 0 : err_set(e, -EPROTO, "procd sent what is not a message");
}

int control_send(struct mover *m, const Godwit__Mover__MoverMessage *msg, struct err *e)
{
	size_t len = godwit__mover__mover_message__get_packed_size(msg);
	_cleanup_free_ uint8_t *buf = xmalloc(len);
	int err;

	(void)godwit__mover__mover_message__pack(msg, buf);
	err = fd_msg_send(m->control, buf, len, NULL, 0);
	return err < 0 ? err_code(e, err, "cannot write to procd") : 0;
}

int control_fail(struct mover *m, const struct err *why, struct err *e)
{
	Godwit__Mover__MoverMessage out = GODWIT__MOVER__MOVER_MESSAGE__INIT;
	Godwit__Mover__Failed failed = GODWIT__MOVER__FAILED__INIT;

	failed.code = why->code;
	failed.text = (char *)(uintptr_t)err_text(why);
	failed.problems = m->problems.list;
	failed.n_problems = m->problems.n;
	out.kind_case = GODWIT__MOVER__MOVER_MESSAGE__KIND_FAILED;
	out.failed = &failed;
	return control_send(m, &out, e);
}

/* --- the stream --- */

/* Why the other side cannot go on. Its words are for people, who may sit at a terminal. */
static int other_failed(struct mover *m, const uint8_t *bytes, size_t len, struct err *e)
{
	const ProtobufCMessageDescriptor *d = &godwit__mover__failed__descriptor;
	ProtobufCMessage *msg = NULL;
	Godwit__Mover__Failed *failed;
	struct err ignored;
	int err;

	if (m->to.decoder)
		(void)!decoder_take(m->to.decoder, DECODE_FAILED, bytes, len, &msg, &ignored);
	else if (!message_scan(d, bytes, len, SCAN_ROOM, false, &ignored))
		msg = protobuf_c_message_unpack(d, NULL, len, bytes);
	failed = (Godwit__Mover__Failed *)msg;
	for (char *at = failed ? failed->text : NULL; at && *at; at++)
		if ((unsigned char)*at < ' ' || *at == 127)
			*at = '?';
	err = err_set(e, failed && failed->code < 0 && failed->code > -4096 ? failed->code : -EIO, "at the %s: %s",
		      m->source ? "destination" : "source", failed ? failed->text : "?");
	if (failed)
		godwit__mover__failed__free_unpacked(failed, NULL);
	return err;
}

static int frame_receive(struct mover *m, enum frame what, uint8_t **ret, size_t *ret_len, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	uint32_t type;
	int err = stream_recv_any(m->stream, FRAME_JOB_MAX, &type, &bytes, ret_len, e);

	if (err < 0)
		return err;
	if (type == FRAME_FAILED)
		return other_failed(m, bytes, *ret_len, e);
	if (type != what)
		return err_set(e, -EPROTO, "the other mover sent frame %u instead of %u", type, what);
	*ret = steal_ptr(&bytes);
	return 0;
}

int frame_expect(struct mover *m, enum frame what, const ProtobufCMessageDescriptor *d, ProtobufCMessage **ret,
		 struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;
	int err = frame_receive(m, what, &bytes, &len, e);

	if (err < 0)
		return err;
	if (!d)
		return len ? err_set(e, -EPROTO, "frame %u is not empty", what) : 0;
	err = message_scan(d, bytes, len, SCAN_ROOM, false, e);
	if (err < 0)
		return err_wrap(e, "frame %u", what);
	*ret = protobuf_c_message_unpack(d, NULL, len, bytes);
	return *ret ? 0 : err_set(e, -EPROTO, "frame %u is not a message", what);
}

int frame_expect_job(struct mover *m, enum frame what, Godwit__Ckpt__Job **ret, struct err *e)
{
	enum decode kind = what == FRAME_DESCRIPTION ? DECODE_DESCRIPTION : DECODE_CHECKPOINT;
	_cleanup_free_ uint8_t *bytes = NULL;
	ProtobufCMessage *msg = NULL;
	size_t len;
	int err = frame_receive(m, what, &bytes, &len, e);

	timing_start(&m->timings);
	if (!err)
		err = decoder_take(m->to.decoder, kind, bytes, len, &msg, e);
	if (!err)
		*ret = (Godwit__Ckpt__Job *)msg;
	return err;
}

void frame_fail(struct mover *m, const struct err *why)
{
	Godwit__Mover__Failed failed = GODWIT__MOVER__FAILED__INIT;
	struct err ignored;

	failed.code = why->code;
	failed.text = (char *)(uintptr_t)err_text(why);
	if (m->stream)
		(void)!stream_send_msg(m->stream, FRAME_FAILED, &failed.base, &ignored);
}

static int file_send(void *ctx, const void *buf, size_t len, struct err *e)
{
	struct mover *m = ctx;

	return stream_write(m->stream, buf, len,
			    e); /* goes out with what follows, or before anyone waits for an answer */
}

static int file_recv(void *ctx, void *buf, size_t len, struct err *e)
{
	struct mover *m = ctx;

	return stream_read(m->stream, buf, len, e);
}

/* The type of a frame has been read for a length. */
static int file_failed(void *ctx, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct mover *m = ctx;
	uint8_t head[4];
	uint32_t len;
	int err = stream_read(m->stream, head, sizeof head, e);

	if (err < 0)
		return err;
	len = wire_get_u32(head);
	if (len > FRAME_JOB_MAX)
		return err_set(e, -EPROTO, "the other mover gives up without a reason");
	bytes = xmalloc(len + 1u);
	err = stream_read(m->stream, bytes, len, e);
	return err < 0 ? err : other_failed(m, bytes, len, e);
}

struct file_io frame_file_io(struct mover *m)
{
	return (struct file_io) {
		.ctx = m, .send = file_send, .recv = file_recv, .failed = file_failed, .decoder = m->to.decoder
	};
}

/* --- timings --- */

void timing_start(struct timings *t)
{
	t->last_us = now_us();
}

void timing_add(struct timings *t, const char *name)
{
	Godwit__Mover__Timing *x = xmalloc(sizeof *x);
	uint64_t now = now_us();

	godwit__mover__timing__init(x);
	x->name = xstrdup(name);
	x->us = now - t->last_us;
	t->last_us = now;
	t->list = xrealloc(t->list, (t->n + 1) * sizeof(*t->list));
	t->list[t->n++] = x;
}

void timings_done(struct timings *t)
{
	for (size_t i = 0; i < t->n; i++)
		godwit__mover__timing__free_unpacked(t->list[i], NULL);
	free(t->list);
	*t = (struct timings) { 0 };
}
