/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The UDP socket. Datagrams for one address that have one length leave as one system call, which the kernel splits
 * (UDP_SEGMENT, Linux 4.18), and arrive likewise (UDP_GRO, 5.0): at fragment size, system calls are most of the
 * cost.
 */
#include "flipd/flipd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"

#define SOCKET_BUFFER (8 << 20)
/* Reads in a row before other events get their turn. */
#define READS_MAX 32u

static int join(struct flipd *d, int ifindex)
{
	struct ip_mreqn m = { .imr_ifindex = ifindex };

	inet_pton(AF_INET, FLIPD_GROUP, &m.imr_multiaddr);
	if (setsockopt(d->net.fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)) < 0 && errno != EADDRINUSE)
		return -errno;
	return 0;
}

static bool is_used(const struct net *net, struct in_addr addr)
{
	for (size_t i = 0; i < net->n_only; i++) {
		if (net->only[i].s_addr == addr.s_addr)
			return true;
	}
	return !net->n_only;
}

/* SIOCGIFCONF needs no netlink socket, which the sandbox would have to allow. */
void net_scan(struct flipd *d)
{
	struct ifreq reqs[NET_IFS_MAX];
	struct ifconf c = { .ifc_len = sizeof(reqs), .ifc_req = reqs };
	struct net *net = &d->net;

	net->n_ifs = 0;
	if (ioctl(net->fd, SIOCGIFCONF, &c) < 0)
		return;
	for (size_t i = 0; i < (size_t)c.ifc_len / sizeof(reqs[0]); i++) {
		struct ifreq *r = &reqs[i];
		struct in_addr addr = ((const struct sockaddr_in *)(const void *)&r->ifr_addr)->sin_addr;
		bool known = false;

		if (!is_used(net, addr))
			continue;
		if (ioctl(net->fd, SIOCGIFFLAGS, r) < 0 || !(r->ifr_flags & IFF_UP) ||
		    !(r->ifr_flags & IFF_MULTICAST) || ioctl(net->fd, SIOCGIFINDEX, r) < 0)
			continue;
		for (size_t j = 0; j < net->n_ifs; j++)
			known |= net->ifs[j] == r->ifr_ifindex;
		if (!known && join(d, r->ifr_ifindex) == 0)
			net->ifs[net->n_ifs++] = r->ifr_ifindex;
	}
}

/* What a datagram has beside a packet's data: IP, UDP, our header, the seal, FLIP's header. */
#define HEADERS (20u + 8u + PEER_DATA_HDR + SEAL_TAG_LEN + FLIP_HDR_LEN)
/* How long an answer is good: a path that has become narrower costs fragments of IP's until then. */
#define PATH_US 1000000u

/*
 * IP_MTU of a socket that is connected is the path's, as far as the kernel has found it (RFC 1191). It holds a
 * port only for that moment.
 */
static uint32_t path_frag(const struct net *net, const struct peer_info *peer)
{
	uint32_t headers = HEADERS + (peer->via ? PEER_RELAY_LEN : 0);
	const struct sockaddr_in *to = &peer->addr;
	const struct sockaddr nowhere = { .sa_family = AF_UNSPEC };
	socklen_t len = sizeof(int);
	int mtu = 0;

	if (connect(net->path_fd, (const struct sockaddr *)to, sizeof(*to)) == 0) {
		(void)getsockopt(net->path_fd, IPPROTO_IP, IP_MTU, &mtu, &len);
		(void)connect(net->path_fd, &nowhere, sizeof(nowhere));
	}
	if (mtu < (int)(headers + FLIP_FRAG_MIN))
		return FLIP_FRAG_MIN;
	return MIN((uint32_t)mtu - headers, (uint32_t)FLIP_FRAG_MAX);
}

uint32_t net_frag(struct flipd *d, uint32_t loc)
{
	struct path *path = loc && loc <= PEERS_MAX ? &d->net.paths[loc] : NULL;
	uint64_t now = now_us();
	struct peer_info peer;

	if (!path || !peers_info(d->peers, loc, &peer) || !peer.addr.sin_port)
		return FLIP_FRAG;
	if (now >= path->until_us) {
		path->frag = path_frag(&d->net, &peer);
		path->until_us = now + PATH_US;
	}
	return path->frag;
}

static int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

static int read_peers(struct flipd *d, struct err *e)
{
	char text[64];

	for (size_t i = 0; conf_element(d->conf, "peers", i, text, sizeof(text)); i++) {
		struct sockaddr_in *a = &d->net.peers[d->net.n_peers];
		char *colon = strchr(text, ':');

		if (d->net.n_peers == NET_PEERS_MAX)
			return err_set(e, -E2BIG, "peers: more than %u", NET_PEERS_MAX);
		if (colon)
			*colon = '\0';
		*a = (struct sockaddr_in) { .sin_family = AF_INET,
					    .sin_port = htons(colon ? (uint16_t)atoi(colon + 1) : FLIPD_PORT) };
		if (inet_pton(AF_INET, text, &a->sin_addr) != 1 || !a->sin_port)
			return err_set(e, -EINVAL, "peers: '%s' is not an IPv4 address", text);
		d->net.n_peers++;
	}
	return 0;
}

static int read_address(struct net *net, const char *key, const char *text, struct err *e)
{
	if (net->n_only == ARRAY_LEN(net->only))
		return err_set(e, -E2BIG, "%s: more than %u interfaces", key, NET_IFS_MAX);
	if (inet_pton(AF_INET, text, &net->only[net->n_only]) != 1)
		return err_set(e, -EINVAL, "%s: '%s' is not an IPv4 address", key, text);
	net->n_only++;
	return 0;
}

/* `forward`: the networks beside that of `address` between which this host is a box. Without `address` all
 * interfaces are used anyway. */
static int read_networks(struct flipd *d, struct err *e)
{
	struct net *net = &d->net;
	char text[64];
	int err = d->address ? read_address(net, "address", d->address, e) : 0;

	for (size_t i = 0; !err && conf_element(d->conf, "forward", i, text, sizeof(text)); i++) {
		d->peer_config.forward = true;
		if (!strcmp(text, "peers"))
			net->forward_peers = true;
		else if (!strcmp(text, "all"))
			err = d->address
				      ? err_set(e, -EINVAL, "forward: 'all' contradicts address = %s", d->address)
				      : 0;
		else if (!d->address)
			err = err_set(e, -EINVAL, "forward: names interfaces, and address does not");
		else
			err = read_address(net, "forward", text, e);
	}
	return err;
}

int net_open(struct flipd *d, struct err *e)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(FLIPD_PORT) };
	struct net *net = &d->net;
	int fd, err;

	net->fd = net->path_fd = -EBADF;
	err = read_peers(d, e);
	if (err)
		return err;
	err = read_networks(d, e);
	if (err)
		return err;
	fd = net->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_errno(e, "socket");
	/* The FORCE forms are root's and go beyond the administrator's limit for everybody. */
	if (set(fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER) < 0)
		(void)set(fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER);
	if (set(fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCKET_BUFFER) < 0)
		(void)set(fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER);
	(void)set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0);
	(void)set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1);
	(void)set(fd, IPPROTO_UDP, UDP_GRO, 1);
	if (d->peer_config.forward)
		(void)set(fd, IPPROTO_IP, IP_PKTINFO, 1);
	net->gso = set(fd, IPPROTO_UDP, UDP_SEGMENT, 0) == 0;
	if (bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0)
		return err_errno(e, "UDP port %d", FLIPD_PORT);
	net->path_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (net->path_fd < 0)
		return err_errno(e, "socket");
	net_scan(d);
	return 0;
}

static int send_now(struct flipd *d, const struct sockaddr_in *to, int ifindex, const uint8_t *data, size_t len,
		    size_t piece)
{
	union {
		char bytes[CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct sockaddr_in name = *to;
	struct msghdr m = { .msg_name = &name, .msg_namelen = sizeof(name), .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c = &control.align;

	if (ifindex) {
		struct in_pktinfo info = { .ipi_ifindex = ifindex };

		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(sizeof(info));
	} else if (piece && piece < len) {
		uint16_t size = (uint16_t)piece;

		c->cmsg_level = IPPROTO_UDP;
		c->cmsg_type = UDP_SEGMENT;
		c->cmsg_len = CMSG_LEN(sizeof(size));
		memcpy(CMSG_DATA(c), &size, sizeof(size));
		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(sizeof(size));
	}
	return sendmsg(d->net.fd, &m, 0) < 0 ? -errno : 0;
}

/* What does not go now is lost, like anything on a network. */
static void send_or_lose(struct flipd *d, const struct sockaddr_in *to, int ifindex, const uint8_t *data,
			 size_t len)
{
	if (send_now(d, to, ifindex, data, len, 0) < 0)
		d->net.send_errors++;
}

/* True unless the pieces must be sent one by one. */
static bool send_split(struct flipd *d)
{
	struct net *net = &d->net;
	int err = send_now(d, &net->to, 0, net->batch, net->batch_len, net->piece);

	/* The path has become too narrow for a piece: those the kernel splits cannot be fragmented by IP as well,
	 * and others can. (-EMSGSIZE since Linux 6.1, -EINVAL before.) */
	if (err == -EMSGSIZE || err == -EINVAL) {
		memset(net->paths, 0, sizeof(net->paths)); /* ask anew, whoever it was */
		return false;
	}
	net->send_errors += err < 0;
	return true;
}

void net_flush(struct flipd *d)
{
	struct net *net = &d->net;

	if (!net->batch_len)
		return;
	if (!net->gso || net->batch_n == 1 || !send_split(d)) {
		for (size_t at = 0; at < net->batch_len; at += net->piece)
			send_or_lose(d, &net->to, 0, net->batch + at, MIN(net->piece, net->batch_len - at));
	}
	net->batch_len = net->batch_n = net->piece = 0;
}

static void send_group(struct flipd *d, int not_if, const uint8_t *data, size_t len)
{
	struct sockaddr_in group = { .sin_family = AF_INET, .sin_port = htons(FLIPD_PORT) };
	const struct net *net = &d->net;

	inet_pton(AF_INET, FLIPD_GROUP, &group.sin_addr);
	for (size_t i = 0; i < net->n_ifs; i++) {
		if (net->ifs[i] != not_if)
			send_or_lose(d, &group, net->ifs[i], data, len);
	}
}

static void send_peers(struct flipd *d, struct in_addr but, const uint8_t *data, size_t len)
{
	const struct net *net = &d->net;

	for (size_t i = 0; i < net->n_peers; i++) {
		if (net->peers[i].sin_addr.s_addr != but.s_addr)
			send_or_lose(d, &net->peers[i], 0, data, len);
	}
}

static void send_everybody(struct flipd *d, const uint8_t *data, size_t len)
{
	send_group(d, 0, data, len);
	send_peers(d, (struct in_addr) { 0 }, data, len);
}

void net_spread(struct flipd *d, const uint8_t *data, size_t len)
{
	const struct arrival *a = &d->net.arrival;

	if (!a->ifindex && !d->net.forward_peers)
		return;
	d->net.sent++;
	net_flush(d);
	send_group(d, a->ifindex, data, len);
	if (d->net.forward_peers)
		send_peers(d, a->from.sin_addr, data, len);
}

void net_send(struct flipd *d, const struct sockaddr_in *to, const uint8_t *data, size_t len)
{
	struct net *net = &d->net;

	net->sent++;
	if (!to) {
		net_flush(d);
		send_everybody(d, data, len);
		return;
	}
	/* All pieces of a batch have one length, but the last, which may be shorter. */
	if (net->batch_n && (net->to.sin_addr.s_addr != to->sin_addr.s_addr || net->to.sin_port != to->sin_port ||
			     len > net->piece || net->batch_len % net->piece || net->batch_len + len > NET_BATCH ||
			     net->batch_n == NET_BATCH_N))
		net_flush(d);
	if (!net->batch_n) {
		net->to = *to;
		net->piece = len;
	}
	memcpy(net->batch + net->batch_len, data, len);
	net->batch_len += len;
	net->batch_n++;
}

/* What the kernel says beside: the length of the datagrams that it has put together, 0 if it is one; and the
 * network that it was multicast to. */
static size_t read_control(struct msghdr *m, struct arrival *a)
{
	struct in_pktinfo info;
	int size = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			memcpy(&size, CMSG_DATA(c), sizeof(size));
		if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		if (IN_MULTICAST(ntohl(info.ipi_addr.s_addr)))
			a->ifindex = info.ipi_ifindex;
	}
	return size > 0 ? (size_t)size : 0;
}

static void deliver(void *ctx, const struct inject_from *from, uint8_t *data, size_t len)
{
	struct flipd *d = ctx;

	memcpy(&d->net.arrival, from->bytes, sizeof(d->net.arrival));
	peers_input(d->peers, &d->net.arrival.from, data, len, now_us());
}

/* A datagram on a network that a test has made bad. */
static void receive_badly(struct flipd *d, const struct arrival *a, uint8_t *data, size_t len)
{
	struct inject_from from = { 0 };

	_Static_assert(sizeof(from.bytes) >= sizeof(*a), "an arrival fits");
	memcpy(from.bytes, a, sizeof(*a));
	inject_pass(d->on_wire, &from, data, len, deliver, d);
}

/* Returns the number of datagrams. */
static size_t receive(struct flipd *d)
{
	static uint8_t buf[65536];
	union {
		char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
		struct cmsghdr align;
	} control;
	struct arrival a = { 0 };
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_name = &a.from,
			    .msg_namelen = sizeof(a.from),
			    .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control.bytes,
			    .msg_controllen = sizeof(control) };
	ssize_t len = recvmsg(d->net.fd, &m, 0);
	uint64_t now;
	size_t piece, n = 0;

	if (len <= 0 || m.msg_flags & MSG_TRUNC || m.msg_namelen != sizeof(a.from) || a.from.sin_family != AF_INET)
		return 0;
	piece = read_control(&m, &a);
	piece = piece ? piece : (size_t)len;
	now = now_us();
	d->net.arrival = a;
	for (size_t at = 0; at < (size_t)len; at += piece, n++) {
		size_t part = MIN(piece, (size_t)len - at);

		if (d->on_wire)
			receive_badly(d, &a, buf + at, part);
		else
			peers_input(d->peers, &a.from, buf + at, part, now);
	}
	d->net.received += n;
	return n;
}

static void on_readable(uv_poll_t *p, int status, int events)
{
	struct flipd *d = p->data;

	(void)status;
	(void)events;
	for (unsigned i = 0; i < READS_MAX; i++) {
		size_t n = receive(d);

		/* A lone datagram is mostly the only one: asking for another costs as much as being told again. */
		if (n <= 1)
			break;
		flipd_work(d);
	}
	flipd_work(d);
}

void net_start(struct flipd *d)
{
	d->net.poll.data = d;
	uv_poll_init(&d->loop, &d->net.poll, d->net.fd);
	uv_poll_start(&d->net.poll, UV_READABLE, on_readable);
}

void net_close(struct flipd *d)
{
	fd_close(&d->net.fd);
	fd_close(&d->net.path_fd);
}
