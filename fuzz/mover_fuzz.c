/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mover hears: packets of its procd, with and without descriptors, and frames of the mover at the other
 * side, whose host need not be a friend. The first byte says which, and which frame is waited for.
 */
#include <sys/socket.h>

#include "fuzz.h"
#include "memory/seal.h"
#include "memory/stream_private.h"
#include "mover/control.c"

#define INPUT_MAX 100000u

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return 0;
}

static void hear_procd(struct fuzz_in in, unsigned n_fds)
{
	struct mover m = { 0 };
	int pair[2], fds[MOVER_FDS_MAX + 2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = pair[1];
	m.control = pair[0];
	while (in.left) {
		Godwit__Mover__MoverMessage *msg = NULL;
		struct err e = { 0 }, told = { 0 };
		size_t len;
		const uint8_t *bytes = fuzz_bytes(&in, 32768, &len);

		if (!len || fd_msg_send(pair[1], bytes, len, fds, MIN(n_fds, ARRAY_LEN(fds))) < 0)
			continue;
		if (!control_receive(&m, &msg, &e)) {
			if (control_send(&m, msg, &told) < 0 && len < 32768)
				(void)!control_fail(&m, &told, &e);
			godwit__mover__mover_message__free_unpacked(msg, NULL);
		}
		while (m.n_came)
			fd_close(&m.came[--m.n_came]);
	}
	(void)close(pair[0]);
	(void)close(pair[1]);
}

/* A plain stream on which `in` has arrived; see stream_fuzz.c. */
static struct stream *opened(const struct fuzz_in *in)
{
	struct stream *s = xcalloc(1, sizeof *s);
	int pair[2], buffer = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	(void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
	if (in->left && send(pair[1], in->p, in->left, MSG_DONTWAIT) != (ssize_t)in->left)
		abort();
	(void)close(pair[1]);
	s->fd = pair[0];
	s->watch = -1;
	s->deadline_us = STREAM_NEVER;
	s->out = xmalloc(STREAM_HEAD_LEN + STREAM_ROOM_MAX + SEAL_TAG_LEN);
	s->in = xmalloc(STREAM_HEAD_LEN + STREAM_ROOM_MAX + SEAL_TAG_LEN);
	return s;
}

static void hear_mover(const struct fuzz_in *in, unsigned which)
{
	static const struct {
		enum frame what;
		const ProtobufCMessageDescriptor *d;
	} frames[] = {
		{ FRAME_DESCRIPTION, &godwit__ckpt__job__descriptor },
		{ FRAME_PREPARED, NULL },
		{ FRAME_CHECKPOINT, &godwit__ckpt__job__descriptor },
		{ FRAME_READY, &godwit__mover__ready__descriptor },
	};
	size_t row = which % ARRAY_LEN(frames);
	struct mover m = { .stream = opened(in) };
	ProtobufCMessage *msg = NULL;
	struct err e = { 0 };
	int err;

	do {
		msg = NULL;
		err = frame_expect(&m, frames[row].what, frames[row].d, &msg, &e);
		if (msg)
			protobuf_c_message_free_unpacked(msg, NULL);
	} while (!err);
	stream_free(m.stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, MIN(size, INPUT_MAX) };
	uint8_t how = (uint8_t)fuzz_get(&in, 1);

	if (how & 1)
		hear_procd(in, how >> 4);
	else
		hear_mover(&in, how / 2);
	return 0;
}
