/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MEMORY_STREAM_PRIVATE_H
#define GW_MEMORY_STREAM_PRIVATE_H

/* Shared by stream.c (records, messages), stream_io.c (the socket) and stream_open.c (connecting, the handshake)
 * only. */

#include <sys/types.h>

#include "memory/stream.h"

#define STREAM_HEAD_LEN 4

struct seal;

struct stream {
	int fd, watch;
	uint64_t deadline_us;
	uint32_t cipher; /* 0: plain */
	struct seal *tx, *rx;
	uint8_t *out; /* head, payload, tag */
	size_t out_len;
	uint8_t *in;
	size_t in_at, in_end;
	uint64_t bytes_sent, bytes_received; /* on the wire */
};

/* Waits until `fd` shows one of `events`: 0, or -ETIME, -ECANCELED. */
int stream_wait(int fd, short events, uint64_t deadline_us, int watch, struct err *e) must_check;

/* The bare socket: the whole length; or, stream_get_some, at least one byte. */
int stream_put(struct stream *s, const void *buf, size_t len, struct err *e) must_check;
int stream_get(struct stream *s, void *buf, size_t len, struct err *e) must_check;
ssize_t stream_get_some(struct stream *s, void *buf, size_t len, struct err *e) must_check;

#endif
