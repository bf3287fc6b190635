/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw FLIP and groups, by programs that may be moved meanwhile.
 *
 *	chorus hear SECRET		says its address, listens on the group of that secret ("-": to what is
 *					broadcast) until it is told that this was all, and tells the sender what it
 *					has heard; 0 if that is each message, once
 *	chorus sing SECRET N COUNT US	COUNT messages to the group, once N listen, one each US microseconds; 0 if
 *N have heard each of them once chorus call ADDRESS [safe]	one message to one address; says what became of it
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "godwit_flip.h"

#define COUNT_MAX 1000000u
#define LONG_EVERY 10u
#define LONG_LEN 20000u
#define SHORT_LEN 64u
#define PATIENCE_MS 20000

enum kind { NOTE = 1, LAST, REPORT };

struct head {
	uint32_t kind, number;	 /* LAST: how many there were */
	uint32_t heard, doubled; /* REPORT */
};

static uint8_t message[LONG_LEN];

static int fail(const char *what, int status)
{
	printf("FAILED: %s: %s\n", what, gw_strerror(status));
	return 1;
}

static struct gw_flip *open_or_die(void)
{
	struct gw_flip *f;
	int err = gw_flip_open(NULL, &f);

	if (err) {
		fprintf(stderr, "FAILED: flipd: %s\n", strerror(-err));
		exit(1);
	}
	return f;
}

static gw_flip_addr private_group(const char *secret)
{
	gw_flip_addr a = 0;

	if (!strcmp(secret, "-"))
		return 0;
	(void)crypto_generichash((uint8_t *)&a, sizeof a, (const uint8_t *)secret, strlen(secret), NULL, 0);
	return a & ~(gw_flip_addr)0xff;
}

static size_t note_len(uint32_t number)
{
	return number % LONG_EVERY ? SHORT_LEN : LONG_LEN;
}

static void fill(uint32_t number)
{
	for (size_t i = sizeof(struct head); i < note_len(number); i++)
		message[i] = (uint8_t)(number + i * 5);
}

static int is_whole(uint32_t number, size_t len)
{
	for (size_t i = sizeof(struct head); i < len; i++) {
		if (message[i] != (uint8_t)(number + i * 5))
			return 0;
	}
	return len == note_len(number);
}

static int hear(const char *secret)
{
	static uint8_t heard[COUNT_MAX];
	struct head h, report = { .kind = REPORT };
	struct gw_flip *f = open_or_die();
	int status = gw_flip_join(f, private_group(secret));
	struct gw_flip_event e;

	if (status)
		return fail("join", status);
	printf("%016" PRIx64 "\n", gw_flip_address(f));
	(void)fflush(stdout);
	for (;;) {
		status = gw_flip_receive(f, &e, message, sizeof message, -1);
		if (status == GW_ABORTED)
			continue;
		if (status || e.status)
			return fail("receive", status ? status : e.status);
		memcpy(&h, message, sizeof h);
		if (h.kind == LAST)
			break;
		if (h.number >= COUNT_MAX || !is_whole(h.number, e.len))
			return fail("a message that was never sent", 0);
		report.doubled += heard[h.number];
		report.heard += !heard[h.number];
		heard[h.number] = 1;
	}
	status = gw_flip_unicast(f, e.source, 0, &report, sizeof report, 0, NULL);
	printf("{ \"heard\": %u, \"of\": %u, \"doubled\": %u }\n", report.heard, h.number, report.doubled);
	gw_flip_close(f);
	return status || report.heard != h.number || report.doubled;
}

static int to_all(struct gw_flip *f, const char *secret, unsigned n, size_t len)
{
	gw_flip_addr group = gw_flip_publish(private_group(secret));

	return group ? gw_flip_multicast(f, group, n, 0, message, len, PATIENCE_MS, NULL)
		     : gw_flip_broadcast(f, 0, message, len);
}

static int sing(const char *secret, unsigned n, uint32_t count, unsigned us)
{
	struct timespec pause = { .tv_nsec = (long)us * 1000 };
	struct gw_flip *f = open_or_die();
	struct head h = { .kind = NOTE };
	unsigned reports = 0, whole = 0;
	struct gw_flip_event e;
	int status;

	for (h.number = 0; h.number < count; h.number++) {
		fill(h.number);
		memcpy(message, &h, sizeof h);
		status = to_all(f, secret, n, note_len(h.number));
		if (status)
			return fail("send", status);
		(void)nanosleep(&pause, NULL);
	}
	/* A short one overtakes a long one. */
	pause.tv_nsec = 300000000;
	(void)nanosleep(&pause, NULL);
	h.kind = LAST;
	memcpy(message, &h, sizeof h);
	status = to_all(f, secret, n, sizeof h);
	while (!status && reports < n) {
		status = gw_flip_receive(f, &e, &h, sizeof h, PATIENCE_MS);
		if (!status && e.status)
			status = e.status;
		if (status || e.len != sizeof h || h.kind != REPORT)
			continue;
		reports++;
		whole += h.heard == count && !h.doubled;
	}
	printf("{ \"sent\": %u, \"heard_by\": %u, \"whole\": %u }\n", count, reports, whole);
	if (status)
		return fail("report", status);
	gw_flip_close(f);
	return whole != n;
}

static int call(gw_flip_addr to, int flags)
{
	struct head h = { .kind = LAST };
	struct gw_flip *f = open_or_die();
	struct gw_flip_event e;
	int status = gw_flip_unicast(f, to, flags, &h, sizeof h, 0, NULL);

	if (!status)
		status = gw_flip_receive(f, &e, &h, sizeof h, PATIENCE_MS);
	puts(gw_strerror(status ? status : e.status));
	gw_flip_close(f);
	return status != 0;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";

	if (sodium_init() < 0)
		return 1;
	if (!strcmp(how, "hear") && argc == 3)
		return hear(argv[2]);
	if (!strcmp(how, "sing") && argc == 6 && strtoul(argv[4], NULL, 10) <= COUNT_MAX)
		return sing(argv[2], (unsigned)atoi(argv[3]), (uint32_t)strtoul(argv[4], NULL, 10),
			    (unsigned)atoi(argv[5]));
	if (!strcmp(how, "call") && argc >= 3)
		return call(strtoull(argv[2], NULL, 16), argc > 3 ? GW_FLIP_SECURITY : 0);
	fprintf(stderr, "usage: chorus hear SECRET | sing SECRET N COUNT US | call ADDRESS [safe]\n");
	return 2;
}
