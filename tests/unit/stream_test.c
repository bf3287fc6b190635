/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "checkpoint.pb-c.h"
#include "memory/seal.h"
#include "memory/stream.h"

/* One side runs in a child; its exit status is what it thinks of the other. */

static const uint8_t key_a[STREAM_KEY_LEN] = { 1, 2, 3 }, key_b[STREAM_KEY_LEN] = { 1, 2, 4 };
#define SECONDS(n) (now_us() + (n)*1000000ull)
#define BULK (3u << 20)

static void socket_pair(int fd[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
}

static void expect_child(pid_t pid, int want)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), want);
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 2654435761u >> 13);
}

/* Answers every message with itself, then takes BULK bytes and checks them. */
static int echo_child(int fd, bool sealed)
{
	struct stream *s;
	ProtobufCMessage *m;
	struct err e;
	uint8_t *bulk = malloc(BULK);

	if (stream_open(fd, false, key_a, sealed, SECONDS(5), -1, &s, &e))
		return 1;
	if (stream_recv_msg(s, 7, &godwit__ckpt__region__descriptor, 4096, &m, &e) || stream_send_msg(s, 8, m, &e))
		return 2;
	protobuf_c_message_free_unpacked(m, NULL);
	if (stream_read(s, bulk, BULK, &e))
		return 3;
	for (size_t i = 0; i < BULK; i++)
		if (bulk[i] != pattern(i))
			return 4;
	if (stream_send_msg(s, 9, NULL, &e))
		return 5;
	free(bulk);
	stream_free(s);
	return 0;
}

static void check_round_trip(bool sealed)
{
	Godwit__Ckpt__Region region, *back;
	char name[] = "heap of bees";
	ProtobufCMessage *m = NULL;
	struct stream *s;
	struct err e = { 0 };
	int fd[2];
	pid_t pid;

	socket_pair(fd);
	pid = fork();
	if (!pid)
		_exit(echo_child(fd[1], sealed));
	(void)close(fd[1]);
	assert_int_equal(stream_open(fd[0], true, key_a, sealed, SECONDS(5), -1, &s, &e), 0);
	assert_int_equal(stream_is_sealed(s), sealed);
	godwit__ckpt__region__init(&region);
	region.start = 0x7f0000000000;
	region.name = name;
	assert_int_equal(stream_send_msg(s, 7, &region.base, &e), 0);
	assert_int_equal(stream_recv_msg(s, 8, &godwit__ckpt__region__descriptor, 4096, &m, &e), 0);
	back = (Godwit__Ckpt__Region *)m;
	assert_true(back->start == region.start);
	assert_string_equal(back->name, name);
	protobuf_c_message_free_unpacked(m, NULL);
	for (size_t i = 0; i < BULK;) {
		size_t room;
		void *at;

		assert_int_equal(stream_room(s, 1000, &at, &room, &e), 0);
		assert_true(room >= 1000);
		room = MIN(MIN(room, 100003u), BULK - i);
		for (size_t k = 0; k < room; k++)
			((uint8_t *)at)[k] = pattern(i + k);
		stream_commit(s, room);
		i += room;
	}
	assert_int_equal(stream_flush(s, &e), 0);
	assert_int_equal(stream_recv_msg(s, 9, NULL, 0, NULL, &e), 0);
	assert_true(stream_bytes_sent(s) > BULK);
	stream_free(s);
	expect_child(pid, 0);
}

static void test_round_trip_plain(void **state)
{
	(void)state;
	check_round_trip(false);
}

static void test_round_trip_sealed(void **state)
{
	(void)state;
	check_round_trip(true);
}

/* What stream_open says on our side when the other side holds `key` and wants `sealed`. */
static int meet(bool client, const uint8_t *key, bool sealed, bool other_sealed)
{
	struct stream *s = NULL, *other = NULL;
	struct err e = { 0 };
	int fd[2], result;
	pid_t pid;

	socket_pair(fd);
	pid = fork();
	if (!pid) {
		(void)close(fd[0]);
		_exit(stream_open(fd[1], !client, key_b, other_sealed, SECONDS(5), -1, &other, &e) ? 1 : 0);
	}
	(void)close(fd[1]);
	result = stream_open(fd[0], client, key, sealed, SECONDS(5), -1, &s, &e);
	stream_free(s);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return result;
}

static void test_wrong_key(void **state)
{
	(void)state;
	for (int sealed = 0; sealed < 2; sealed++) {
		assert_int_equal(meet(true, key_b, sealed, sealed), 0);
		assert_int_equal(meet(false, key_b, sealed, sealed), 0);
		assert_int_equal(meet(true, key_a, sealed, sealed), -EPROTO);
		/* The client notices first and hangs up. */
		assert_int_equal(meet(false, key_a, sealed, sealed), -ECONNRESET);
	}
}

static void test_no_downgrade(void **state)
{
	(void)state;
	assert_int_equal(meet(false, key_b, true, false), -EPROTO);
	assert_int_equal(meet(false, key_b, false, true), -EPROTO);
}

/* An open stream whose other end is in a child that does what `act` says with it. */
static struct stream *with_child(bool sealed, int (*act)(struct stream *s), pid_t *ret_pid)
{
	struct stream *s = NULL;
	struct err e = { 0 };
	int fd[2];

	socket_pair(fd);
	*ret_pid = fork();
	if (!*ret_pid) {
		(void)close(fd[0]);
		if (stream_open(fd[1], false, key_a, sealed, SECONDS(5), -1, &s, &e))
			_exit(99);
		_exit(act(s));
	}
	(void)close(fd[1]);
	assert_int_equal(stream_open(fd[0], true, key_a, sealed, SECONDS(5), -1, &s, &e), 0);
	return s;
}

static int act_leave(struct stream *s)
{
	stream_free(s);
	return 0;
}

static int act_wait_for_end(struct stream *s)
{
	uint8_t byte;
	struct err e;

	return stream_read(s, &byte, 1, &e) == -ECONNRESET ? 0 : 1;
}

static void test_peer_gone(void **state)
{
	struct err e = { 0 };
	struct stream *s;
	uint8_t byte;
	pid_t pid;

	(void)state;
	s = with_child(true, act_leave, &pid);
	assert_int_equal(stream_read(s, &byte, 1, &e), -ECONNRESET);
	expect_child(pid, 0);
	stream_free(s);
}

static void test_deadline_and_watch(void **state)
{
	struct err e = { 0 };
	struct stream *s;
	uint8_t byte;
	int control[2];
	pid_t pid;

	(void)state;
	s = with_child(false, act_wait_for_end, &pid);
	stream_set_deadline(s, now_us() + 20000);
	assert_int_equal(stream_read(s, &byte, 1, &e), -ETIME);
	socket_pair(control);
	stream_set_deadline(s, STREAM_NEVER);
	stream_watch(s, control[0]);
	assert_int_equal(write(control[1], "x", 1), 1);
	assert_int_equal(stream_read(s, &byte, 1, &e), -ECANCELED);
	(void)close(control[0]);
	(void)close(control[1]);
	stream_free(s);
	expect_child(pid, 0);
}

static int act_send_too_much(struct stream *s)
{
	Godwit__Ckpt__Memory m;
	uint8_t bytes[1000] = { 0 };
	struct err e;

	godwit__ckpt__memory__init(&m);
	m.auxv.data = bytes;
	m.auxv.len = sizeof bytes;
	return stream_send_msg(s, 3, &m.base, &e) || stream_send_msg(s, 4, NULL, &e);
}

static void test_bounds(void **state)
{
	struct err e = { 0 };
	struct stream *s;
	pid_t pid;

	(void)state;
	s = with_child(true, act_send_too_much, &pid);
	assert_int_equal(stream_recv_msg(s, 3, &godwit__ckpt__memory__descriptor, 999, NULL, &e), -EPROTO);
	stream_free(s);
	assert_int_equal(waitpid(pid, NULL, 0), pid); /* it may find us gone, or not */
	s = with_child(true, act_send_too_much, &pid);
	assert_int_equal(stream_recv_msg(s, 3, &godwit__ckpt__memory__descriptor, 2000, NULL, &e), 0);
	assert_int_equal(stream_recv_msg(s, 3, NULL, 2000, NULL, &e), -EPROTO);
	stream_free(s);
	expect_child(pid, 0);
}

/* Every bit of a record matters, and so does its place. */
static void test_seal_tamper(void **state)
{
	static const uint8_t key[SEAL_KEY_LEN] = { 5 };
	static const uint32_t ciphers[] = { SEAL_AES256_GCM, SEAL_CHACHA20 };
	uint8_t box[64 + SEAL_TAG_LEN], copy[sizeof box];
	const char head[4] = "head";

	(void)state;
	for (size_t c = 0; c < ARRAY_LEN(ciphers); c++) {
		struct seal *tx, *rx;

		if (!(seal_supported() & ciphers[c]))
			continue;
		for (size_t bit = 0; bit < 8 * sizeof box; bit += 7) {
			tx = seal_new(ciphers[c], key);
			rx = seal_new(ciphers[c], key);
			memset(box, 'p', sizeof box);
			assert_int_equal(seal_box(tx, box, 64, head, 4), 0);
			memcpy(copy, box, sizeof box);
			copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(seal_unbox(rx, copy, sizeof copy, head, 4), -EBADMSG);
			seal_free(rx);
			rx = seal_new(ciphers[c], key);
			assert_int_equal(seal_unbox(rx, box, sizeof box, head, 4), 0);
			assert_int_equal(box[63], 'p');
			/* a second record in the first one's place */
			assert_int_equal(seal_box(tx, box, 64, head, 4), 0);
			seal_free(rx);
			rx = seal_new(ciphers[c], key);
			assert_int_equal(seal_unbox(rx, box, sizeof box, head, 4), -EBADMSG);
			seal_free(tx);
			seal_free(rx);
		}
	}
}

/* Over TCP: strangers and the wrong key are dropped, the right peer gets through. */
static void test_accept_over_tcp(void **state)
{
	struct stream *s = NULL;
	struct err e = { 0 };
	uint16_t port = 0;
	int listener = stream_listen("127.0.0.1", &port, &e);
	pid_t pid;

	(void)state;
	assert_true(listener >= 0);
	pid = fork();
	if (!pid) {
		if (stream_connect("127.0.0.1", port, key_b, true, SECONDS(5), -1, &s, &e) != -EPROTO)
			_exit(1);
		if (stream_connect("127.0.0.1", port, key_a, true, SECONDS(5), -1, &s, &e))
			_exit(2);
		_exit(stream_send_msg(s, 1, NULL, &e) ? 3 : 0);
	}
	assert_int_equal(stream_accept(listener, key_a, true, SECONDS(5), -1, &s, &e), 0);
	assert_int_equal(stream_recv_msg(s, 1, NULL, 0, NULL, &e), 0);
	stream_free(s);
	expect_child(pid, 0);
	assert_int_equal(stream_accept(listener, key_a, true, now_us() + 20000, -1, &s, &e), -ETIME);
	(void)close(listener);
	assert_int_equal(stream_connect("127.0.0.1", port, key_a, true, SECONDS(5), -1, &s, &e), -ECONNREFUSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip_plain), cmocka_unit_test(test_round_trip_sealed),
		cmocka_unit_test(test_wrong_key),	 cmocka_unit_test(test_no_downgrade),
		cmocka_unit_test(test_peer_gone),	 cmocka_unit_test(test_deadline_and_watch),
		cmocka_unit_test(test_bounds),		 cmocka_unit_test(test_seal_tamper),
		cmocka_unit_test(test_accept_over_tcp),
	};

	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
