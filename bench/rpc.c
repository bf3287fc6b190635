/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RPC next to a UDP ping-pong of two plain processes.
 *
 *	rpc serve                  answers requests on the port of the name "bench" (as root)
 *	rpc call [N] [BYTES]       N transactions that send BYTES and get BYTES back
 *	rpc udp-serve ADDR         the same with bare datagrams
 *	rpc udp-call ADDR [N]
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "godwit.h"

#define UDP_PORT 3999

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *what, uint64_t *us, size_t n, size_t bytes)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += us[i];
	qsort(us, n, sizeof(*us), compare);
	printf("{\"what\": \"%s\", \"n\": %zu, \"bytes\": %zu, \"median_us\": %lu, \"p99_us\": %lu, "
	       "\"max_us\": %lu, \"mean_us\": %.1f, \"mib_per_s\": %.1f}\n",
	       what, n, bytes, us[n / 2], us[n * 99 / 100], us[n - 1], (double)sum / (double)n,
	       sum ? (double)bytes * (double)n / (double)sum * 1e6 / 1048576 : 0);
}

static int serve(void)
{
	char *buf = xmalloc(GW_MSG_MAX);
	struct gw *gw;
	int err = gw_connect(NULL, &gw);

	if (err) {
		fprintf(stderr, "flipd: %s\n", strerror(-err));
		return 1;
	}
	for (;;) {
		struct gw_hdr hdr = { .port = gw_port_from_name("bench") };
		ssize_t n = gw_getreq(gw, &hdr, buf, GW_MSG_MAX);

		if (n < 0) {
			fprintf(stderr, "getreq: %s\n", gw_strerror((int)n));
			return 1;
		}
		(void)gw_putrep(gw, &hdr, buf, hdr.size ? (size_t)n : 0);
	}
}

static int call(size_t n, size_t bytes)
{
	char *out = xcalloc(1, bytes + 1), *in = xcalloc(1, bytes + 1);
	uint64_t *us = xcalloc(n, sizeof(*us));
	struct gw *gw;
	int err = gw_connect(NULL, &gw);

	if (err) {
		fprintf(stderr, "flipd: %s\n", strerror(-err));
		return 1;
	}
	memset(out, 'x', bytes);
	for (size_t i = 0; i < n; i++) {
		struct gw_hdr req = { .port = gw_port_from_name("bench"), .size = 1 }, rep;
		uint64_t start = now_us();
		ssize_t got = gw_trans(gw, &req, out, bytes, &rep, in, bytes);

		us[i] = now_us() - start;
		if (got != (ssize_t)bytes || memcmp(in, out, bytes) != 0) {
			fprintf(stderr, "trans: %s\n", got < 0 ? gw_strerror((int)got) : "wrong reply");
			return 1;
		}
	}
	report("rpc", us, n, 2 * bytes);
	gw_close(gw);
	return 0;
}

static int udp_socket(const char *addr, struct sockaddr_in *a)
{
	*a = (struct sockaddr_in) { .sin_family = AF_INET, .sin_port = htons(UDP_PORT) };
	inet_pton(AF_INET, addr, &a->sin_addr);
	return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int udp_serve(const char *addr)
{
	struct sockaddr_in a;
	int fd = udp_socket(addr, &a);
	char buf[2048];

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return 1;
	for (;;) {
		socklen_t len = sizeof(a);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&a, &len);

		(void)sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&a, len);
	}
}

static int udp_call(const char *addr, size_t n)
{
	uint64_t *us = xcalloc(n, sizeof(*us));
	struct sockaddr_in a;
	int fd = udp_socket(addr, &a);
	char buf[128] = "";

	for (size_t i = 0; i < n; i++) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t start = now_us();

		(void)sendto(fd, buf, 112, 0, (struct sockaddr *)&a, sizeof(a));
		if (poll(&p, 1, 1000) != 1 || recv(fd, buf, sizeof(buf), 0) < 0)
			return 1;
		us[i] = now_us() - start;
	}
	report("udp", us, n, 0);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "serve"))
		return serve();
	if (!strcmp(what, "call"))
		return call(argc > 2 ? strtoul(argv[2], NULL, 0) : 10000,
			    argc > 3 ? strtoul(argv[3], NULL, 0) : 0);
	if (!strcmp(what, "udp-serve") && argc > 2)
		return udp_serve(argv[2]);
	if (!strcmp(what, "udp-call") && argc > 2)
		return udp_call(argv[2], argc > 3 ? strtoul(argv[3], NULL, 0) : 10000);
	fprintf(stderr, "usage: rpc serve | call [N] [BYTES] | udp-serve ADDR | udp-call ADDR [N]\n");
	return 2;
}
