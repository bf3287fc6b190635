/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream between two movers: what a stranger says before he is known, what a peer who knows the key may say
 * (messages and raw bytes on a plain stream), and records that are not properly sealed.
 */
#include <sys/socket.h>

#include "checkpoint.pb-c.h"
#include "fuzz.h"
#include "memory/seal.h"
#include "memory/stream_private.h"

#define INPUT_MAX 100000u

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return 0;
}

/* A connection on which `data` has arrived and the peer has hung up. */
static int said(const uint8_t *data, size_t size)
{
	int fds[2], buffer = 1 << 20;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	(void)setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
	if (size && send(fds[1], data, size, MSG_DONTWAIT) != (ssize_t)size)
		abort();
	(void)shutdown(fds[1], SHUT_WR);
	/* Our own bytes have somewhere to go. */
	(void)close(fds[1]);
	return fds[0];
}

static void shake_hands(const uint8_t *data, size_t size, bool client, bool sealed)
{
	static const uint8_t key[STREAM_KEY_LEN] = { 1 };
	struct stream *s = NULL;
	struct err e = { 0 };

	if (!stream_open(said(data, size), client, key, sealed, STREAM_NEVER, -1, &s, &e))
		abort(); /* nobody guesses a key */
}

/* As stream_open leaves it. */
static struct stream *opened(const uint8_t *data, size_t size, uint32_t cipher)
{
	static const uint8_t key[STREAM_KEY_LEN] = { 2 };
	struct stream *s = xcalloc(1, sizeof *s);

	s->fd = said(data, size);
	s->watch = -1;
	s->deadline_us = STREAM_NEVER;
	s->out = xmalloc(STREAM_HEAD_LEN + STREAM_ROOM_MAX + SEAL_TAG_LEN);
	s->in = xmalloc(STREAM_HEAD_LEN + STREAM_ROOM_MAX + SEAL_TAG_LEN);
	if (cipher) {
		s->cipher = cipher;
		s->tx = seal_new(cipher, key);
		s->rx = seal_new(cipher, key);
	}
	return s;
}

static void converse(struct stream *s, struct fuzz_in how)
{
	int err = 0;

	for (unsigned i = 0; i < 16 && !err; i++) {
		ProtobufCMessage *m = NULL;
		uint8_t *bytes = NULL, raw[300];
		const void *at;
		uint32_t type;
		struct err e = { 0 };
		size_t len;

		switch (fuzz_get(&how, 1) % 4) {
		case 0:
			err = stream_recv_any(s, 1 << 20, &type, &bytes, &len, &e);
			free(bytes);
			break;
		case 1:
			err = stream_recv_msg(s, 1, &godwit__ckpt__job__descriptor, 1 << 20, &m, &e);
			if (m)
				protobuf_c_message_free_unpacked(m, NULL);
			break;
		case 2:
			err = stream_read(s, raw, sizeof raw, &e);
			break;
		default:
			err = stream_peek(s, &at, &len, &e);
			if (!err)
				stream_consume(s, len);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, MIN(size, INPUT_MAX) }, how;
	uint8_t mode = (uint8_t)fuzz_get(&in, 1);
	struct stream *s;

	if (mode < 4) {
		shake_hands(in.p, in.left, mode & 1, mode & 2);
		return 0;
	}
	how.p = fuzz_bytes(&in, 16, &how.left);
	s = opened(in.p, in.left, mode < 64 ? 0 : SEAL_CHACHA20);
	converse(s, how);
	stream_free(s);
	return 0;
}
