/* SPDX-License-Identifier: Apache-2.0 */
/* The library against a flipd that the test plays: long requests and replies, in pieces of any length. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/util.h"
#include "godwit.h"
#include "lib/frame.h"

#define LONG (1u << 20)

struct flipd {
	char dir[32], path[64];
	int listener, fd;
	struct gw *gw;
	pthread_t thread;
	/* What it does. */
	void (*play)(struct flipd *f);
	size_t piece;  /* it writes so many bytes at once */
	uint8_t *kept; /* not NULL: they are kept, and written together */
	size_t n_kept;
	struct gw_port get, put;
	pthread_t program;
};

static void put_bytes(struct flipd *f, const void *data, size_t len)
{
	if (f->kept && len) {
		memcpy(f->kept + f->n_kept, data, len);
		f->n_kept += len;
		return;
	}
	for (size_t at = 0; at < len;) {
		ssize_t n = send(f->fd, (const uint8_t *)data + at, MIN(f->piece, len - at), MSG_NOSIGNAL);

		if (n <= 0)
			return;
		at += (size_t)n;
	}
}

static uint8_t *text_of(char first, size_t len)
{
	uint8_t *text = xmalloc(len + 1);

	for (size_t i = 0; i < len; i++)
		text[i] = (uint8_t)(first + i % 251);
	return text;
}

/* A frame with a user's header and `len` bytes that begin with `first`. */
static void say(struct flipd *f, struct frame *frame, const char *host, char first, size_t len)
{
	uint8_t head[FRAME_HDR_LEN], user[RPC_USER_HDR_LEN];
	struct gw_hdr hdr = { .command = first, .size = len };
	uint8_t *text = text_of(first, len);

	frame->length = (uint32_t)(strlen(host) + sizeof(user) + len);
	frame->aux = frame->type == FRAME_REQUEST ? strlen(host) : 0;
	frame_encode(frame, head);
	rpc_user_hdr_encode(&hdr, user);
	put_bytes(f, head, sizeof(head));
	put_bytes(f, host, strlen(host));
	put_bytes(f, user, sizeof(user));
	put_bytes(f, text, len);
	free(text);
}

/* The next frame of the program; its payload is dropped but for the length. */
static struct frame hear(struct flipd *f)
{
	uint8_t head[FRAME_HDR_LEN], drop[4096];
	struct frame frame = { 0 };

	if (recv(f->fd, head, sizeof(head), MSG_WAITALL) != sizeof(head) || frame_decode(&frame, head) < 0)
		return (struct frame) { 0 };
	for (size_t left = frame.length; left;) {
		ssize_t n = recv(f->fd, drop, MIN(left, sizeof(drop)), 0);

		if (n <= 0)
			break;
		left -= (size_t)n;
	}
	return frame;
}

static void *run(void *arg)
{
	struct flipd *f = arg;

	f->fd = accept(f->listener, NULL, NULL);
	(void)hear(f); /* HELLO */
	f->play(f);
	return NULL;
}

static int setup(void **state)
{
	struct flipd *f = calloc(1, sizeof(*f));
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	strcpy(f->dir, "/tmp/godwit-lib.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/flip.sock", f->dir);
	strcpy(sun.sun_path, f->path);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(f->listener, 1), 0);
	f->piece = 100000;
	f->program = pthread_self();
	gw_port_random(&f->get);
	gw_port_publish(&f->get, &f->put);
	*state = f;
	return 0;
}

static void begin(struct flipd *f, void (*play)(struct flipd *f))
{
	f->play = play;
	assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
	assert_int_equal(gw_connect(f->path, &f->gw), 0);
}

static int teardown(void **state)
{
	struct flipd *f = *state;

	gw_close(f->gw);
	(void)pthread_join(f->thread, NULL);
	(void)close(f->fd);
	(void)close(f->listener);
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static bool is_text(const uint8_t *p, char first, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != (uint8_t)(first + i % 251))
			return false;
	}
	return true;
}

static ssize_t trans(struct flipd *f, uint8_t *buf, size_t size, struct gw_hdr *rep)
{
	struct gw_hdr req = { .port = f->put };

	memset(buf, 0, size);
	return gw_trans(f->gw, &req, "?", 1, rep, buf, size);
}

/* Each transaction gets a reply, of growing length. */
static void play_replies(struct flipd *f)
{
	static const size_t len[] = { 0, 100, 70000, LONG, 65536 - RPC_USER_HDR_LEN, LONG, 200000, LONG };

	for (size_t i = 0; i < ARRAY_LEN(len); i++) {
		struct frame ask = hear(f), reply = { .type = FRAME_REPLY, .endpoint = 1, .id = ask.id };

		f->piece = i % 2 ? 99991 : 3000;
		say(f, &reply, "", (char)('a' + i), len[i]);
	}
}

static void replies_of_any_length(void **state)
{
	static uint8_t buf[LONG + 1];
	struct flipd *f = *state;
	struct gw_hdr rep;

	begin(f, play_replies);
	assert_int_equal(trans(f, buf, sizeof(buf), &rep), 0);
	assert_int_equal(trans(f, buf, sizeof(buf), &rep), 100);
	assert_true(is_text(buf, 'b', 100) && rep.command == 'b');
	assert_int_equal(trans(f, buf, sizeof(buf), &rep), 70000);
	assert_true(is_text(buf, 'c', 70000) && rep.command == 'c');
	assert_int_equal(trans(f, buf, sizeof(buf), &rep), LONG);
	assert_true(is_text(buf, 'd', LONG) && !buf[LONG] && rep.size == LONG);
	assert_int_equal(trans(f, buf, sizeof(buf), &rep), 65536 - RPC_USER_HDR_LEN);
	assert_true(is_text(buf, 'e', 65536 - RPC_USER_HDR_LEN));
	/* What there is no room for is lost, and nothing else: not the reply after it. */
	assert_int_equal(trans(f, buf, 1000, &rep), LONG);
	assert_true(is_text(buf, 'f', 1000) && rep.command == 'f');
	memset(buf, 0, sizeof(buf));
	assert_int_equal(trans(f, buf, 150000, &rep), 200000);
	assert_true(is_text(buf, 'g', 150000) && !buf[150000]);
	assert_int_equal(gw_trans(f->gw, &(struct gw_hdr) { .port = f->put }, NULL, 0, &rep, NULL, 0), LONG);
	assert_true(rep.command == 'h');
}

static void request(struct flipd *f, uint64_t id, char first, size_t len)
{
	struct frame r = { .type = FRAME_REQUEST, .endpoint = 1, .id = id, .port = f->put };

	say(f, &r, "host", first, len);
}

static void serve_done(struct flipd *f)
{
	struct frame serve = hear(f), done = { .type = FRAME_DONE, .id = serve.id };
	uint8_t head[FRAME_HDR_LEN];

	frame_encode(&done, head);
	put_bytes(f, head, sizeof(head));
}

/* Three requests at once; the program calls somebody while it serves the first. */
static void play_requests(struct flipd *f)
{
	struct frame ask, reply = { .type = FRAME_REPLY, .endpoint = 1 };

	serve_done(f);
	request(f, 1, 'a', LONG);
	request(f, 2, 'b', LONG);
	request(f, 3, 'c', 10);
	ask = hear(f);
	reply.id = ask.id;
	request(f, 4, 'd', LONG);
	say(f, &reply, "", 'r', LONG);
	for (int i = 0; i < 4; i++)
		(void)hear(f);
}

static void take(struct flipd *f, uint8_t *buf, size_t size, char first, size_t len)
{
	struct gw_hdr hdr = { .port = f->get };

	memset(buf, 0, size);
	assert_int_equal(gw_getreq(f->gw, &hdr, buf, size), (ssize_t)len);
	assert_int_equal(hdr.command, first);
	assert_true(is_text(buf, first, MIN(len, size)));
}

static void requests_wait_for_their_turn(void **state)
{
	static uint8_t buf[LONG], other[LONG];
	struct flipd *f = *state;
	struct gw_hdr rep = { 0 };
	struct gw_caller who;

	begin(f, play_requests);
	take(f, buf, sizeof(buf), 'a', LONG);
	assert_int_equal(gw_request_caller(f->gw, &who), GW_OK);
	assert_string_equal(who.host, "host");
	/* Others come in meanwhile, and touch neither buffer. */
	assert_int_equal(trans(f, other, sizeof(other), &rep), LONG);
	assert_true(is_text(other, 'r', LONG) && is_text(buf, 'a', LONG));
	assert_int_equal(gw_putrep(f->gw, &rep, NULL, 0), GW_OK);
	take(f, buf, 500, 'b', LONG);
	assert_int_equal(gw_putrep(f->gw, &rep, other, LONG), GW_OK);
	take(f, buf, sizeof(buf), 'c', 10);
	assert_int_equal(gw_putrep(f->gw, &rep, NULL, 0), GW_OK);
	take(f, buf, sizeof(buf), 'd', LONG);
	assert_int_equal(gw_putrep(f->gw, &rep, NULL, 0), GW_OK);
}

/* A short one and a long one, in one piece. */
static void play_two(struct flipd *f)
{
	uint8_t *both = xmalloc(LONG + 4096);

	serve_done(f);
	f->kept = both;
	request(f, 1, 'a', 10);
	request(f, 2, 'b', LONG);
	f->kept = NULL;
	f->piece = f->n_kept;
	put_bytes(f, both, f->n_kept);
	free(both);
	(void)hear(f);
	(void)hear(f);
}

static void a_long_one_does_not_take_anothers_place(void **state)
{
	static uint8_t buf[LONG], rest[LONG];
	struct flipd *f = *state;
	struct gw_hdr rep = { 0 };

	begin(f, play_two);
	take(f, buf, sizeof(buf), 'a', 10);
	assert_int_equal(gw_putrep(f->gw, &rep, NULL, 0), GW_OK);
	take(f, rest, sizeof(rest), 'b', LONG);
	assert_true(is_text(buf, 'a', 10) && !buf[10] && !buf[LONG - 1]);
	assert_int_equal(gw_putrep(f->gw, &rep, NULL, 0), GW_OK);
}

static void on_alarm(int sig)
{
	(void)sig;
}

/* A signal comes when half of the request has, and when nothing has. */
static void play_interrupted(struct flipd *f)
{
	struct frame r = { .type = FRAME_REQUEST, .endpoint = 1, .id = 1, .port = f->put, .aux = 1 };
	uint8_t head[FRAME_HDR_LEN], user[RPC_USER_HDR_LEN], *text = text_of('a', LONG);
	struct gw_hdr hdr = { .command = 'a' };

	serve_done(f);
	r.length = 1 + sizeof(user) + LONG;
	frame_encode(&r, head);
	rpc_user_hdr_encode(&hdr, user);
	put_bytes(f, head, sizeof(head));
	put_bytes(f, "h", 1);
	put_bytes(f, user, sizeof(user));
	put_bytes(f, text, LONG / 2);
	for (int i = 0; i < 20; i++) {
		(void)usleep(5000);
		(void)pthread_kill(f->program, SIGUSR1);
	}
	put_bytes(f, text + LONG / 2, LONG / 2);
	free(text);
	(void)hear(f);
	for (int i = 0; i < 20; i++) {
		(void)usleep(5000);
		(void)pthread_kill(f->program, SIGUSR1);
	}
}

/* A buffer that is there as long as the call, and not longer. */
static uint8_t *fresh(uint8_t *old)
{
	if (old)
		(void)munmap(old, LONG);
	return mmap(NULL, LONG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void a_signal_does_not_tear_a_request(void **state)
{
	struct sigaction act = { .sa_handler = on_alarm };
	struct flipd *f = *state;
	struct gw_hdr hdr = { .port = f->get };
	uint8_t *buf = fresh(NULL);
	ssize_t n;

	(void)sigaction(SIGUSR1, &act, NULL);
	begin(f, play_interrupted);
	/* What comes before the call has a place for it is not torn either, but interrupted. */
	while ((n = gw_getreq(f->gw, &hdr, buf, LONG)) == GW_ABORTED) {
		hdr.port = f->get;
		buf = fresh(buf);
	}
	assert_int_equal(n, LONG);
	assert_true(is_text(buf, 'a', LONG));
	assert_int_equal(gw_putrep(f->gw, &hdr, NULL, 0), GW_OK);
	hdr.port = f->get;
	assert_int_equal(gw_getreq(f->gw, &hdr, buf, LONG), GW_ABORTED);
	(void)munmap(buf, LONG);
}

/* flipd goes in the middle of a reply. */
static void play_death(struct flipd *f)
{
	struct frame ask = hear(f), reply = { .type = FRAME_REPLY, .endpoint = 1, .id = ask.id };
	uint8_t head[FRAME_HDR_LEN], *text = text_of('a', LONG);

	reply.length = RPC_USER_HDR_LEN + LONG;
	frame_encode(&reply, head);
	put_bytes(f, head, sizeof(head));
	put_bytes(f, text, LONG / 2);
	free(text);
	(void)shutdown(f->fd, SHUT_RDWR);
}

static void half_a_reply_is_none(void **state)
{
	static uint8_t buf[LONG];
	struct flipd *f = *state;
	struct gw_hdr rep;

	begin(f, play_death);
	assert_int_equal(trans(f, buf, sizeof(buf), &rep), GW_FAILURE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(replies_of_any_length, setup, teardown),
		cmocka_unit_test_setup_teardown(requests_wait_for_their_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(a_long_one_does_not_take_anothers_place, setup, teardown),
		cmocka_unit_test_setup_teardown(a_signal_does_not_tear_a_request, setup, teardown),
		cmocka_unit_test_setup_teardown(half_a_reply_is_none, setup, teardown),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
