/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flipmove SOCK-A SOCK-B SOCK-C [MOVES]: an endpoint wanders between two flipds while a client at a third one
 * calls it without a pause. Every call must be answered, in order, once; then some answers that must be quick are
 * timed. One line of JSON on standard output; exit status 0 if all was well.
 */
#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/util.h"
#include "lib/client.h"

struct test {
	struct gwc *home[2], *client;
	int at;
	uint32_t endpoint;
	uint64_t executed, next, answered, sent_us, worst_us, bytes;
	bool waiting, done;
	int status, result;
	struct buf *blob;
	struct gw_port port;
	uint64_t held; /* a request that is kept unanswered over a move */
};

static void fail(const char *what, int code)
{
	printf("FAILED: %s (%d)\n", what, code);
	exit(1);
}

static void on_request(void *arg, const struct gwc_request *r)
{
	struct test *t = arg;
	struct gw_hdr rep = { .offset = r->hdr.offset };

	if (r->hdr.command == 2) {
		t->held = r->id;
		return;
	}
	if (r->hdr.offset != ++t->executed)
		fail("a request was lost, repeated or overtaken", (int)r->hdr.offset);
	if (gwc_reply(t->home[t->at], r->id, &rep, r->data, r->len) < 0)
		fail("reply", 0);
}

static void call(struct test *t);

static void on_reply(void *arg, int status, const struct gw_hdr *hdr, const void *data, size_t len)
{
	struct test *t = arg;
	uint64_t us = now_us() - t->sent_us;

	(void)data;
	if (status || hdr->offset != t->next || len != t->bytes)
		fail(gw_strerror(status), status);
	t->answered++;
	t->worst_us = us > t->worst_us ? us : t->worst_us;
	if (!t->done)
		call(t);
	else
		t->waiting = false;
}

static void call(struct test *t)
{
	static uint8_t data[65536];
	struct gw_hdr hdr = { .port = t->port, .offset = ++t->next };

	t->bytes = t->next % 16 ? 8 : 20000;
	t->waiting = true;
	t->sent_us = now_us();
	if (gwc_trans(t->client, GWC_MAIN, &hdr, data, t->bytes, 0, on_reply, t) < 0)
		fail("trans", 0);
}

static void on_status(void *arg, int status, const struct gw_hdr *hdr, const void *data, size_t len)
{
	struct test *t = arg;

	(void)hdr;
	(void)data;
	(void)len;
	t->status = status;
}

static void on_done(void *arg, int result)
{
	struct test *t = arg;

	t->result = result;
}

static void on_taken(void *arg, int result, const void *blob, size_t len)
{
	struct test *t = arg;

	t->result = result;
	if (!result)
		t->blob = buf_copy(blob, len);
}

/* Runs all three connections for a while, or until *what is no longer `value`. */
static void run(struct test *t, uint64_t us, const int *what, int value)
{
	uint64_t end = now_us() + us;

	while (now_us() < end && (!what || *what == value)) {
		struct gwc *all[3] = { t->home[0], t->home[1], t->client };
		struct pollfd p[3];

		for (int i = 0; i < 3; i++)
			p[i] = (struct pollfd) { .fd = gwc_fd(all[i]), .events = (short)gwc_events(all[i]) };
		(void)poll(p, 3, (int)((end - now_us()) / 1000 + 1));
		for (int i = 0; i < 3; i++) {
			if (p[i].revents && gwc_dispatch(all[i]) < 0)
				fail("flipd is gone", i);
		}
	}
}

static void wait_done(struct test *t, const char *what)
{
	run(t, 5000000, &t->result, 1);
	if (t->result)
		fail(what, t->result);
}

static void move(struct test *t, bool fails)
{
	uint32_t old = t->endpoint;

	t->result = 1;
	(void)gwc_endpoint_take(t->home[t->at], old, on_taken, t);
	wait_done(t, "take");
	run(t, 3000, NULL, 0);
	t->result = 1;
	if (fails) {
		(void)gwc_endpoint_resume(t->home[t->at], old, on_done, t);
		wait_done(t, "resume");
	} else {
		(void)gwc_endpoint_install(t->home[!t->at], t->blob->data, t->blob->len, NULL, on_request, t,
					   on_done, t, &t->endpoint);
		t->at = !t->at;
		wait_done(t, "install");
		gwc_endpoint_close(t->home[!t->at], old);
	}
	buf_unref(t->blob);
	t->blob = NULL;
	run(t, 5000, NULL, 0);
}

static uint64_t time_notfound(struct test *t)
{
	struct gw_hdr hdr = { .port = gw_port_from_name("nobody serves this") };
	uint64_t start = now_us();

	t->status = 1;
	(void)gwc_trans(t->client, GWC_MAIN, &hdr, NULL, 0, 0, on_status, t);
	run(t, 10000000, &t->status, 1);
	if (t->status != GW_NOTFOUND)
		fail("an unknown port", t->status);
	return now_us() - start;
}

/* A request that is held when the endpoint leaves is answered by its old home, afterwards. */
static void held_over(struct test *t)
{
	struct gw_hdr hdr = { .port = t->port, .command = 2 }, rep = { .command = 7 };
	struct gwc *old = t->home[t->at];

	t->status = 1;
	(void)gwc_trans(t->client, GWC_MAIN, &hdr, NULL, 0, 0, on_status, t);
	run(t, 100000, NULL, 0);
	if (!t->held)
		fail("the request to hold", 0);
	move(t, false);
	if (gwc_reply(old, t->held, &rep, NULL, 0) < 0)
		fail("late reply", 0);
	run(t, 5000000, &t->status, 1);
	if (t->status)
		fail("the held request", t->status);
}

int main(int argc, char **argv)
{
	struct test t = { .result = 1 };
	unsigned moves = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 0) : 50;
	struct err e = { 0 };
	uint64_t notfound_us;

	if (argc < 4 || sodium_init() < 0)
		return 2;
	if (gwc_open(argv[1], NULL, NULL, &t.home[0], &e) < 0 ||
	    gwc_open(argv[2], NULL, NULL, &t.home[1], &e) < 0 || gwc_open(argv[3], NULL, NULL, &t.client, &e) < 0)
		fail(err_text(&e), e.code);
	t.port = gw_port_from_name("job:wanderer");
	t.endpoint = gwc_endpoint_open(t.home[0], 1);
	(void)gwc_serve(t.home[0], t.endpoint, &t.port, on_request, &t, on_done, &t);
	wait_done(&t, "serve");
	call(&t);
	run(&t, 100000, NULL, 0);
	for (unsigned i = 0; i < moves; i++)
		move(&t, i % 5 == 4);
	t.done = true;
	for (int i = 0; t.waiting && i < 100; i++)
		run(&t, 50000, NULL, 0);
	if (t.waiting || t.answered != t.executed)
		fail("the last call", 0);
	held_over(&t);
	notfound_us = time_notfound(&t);
	printf("{\"moves\": %u, \"calls\": %lu, \"worst_us\": %lu, \"notfound_us\": %lu}\n", moves, t.answered,
	       t.worst_us, notfound_us);
	for (int i = 0; i < 2; i++)
		gwc_close(t.home[i]);
	gwc_close(t.client);
	return 0;
}
