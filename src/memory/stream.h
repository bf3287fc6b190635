/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MEMORY_STREAM_H
#define GW_MEMORY_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "base/err.h"

/*
 * The byte stream between the two movers of one migration: one TCP connection, keyed with 32 fresh random bytes
 * that came by RPC. Framed protobuf messages and raw bulk data share it, in order, both ways.
 *
 * Both sides prove that they know the key before anything else is said, on a plain link too. A sealed stream is
 * encrypted and authenticated record by record, under keys of its own for each direction; a plain one carries the
 * bytes as they are (links that both sides call trusted). Both sides must want the same, else -EPROTO.
 *
 * Nothing here blocks beyond the deadline. What goes wrong, for all functions: -ETIME at the deadline, -ECONNRESET
 * when the peer has gone, -ECANCELED when the watched descriptor became readable, -EPROTO or -EBADMSG when the
 * peer does not speak the protocol or the bytes were tampered with. After an error the stream is good for
 * stream_free only.
 */

#define STREAM_KEY_LEN 32
#define STREAM_MSG_MAX (256u << 20) /* bytes of one message, whatever the caller allows */
#define STREAM_NEVER UINT64_MAX	    /* no deadline */

struct stream;

/* A listening socket (non-blocking, close-on-exec) at a numeric IPv4 or IPv6 address and an ephemeral port, or
 * -errno. */
int stream_listen(const char *address, uint16_t *ret_port, struct err *e) must_check;

/*
 * The destination's side: takes connections from the listener until one proves that it knows the key (others are
 * dropped), within `deadline_us` of now_us()'s clock. The listener stays the caller's. `watch` as in stream_watch,
 * -1: nothing.
 */
int stream_accept(int listener, const uint8_t key[STREAM_KEY_LEN], bool sealed, uint64_t deadline_us, int watch,
		  struct stream **ret, struct err *e) must_check;
/* The source's side. */
int stream_connect(const char *address, uint16_t port, const uint8_t key[STREAM_KEY_LEN], bool sealed,
		   uint64_t deadline_us, int watch, struct stream **ret, struct err *e) must_check;
/* The same over a connected stream socket that is handed over (tests, socketpairs). `client`: speaks first. */
int stream_open(int fd, bool client, const uint8_t key[STREAM_KEY_LEN], bool sealed, uint64_t deadline_us,
		int watch, struct stream **ret, struct err *e) must_check;
void stream_free(struct stream *s); /* NULL-safe; closes */

/* For poll(): readable is a hint only; stream_pending says whether bytes wait in our own buffers. */
int stream_fd(const struct stream *s);
bool stream_pending(const struct stream *s);
bool stream_is_sealed(const struct stream *s);
const char *stream_cipher(const struct stream *s); /* "plain", "aes256-gcm", "chacha20-poly1305" */

/* From now on nothing blocks beyond that moment of now_us()'s clock. */
void stream_set_deadline(struct stream *s, uint64_t deadline_us);
/* While blocked, give up with -ECANCELED as soon as `fd` is readable or hung up: the mover's control socket. -1:
 * nothing. */
void stream_watch(struct stream *s, int fd);

/* Sends one message at once. `m` NULL: a message without content. Types are the callers', never 0. */
int stream_send_msg(struct stream *s, uint32_t type, const ProtobufCMessage *m, struct err *e) must_check;

/*
 * Receives one message of at most `max` bytes. stream_recv_any returns type and bytes (heap, never NULL);
 * stream_recv_msg insists on one type (anything else is -EPROTO) and unpacks it (free with
 * protobuf_c_message_free_unpacked or the generated free; `d` NULL: must be empty, `ret` may be NULL).
 */
int stream_recv_any(struct stream *s, size_t max, uint32_t *ret_type, uint8_t **ret_bytes, size_t *ret_len,
		    struct err *e) must_check;
int stream_recv_msg(struct stream *s, uint32_t type, const ProtobufCMessageDescriptor *d, size_t max,
		    ProtobufCMessage **ret, struct err *e) must_check;

/* --- bulk data: what strategies use --- */

/*
 * Writing without a copy: stream_room gives at least `want` (<= STREAM_ROOM_MAX) bytes of the current record to be
 * filled, stream_commit says how many were. Sent when a record is full, at stream_flush, and before
 * we wait for the other side.
 */
#define STREAM_ROOM_MAX ((256u << 10) + 2048) /* 64 pages and what is said about them */
int stream_room(struct stream *s, size_t want, void **ret_at, size_t *ret_room, struct err *e) must_check;
void stream_commit(struct stream *s, size_t len);
int stream_write(struct stream *s, const void *buf, size_t len, struct err *e) must_check;
int stream_flush(struct stream *s, struct err *e) must_check;

/*
 * Reading without a copy: stream_peek waits until at least one byte is there and shows what is, at most
 * STREAM_ROOM_MAX bytes, already authenticated; stream_consume says how many were used.
 */
int stream_peek(struct stream *s, const void **ret_at, size_t *ret_len, struct err *e) must_check;
void stream_consume(struct stream *s, size_t len);
int stream_read(struct stream *s, void *buf, size_t len, struct err *e) must_check;

/* --- a plain stream only --- */

/* Moves `len` bytes that are in a pipe already to the other side, without a copy. Flush before. */
int stream_splice(struct stream *s, int pipe, size_t len, struct err *e) must_check;
/* As stream_read, but takes nothing off the socket that was not asked for: what follows can be read by somebody
 * else. */
int stream_read_exact(struct stream *s, void *buf, size_t len, struct err *e) must_check;
/* Somebody else has read so many bytes from the socket. */
void stream_count_received(struct stream *s, size_t len);
/* For whoever waits elsewhere: 0, or -ETIME or -ECANCELED if it is no longer worth waiting. */
int stream_still_wanted(const struct stream *s, struct err *e) must_check;
/* What the kernel thinks this link carries, bytes a second; 0: no idea. */
uint64_t stream_link_rate(const struct stream *s);

uint64_t stream_bytes_sent(const struct stream *s);
uint64_t stream_bytes_received(const struct stream *s);

#endif
