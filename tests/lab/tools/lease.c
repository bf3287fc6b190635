/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease SOCK: a program's connection to flipd is in somebody's care, who goes. At once, undecided, and on record:
 * when is the program, whom a client calls, heard again? One line of JSON with the milliseconds; 0 if each was
 * called once.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/util.h"
#include "lib/client.h"

#define PATIENCE_US 20000000u

enum how { LEAVES, LEAVES_UNDECIDED, IS_FOLLOWED, HOW_N };
static const char *const names[HOW_N] = { "leaves", "undecided", "followed" };

struct test {
	struct gwc *server, *client;
	struct gw_port get, put;
	int result;
	unsigned executed;
	bool answered;
};

static void fail(const char *what, int code)
{
	printf("FAILED: %s: %s\n", what, strerror(-code));
	exit(1);
}

static struct gwc *open_client(const char *path)
{
	struct gwc *c;
	int err = gwc_open(path, NULL, NULL, &c, NULL);

	if (err < 0)
		fail("flipd", err);
	return c;
}

static void on_request(void *arg, const struct gwc_request *r)
{
	struct test *t = arg;
	struct gw_hdr hdr = { 0 };

	t->executed++;
	(void)gwc_reply(t->server, r->id, &hdr, NULL, 0);
}

static void on_reply(void *arg, int status, const struct gw_hdr *hdr, const void *data, size_t len)
{
	struct test *t = arg;

	(void)hdr;
	(void)data;
	(void)len;
	if (status)
		fail(gw_strerror(status), 0);
	t->answered = true;
}

static void on_done(void *arg, int result)
{
	struct test *t = arg;

	t->result = result;
}

static void on_taken(void *arg, int result, uid_t uid, gid_t gid, const void *blob, size_t len)
{
	(void)uid;
	(void)gid;
	(void)blob;
	(void)len;
	on_done(arg, result);
}

static int on_diag(const struct nlmsghdr *nlh, void *arg)
{
	const struct nlattr *a;
	uint64_t *peer = arg;

	mnl_attr_for_each(a, nlh, sizeof(struct unix_diag_msg))
	{
		if (mnl_attr_get_type(a) == UNIX_DIAG_PEER)
			*peer = mnl_attr_get_u32(a);
	}
	return MNL_CB_STOP;
}

/* The inode of flipd's end. */
static uint64_t other_end(int fd)
{
	struct mnl_socket *nl = mnl_socket_open(NETLINK_SOCK_DIAG);
	char buf[8192] = "";
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct unix_diag_req *req;
	uint64_t peer = 0;
	struct stat st;
	ssize_t n;

	nlh->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	req = mnl_nlmsg_put_extra_header(nlh, sizeof *req);
	if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 || fstat(fd, &st) < 0)
		fail("unix_diag", -errno);
	*req = (struct unix_diag_req) { .sdiag_family = AF_UNIX,
					.udiag_states = ~0u,
					.udiag_ino = (uint32_t)st.st_ino,
					.udiag_show = UDIAG_SHOW_PEER,
					.udiag_cookie = { ~0u, ~0u } };
	n = mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0 ? -1 : mnl_socket_recvfrom(nl, buf, sizeof buf);
	if (n < 0 || mnl_cb_run(buf, (size_t)n, 0, 0, on_diag, &peer) < 0 || !peer)
		fail("unix_diag", -errno);
	(void)mnl_socket_close(nl);
	return peer;
}

static void wait_done(struct test *t, struct gwc *c, const char *what)
{
	while (t->result == 1) {
		if (gwc_wait(c, 5000) < 0)
			fail(what, -ETIMEDOUT);
	}
	if (t->result)
		fail(what, t->result);
}

/* Until the client has its answer; at most PATIENCE_US. */
static void run(struct test *t)
{
	uint64_t end = now_us() + PATIENCE_US;

	while (!t->answered && now_us() < end) {
		struct pollfd p[2] = { { .fd = gwc_fd(t->server), .events = POLLIN },
				       { .fd = gwc_fd(t->client), .events = POLLIN } };

		(void)poll(p, 2, 1000);
		if (gwc_dispatch(t->server) < 0 || gwc_dispatch(t->client) < 0)
			fail("flipd is gone", 0);
	}
}

/* Returns after how many ms the client had its answer. */
static uint64_t try(const char *path, enum how how)
{
	struct gwc *lessee = open_client(path), *next = how == IS_FOLLOWED ? open_client(path) : NULL;
	struct test t = { .server = open_client(path), .client = open_client(path) };
	uint64_t inode, start;
	struct gw_hdr hdr = { 0 };

	gw_port_random(&t.get);
	gw_port_publish(&t.get, &t.put);
	t.result = 1;
	(void)gwc_serve(t.server, GWC_MAIN, &t.get, on_request, &t, on_done, &t);
	wait_done(&t, t.server, "serve");
	inode = other_end(gwc_fd(t.server)); /* there is one once flipd has taken the connection */
	t.result = 1;
	(void)gwc_conn_take(lessee, inode, on_taken, &t);
	wait_done(&t, lessee, "take");
	if (how != LEAVES)
		(void)gwc_conn_hold(lessee, inode, false);
	hdr.port = t.put;
	(void)gwc_trans(t.client, GWC_MAIN, &hdr, NULL, 0, 0, on_reply, &t);
	start = now_us();
	gwc_close(lessee);
	if (how == IS_FOLLOWED) { /* who knows that it was decided, and revoked later */
		(void)gwc_conn_hold(next, inode, true);
		(void)gwc_wait(next, 1000);
		(void)poll(NULL, 0, 12000);
		t.result = 1;
		(void)gwc_conn_end(next, inode, false, on_done, &t);
		wait_done(&t, next, "end");
	}
	run(&t);
	if (t.executed != 1 || !t.answered)
		fail(names[how], 0);
	start = now_us() - start;
	gwc_close(t.server);
	gwc_close(t.client);
	gwc_close(next);
	return start / 1000;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	for (enum how how = 0; how < HOW_N; how++)
		printf("%s\"%s\": %llu", how ? ", " : "{ ", names[how], (unsigned long long)try(argv[1], how));
	puts(" }");
	return 0;
}
