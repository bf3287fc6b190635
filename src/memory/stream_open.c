/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting, and the handshake: three messages, c the client's, s the server's.
 *
 *   1  c -> s   hello_c = magic, sealed?, ciphers it has, nonce_c
 *   2  s -> c   hello_s = magic, sealed?, the cipher chosen, nonce_s ; H(key, "server", hello_c, hello_s)
 *   3  c -> s   H(key, "client", hello_c, hello_s)
 *
 * H is BLAKE2b keyed with the migration's key. Each proof covers both nonces, so none can be replayed, and its
 * side's label, so none can be reflected. The traffic keys are H(key, "to server" or "to client", hello_c,
 * hello_s). Nothing is negotiated downwards: whether to seal is each side's own firm opinion, and differing
 * opinions end the connection.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "memory/seal.h"
#include "memory/stream_private.h"
#include "memory/wire.h"

#define MAGIC "GODWITm1"
#define NONCE_LEN 32
#define HELLO_LEN (8 + 1 + 4 + NONCE_LEN)
#define PROOF_LEN 32
#define SOCKET_BUFFER (4 << 20)
/* A stranger who connects and says nothing must not use up the time in which the right peer may come. */
#define HANDSHAKE_US 2000000u

struct hello {
	uint8_t bytes[HELLO_LEN];
};

static void hello_make(struct hello *h, bool sealed, uint32_t ciphers)
{
	memcpy(h->bytes, MAGIC, 8);
	h->bytes[8] = sealed;
	wire_put_u32(h->bytes + 9, ciphers);
	randombytes_buf(h->bytes + 13, NONCE_LEN);
}

/* The peer's ciphers, or -EPROTO. */
static int hello_check(const struct hello *h, bool sealed, uint32_t *ret_ciphers, struct err *e)
{
	if (memcmp(h->bytes, MAGIC, 8) || h->bytes[8] > 1)
		return err_set(e, -EPROTO, "the peer is not a mover of this version");
	if (h->bytes[8] != sealed)
		return err_set(e, -EPROTO, "one side calls the link trusted, the other does not");
	*ret_ciphers = wire_get_u32(h->bytes + 9);
	return 0;
}

static void keyed_hash(const uint8_t *key, const char *label, const struct hello *c, const struct hello *s,
		       uint8_t out[PROOF_LEN])
{
	crypto_generichash_state st;

	(void)crypto_generichash_init(&st, key, STREAM_KEY_LEN, PROOF_LEN);
	(void)crypto_generichash_update(&st, (const uint8_t *)label, strlen(label) + 1);
	(void)crypto_generichash_update(&st, c->bytes, sizeof c->bytes);
	(void)crypto_generichash_update(&st, s->bytes, sizeof s->bytes);
	(void)crypto_generichash_final(&st, out, PROOF_LEN);
}

static int check_proof(struct stream *s, const uint8_t *key, const char *label, const struct hello *hc,
		       const struct hello *hs, struct err *e)
{
	uint8_t want[PROOF_LEN], got[PROOF_LEN];
	int err = stream_get(s, got, sizeof got, e);

	if (err)
		return err;
	keyed_hash(key, label, hc, hs, want);
	if (sodium_memcmp(want, got, sizeof want))
		return err_set(e, -EPROTO, "the peer does not know the migration's key");
	return 0;
}

static int start_sealing(struct stream *s, bool client, uint32_t cipher, const uint8_t *key,
			 const struct hello *hc, const struct hello *hs, struct err *e)
{
	uint8_t to_server[PROOF_LEN], to_client[PROOF_LEN];

	keyed_hash(key, "to server", hc, hs, to_server);
	keyed_hash(key, "to client", hc, hs, to_client);
	s->tx = seal_new(cipher, client ? to_server : to_client);
	s->rx = seal_new(cipher, client ? to_client : to_server);
	sodium_memzero(to_server, sizeof to_server);
	sodium_memzero(to_client, sizeof to_client);
	if (!s->tx || !s->rx)
		return err_set(e, -EPROTO, "no cipher that both sides have");
	s->cipher = cipher;
	return 0;
}

static int handshake_client(struct stream *s, const uint8_t *key, bool sealed, struct err *e)
{
	struct hello hc, hs;
	uint8_t proof[PROOF_LEN];
	uint32_t cipher;
	int err;

	hello_make(&hc, sealed, seal_supported());
	err = stream_put(s, hc.bytes, sizeof hc.bytes, e);
	if (!err)
		err = stream_get(s, hs.bytes, sizeof hs.bytes, e);
	if (!err)
		err = hello_check(&hs, sealed, &cipher, e);
	if (!err)
		err = check_proof(s, key, "server", &hc, &hs, e);
	if (err)
		return err;
	keyed_hash(key, "client", &hc, &hs, proof);
	err = stream_put(s, proof, sizeof proof, e);
	if (err || !sealed)
		return err;
	return start_sealing(s, true, cipher, key, &hc, &hs, e);
}

static int handshake_server(struct stream *s, const uint8_t *key, bool sealed, struct err *e)
{
	struct hello hc, hs;
	uint8_t answer[HELLO_LEN + PROOF_LEN];
	uint32_t cipher;
	int err = stream_get(s, hc.bytes, sizeof hc.bytes, e);

	if (!err)
		err = hello_check(&hc, sealed, &cipher, e);
	if (err)
		return err;
	cipher = seal_choose(cipher & seal_supported());
	if (!cipher && sealed)
		return err_set(e, -EPROTO, "no cipher that both sides have");
	hello_make(&hs, sealed, cipher);
	memcpy(answer, hs.bytes, HELLO_LEN);
	keyed_hash(key, "server", &hc, &hs, answer + HELLO_LEN);
	err = stream_put(s, answer, sizeof answer, e);
	if (!err)
		err = check_proof(s, key, "client", &hc, &hs, e);
	if (err || !sealed)
		return err;
	return start_sealing(s, false, cipher, key, &hc, &hs, e);
}

static void drop_stream(struct stream **s)
{
	stream_free(*s);
}

int stream_open(int fd, bool client, const uint8_t key[STREAM_KEY_LEN], bool sealed, uint64_t deadline_us,
		int watch, struct stream **ret, struct err *e)
{
	__attribute__((cleanup(drop_stream))) struct stream *s = xcalloc(1, sizeof *s);
	int err;

	s->fd = fd;
	s->watch = watch;
	s->deadline_us = deadline_us;
	s->out = xmalloc(STREAM_HEAD_LEN + STREAM_ROOM_MAX + SEAL_TAG_LEN);
	s->in = xmalloc(STREAM_HEAD_LEN + STREAM_ROOM_MAX + SEAL_TAG_LEN);
	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium does not work here");
	err = client ? handshake_client(s, key, sealed, e) : handshake_server(s, key, sealed, e);
	if (err)
		return err;
	*ret = steal_ptr(&s);
	return 0;
}

/*
 * Page data wants the kernel's plain loss-based control: with BBR (the default in places) its pacing halves the
 * rate on fast links. The buffers are set outright, because automatic growth costs the first round trips, which
 * are all there is of a small job. Failure of any of these only costs speed.
 */
static void tune_socket(int fd)
{
	int one = 1, buffer = SOCKET_BUFFER;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) < 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
}

static int resolve(const char *address, uint16_t port, struct sockaddr_storage *ret, socklen_t *ret_len,
		   struct err *e)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM },
			*found;
	char service[8];
	int gai;

	(void)snprintf(service, sizeof service, "%u", port);
	gai = getaddrinfo(address, service, &hints, &found);
	if (gai)
		return err_set(e, -EINVAL, "address %s: %s", address, gai_strerror(gai));
	memcpy(ret, found->ai_addr, found->ai_addrlen);
	*ret_len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

int stream_listen(const char *address, uint16_t *ret_port, struct err *e)
{
	struct sockaddr_storage a;
	socklen_t len;
	_cleanup_fd_ int fd = -EBADF;
	int err = resolve(address, 0, &a, &len, e);

	if (err)
		return err;
	fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, "socket");
	tune_socket(fd);
	if (bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, 4) < 0)
		return err_errno(e, "listening at %s", address);
	len = sizeof a;
	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return err_errno(e, "getsockname");
	*ret_port = ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
						  : ((struct sockaddr_in *)&a)->sin_port);
	return steal_fd(&fd);
}

int stream_accept(int listener, const uint8_t key[STREAM_KEY_LEN], bool sealed, uint64_t deadline_us, int watch,
		  struct stream **ret, struct err *e)
{
	for (;;) {
		uint64_t until;
		struct err why = { 0 };
		int err,
			fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC); /* we never wait in a call, others may */

		if (fd < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				return err_errno(e, "accept");
			err = stream_wait(listener, POLLIN, deadline_us, watch, e);
			if (err)
				return err;
			continue;
		}
		tune_socket(fd);
		until = MIN(deadline_us, now_us() + HANDSHAKE_US);
		err = stream_open(fd, false, key, sealed, until, watch, ret, &why);
		if (!err) {
			stream_set_deadline(*ret, deadline_us);
			return 0;
		}
		if (err == -ECANCELED)
			return err_set(e, err, "%s", err_text(&why));
		log_info("a connection for pages was dropped: %s", err_text(&why));
		if (now_us() >= deadline_us)
			return err_set(e, -ETIME, "the source's mover did not come in time (last caller: %s)",
				       err_text(&why));
	}
}

static int connect_fd(int fd, const struct sockaddr_storage *a, socklen_t len, uint64_t deadline_us, int watch,
		      struct err *e)
{
	int err, failed = 0;
	socklen_t failed_len = sizeof failed;

	if (!connect(fd, (const struct sockaddr *)a, len))
		return 0;
	if (errno != EINPROGRESS && errno != EINTR)
		return -errno;
	err = stream_wait(fd, POLLOUT, deadline_us, watch, e);
	if (err)
		return err;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &failed_len) < 0)
		return -errno;
	return -failed;
}

int stream_connect(const char *address, uint16_t port, const uint8_t key[STREAM_KEY_LEN], bool sealed,
		   uint64_t deadline_us, int watch, struct stream **ret, struct err *e)
{
	struct sockaddr_storage a;
	socklen_t len;
	_cleanup_fd_ int fd = -EBADF;
	int err = resolve(address, port, &a, &len, e);

	if (err)
		return err;
	fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, "socket");
	tune_socket(fd);
	err = connect_fd(fd, &a, len, deadline_us, watch, e);
	if (err == -ETIME || err == -ECANCELED)
		return err;
	if (err)
		return err_code(e, err, "connecting to the destination's mover at %s port %u", address, port);
	return stream_open(steal_fd(&fd), true, key, sealed, deadline_us, watch, ret, e);
}
