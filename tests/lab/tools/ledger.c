/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server and clients whose transactions must each be executed once, in order:
 *
 *	ledger serve SECRET [MIB]              answers on the port of which SECRET (any text) is the get-port, and
 *	                                       writes to so much memory all the time, so that a move freezes long
 *	ledger call SECRET N THREADS [FIRST]   N transactions by each of so many threads, each with a connection of
 *	                                       its own; the server knows the threads by numbers, from FIRST on
 *	ledger pause SECRET SECONDS [OTHER]    one transaction that the server keeps for so long before it answers,
 *	                                       or until SIGUSR1 comes here; with OTHER, it asks that server for it
 *	ledger long SECRET N                   a megabyte that depends on N, there and back; says how many such
 *	                                       calls the server has had
 *	ledger count SECRET FILE [US [WHO]]    counting transactions, one every 10 ms, until there is such a file
 *	ledger end SECRET                      the server says how many there were, and ends
 *
 * A line of JSON at the end; exit status 0 if all was as it must be.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "talking.h"

#define LONG_BYTES 20000u
#define HUGE_BYTES (1u << 20)

static size_t size_of(uint64_t n)
{
	return n % 4096 == 4095 ? HUGE_BYTES : n % 64 == 63 ? LONG_BYTES : n % 8 * 8;
}

static void fill(uint8_t *p, uint64_t who, uint64_t n, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(who * 7 + n * 31 + i);
}

static bool is_filled(const uint8_t *p, uint64_t who, uint64_t n, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != (uint8_t)(who * 7 + n * 31 + i))
			return false;
	}
	return true;
}

/* One byte in each page, without end. */
static void *keep_dirty(void *arg)
{
	size_t mib = (size_t)(uintptr_t)arg;
	volatile uint8_t *p = xmalloc(mib << 20);

	randombytes_buf((void *)(uintptr_t)p, mib << 20);
	for (;;) {
		for (size_t at = 0; at < mib << 20; at += 4096)
			p[at]++;
		usleep(10000);
	}
	return NULL;
}

static void ignore(int signo)
{
	(void)signo;
}

static sigset_t usr1(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	return set;
}

/* So many seconds, or until the client has a signal. */
static int nap(struct gw *gw, uint64_t seconds)
{
	uint64_t until_us = now_us() + seconds * 1000000, us;
	sigset_t set = usr1();
	int signalled;

	while (!(signalled = gw_request_signalled(gw)) && (us = now_us()) < until_us) {
		struct timespec t = { .tv_sec = (time_t)((until_us - us) / 1000000),
				      .tv_nsec = (long)((until_us - us) % 1000000 * 1000) };

		(void)sigtimedwait(&set, NULL, &t);
	}
	return signalled ? GW_STD_INTR : GW_OK;
}

static int relay(struct gw *gw, const char *secret, uint64_t seconds)
{
	struct gw_hdr req = { .port = put_port(secret), .command = PAUSE, .extra = seconds }, rep;
	ssize_t n = gw_trans(gw, &req, NULL, 0, &rep, NULL, 0);

	return n < 0 ? (int)n : rep.command;
}

static int serve(const char *secret)
{
	static uint64_t last[CALLERS_MAX], counts[CALLERS_MAX], total, echoes, refused;
	uint8_t *buf = xmalloc(HUGE_BYTES);
	struct gw *gw = connect_or_die();
	const char *wrong = NULL;
	sigset_t set = usr1();

	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)gw_catch(gw, SIGUSR1);
	for (;;) {
		struct gw_hdr hdr = { .port = get_port(secret) };
		ssize_t n = gw_getreq(gw, &hdr, buf, HUGE_BYTES);
		struct gw_hdr rep = { .offset = hdr.offset };

		if (n < 0) {
			fprintf(stderr, "FAILED: getreq: %s\n", gw_strerror((int)n));
			return 1;
		}
		if (hdr.command == APPEND && hdr.extra < CALLERS_MAX) {
			if (hdr.offset != ++last[hdr.extra])
				wrong = "lost, doubled or overtaken";
			else if ((size_t)n != size_of(hdr.offset) ||
				 !is_filled(buf, hdr.extra, hdr.offset, (size_t)n))
				wrong = "damaged";
			rep.extra = ++total;
		} else if (hdr.command == ECHO) {
			rep.extra = ++echoes;
		} else if (hdr.command == COUNT && hdr.extra < CALLERS_MAX) {
			rep.extra = ++counts[hdr.extra];
		} else if (hdr.command == PAUSE) {
			rep.command = nap(gw, hdr.extra);
			n = 0;
		} else if (hdr.command == RELAY && n < (ssize_t)HUGE_BYTES) {
			buf[n] = '\0';
			rep.command = relay(gw, (const char *)buf, hdr.extra);
			n = 0;
		}
		if (wrong)
			rep.command = GW_STD_SYSERR;
		/* Nobody may want it any more, if we are a copy of one that was asked. */
		refused += gw_putrep(gw, &rep, buf, (size_t)n) != GW_OK;
		if (wrong || hdr.command == END)
			break;
	}
	gw_close(gw);
	printf("{\"served\": %lu, \"refused\": %lu, \"wrong\": \"%s\"}\n", (unsigned long)total,
	       (unsigned long)refused, wrong ? wrong : "");
	return wrong != NULL || refused;
}

static int serve_dirty(const char *secret, size_t mib)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, keep_dirty, (void *)(uintptr_t)mib) != 0)
		return 1;
	return serve(secret);
}

struct writer {
	pthread_t thread;
	const char *secret;
	uint64_t who, n, worst_us;
	char wrong[128];
};

static void *write_all(void *arg)
{
	struct writer *w = arg;
	uint8_t *buf = xmalloc(HUGE_BYTES), *got = xmalloc(HUGE_BYTES);
	struct gw *gw = connect_or_die();
	uint64_t before = 0;

	for (uint64_t i = 1; i <= w->n && !*w->wrong; i++) {
		struct gw_hdr req = { .port = put_port(w->secret),
				      .command = APPEND,
				      .offset = i,
				      .extra = w->who },
			      rep;
		size_t len = size_of(i);
		uint64_t us = now_us();
		ssize_t n;

		fill(buf, w->who, i, len);
		n = gw_trans(gw, &req, buf, len, &rep, got, HUGE_BYTES);
		us = now_us() - us;
		w->worst_us = MAX(w->worst_us, us);
		if (n < 0 || rep.command != GW_OK)
			(void)snprintf(w->wrong, sizeof w->wrong, "call %lu: %s", (unsigned long)i,
				       gw_strerror(n < 0 ? (int)n : rep.command));
		else if ((size_t)n != len || rep.offset != i || rep.extra <= before || memcmp(buf, got, len) != 0)
			(void)snprintf(w->wrong, sizeof w->wrong, "call %lu: a wrong reply", (unsigned long)i);
		before = rep.extra;
	}
	gw_close(gw);
	free(buf);
	free(got);
	return NULL;
}

static int call(const char *secret, uint64_t n, unsigned threads, unsigned first)
{
	struct writer *w = xcalloc(threads, sizeof *w);
	uint64_t worst_us = 0, began = now_us();
	const char *wrong = "";

	for (unsigned i = 0; i < threads; i++) {
		w[i] = (struct writer) { .secret = secret, .who = first + i, .n = n };
		if (pthread_create(&w[i].thread, NULL, write_all, &w[i]) != 0)
			return 1;
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(w[i].thread, NULL);
		worst_us = MAX(worst_us, w[i].worst_us);
		if (*w[i].wrong)
			wrong = w[i].wrong;
	}
	printf("{\"calls\": %lu, \"worst_us\": %lu, \"total_us\": %lu, \"wrong\": \"%s\"}\n",
	       (unsigned long)(n * threads), (unsigned long)worst_us, (unsigned long)(now_us() - began), wrong);
	return *wrong != 0;
}

static int once(const char *secret, enum command command, unsigned long extra, const char *data)
{
	struct gw_hdr req = { .port = put_port(secret), .command = command, .offset = 77, .extra = extra },
		      rep = { 0 };
	const struct sigaction act = { .sa_handler = ignore };
	struct gw *gw = connect_or_die();
	ssize_t n;

	(void)sigaction(SIGUSR1, &act, NULL);
	n = gw_trans(gw, &req, data, strlen(data), &rep, NULL, 0);

	gw_close(gw);
	printf("{\"status\": \"%s\", \"offset\": %lu}\n", gw_strerror(n < 0 ? (int)n : rep.command),
	       (unsigned long)rep.offset);
	return n < 0 || rep.command != GW_OK || rep.offset != 77;
}

static int call_long(const char *secret, uint64_t n)
{
	uint8_t *out = xmalloc(HUGE_BYTES), *in = xmalloc(HUGE_BYTES);
	struct gw_hdr req = { .port = put_port(secret), .command = ECHO, .offset = n }, rep = { 0 };
	struct gw *gw = connect_or_die();
	bool good;
	ssize_t len;

	fill(out, 0, n, HUGE_BYTES);
	len = gw_trans(gw, &req, out, HUGE_BYTES, &rep, in, HUGE_BYTES);
	gw_close(gw);
	good = len == (ssize_t)HUGE_BYTES && rep.command == GW_OK && rep.offset == n &&
	       !memcmp(out, in, HUGE_BYTES);
	printf("{\"status\": \"%s\", \"calls\": %lu}\n",
	       good ? "done" : gw_strerror(len < 0 ? (int)len : rep.command), (unsigned long)rep.extra);
	free(out);
	free(in);
	return !good;
}

static int count(const char *secret, const char *until, unsigned pause_us, uint64_t who)
{
	struct gw *gw = connect_or_die();
	const char *wrong = NULL;
	uint64_t n = 0, worst_us = 0;

	while (!wrong && access(until, F_OK) != 0) {
		uint64_t began = now_us();

		wrong = count_once(gw, secret, who, ++n);
		if (wrong && n == 1 && !strcmp(wrong, gw_strerror(GW_NOTFOUND))) {
			n = 0; /* it has not begun to serve */
			wrong = NULL;
		}
		worst_us = MAX(worst_us, now_us() - began);
		if (pause_us)
			usleep(pause_us);
	}
	gw_close(gw);
	printf("{\"calls\": %lu, \"worst_us\": %lu, \"wrong\": \"%s\"}\n", (unsigned long)n,
	       (unsigned long)worst_us, wrong ? wrong : "");
	return wrong != NULL;
}

int main(int argc, char **argv)
{
	if (sodium_init() < 0)
		return 1;
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return serve_dirty(argv[2], strtoul(argv[3], NULL, 0));
	if ((argc == 5 || argc == 6) && !strcmp(argv[1], "call"))
		return call(argv[2], strtoull(argv[3], NULL, 0), (unsigned)atoi(argv[4]),
			    argc == 6 ? (unsigned)atoi(argv[5]) : 0);
	if ((argc == 4 || argc == 5) && !strcmp(argv[1], "pause"))
		return once(argv[2], argc == 5 ? RELAY : PAUSE, strtoul(argv[3], NULL, 0),
			    argc == 5 ? argv[4] : "");
	if (argc == 4 && !strcmp(argv[1], "long"))
		return call_long(argv[2], strtoull(argv[3], NULL, 0));
	if (argc >= 4 && argc <= 6 && !strcmp(argv[1], "count"))
		return count(argv[2], argv[3], argc > 4 ? (unsigned)atoi(argv[4]) : 10000,
			     argc > 5 ? strtoul(argv[5], NULL, 0) : 0);
	if (argc == 3 && !strcmp(argv[1], "end"))
		return once(argv[2], END, 0, "");
	fprintf(stderr,
		"usage: ledger serve SECRET [MIB] | call SECRET N THREADS [FIRST] | "
		"pause SECRET SECONDS [OTHER] | long SECRET N | count SECRET FILE [US [WHO]] | end SECRET\n");
	return 2;
}
