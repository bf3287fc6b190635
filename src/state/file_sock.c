/* SPDX-License-Identifier: Apache-2.0 */
/* Names a socket for people, by what the socket itself says of its two ends. */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/util.h"
#include "state/file_table.h"

static const char help_tcp[] = "close the connection; connections will move with jobs that have their own network";
static const char help_unix[] =
	"start the job without it (the program's options for the bus, the log or the display)";
static const char help_any[] = "close it before the job moves";

union sockaddr_any {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	struct sockaddr_storage room;
};

static void address_words(const union sockaddr_any *a, socklen_t len, char *text, size_t room)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	text[0] = '\0';
	if (a->any.sa_family == AF_INET) {
		(void)inet_ntop(AF_INET, &a->in.sin_addr, ip, sizeof ip);
		(void)snprintf(text, room, "%s:%u", ip, ntohs(a->in.sin_port));
	} else if (a->any.sa_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof ip);
		(void)snprintf(text, room, "[%s]:%u", ip, ntohs(a->in6.sin6_port));
	} else if (a->any.sa_family == AF_UNIX && len > offsetof(struct sockaddr_un, sun_path)) {
		size_t n = len - offsetof(struct sockaddr_un, sun_path);

		/* An abstract name begins with a zero byte and is shown as people write it, with an @. */
		(void)snprintf(text, room, "%s%.*s", a->un.sun_path[0] ? "" : "@",
			       (int)(a->un.sun_path[0] ? n : n - 1),
			       a->un.sun_path[0] ? a->un.sun_path : a->un.sun_path + 1);
	}
}

static bool name_of(int fd, bool peer, char *text, size_t room)
{
	union sockaddr_any a = { 0 };
	socklen_t len = sizeof a.room;

	if ((peer ? getpeername(fd, &a.any, &len) : getsockname(fd, &a.any, &len)) < 0) {
		text[0] = '\0';
		return false;
	}
	address_words(&a, len, text, room);
	return true;
}

static int option(int fd, int which)
{
	socklen_t len = sizeof(int);
	int value = 0;

	return getsockopt(fd, SOL_SOCKET, which, &value, &len) < 0 ? -1 : value;
}

static const char *type_word(int type)
{
	switch (type) {
	case SOCK_STREAM:
		return "stream";
	case SOCK_DGRAM:
		return "datagram";
	case SOCK_SEQPACKET:
		return "seqpacket";
	case SOCK_RAW:
		return "raw";
	default:
		return "unknown";
	}
}

static void inet_words(int fd, int type, int protocol, char *words, size_t len)
{
	char here[128], there[128];
	const char *what = protocol == IPPROTO_TCP    ? "TCP"
			   : protocol == IPPROTO_UDP  ? "UDP"
			   : protocol == 262	      ? "MPTCP"
			   : protocol == IPPROTO_SCTP ? "SCTP"
			   : type == SOCK_RAW	      ? "raw IP"
						      : "IP";

	(void)name_of(fd, false, here, sizeof here);
	if (option(fd, SO_ACCEPTCONN) == 1)
		(void)snprintf(words, len, "%s socket listening on %s", what, here);
	else if (name_of(fd, true, there, sizeof there))
		(void)snprintf(words, len, type == SOCK_STREAM ? "%s connection to %s" : "%s socket talking to %s",
			       what, there);
	else
		(void)snprintf(words, len, "%s socket at %s", what, here);
}

static const char *unix_service(const char *path)
{
	if (strstr(path, "godwit/flip.sock"))
		return "flipd";
	if (strstr(path, "bus_socket") || strstr(path, "dbus") || strstr(path, "/bus"))
		return "dbus";
	if (strstr(path, "journal") || strcmp(path, "/dev/log") == 0)
		return "the system log";
	if (strstr(path, ".X11-unix") || strstr(path, "wayland"))
		return "the display";
	return NULL;
}

static void unix_words(int fd, int type, char *words, size_t len)
{
	struct ucred cred = { 0 };
	socklen_t cred_len = sizeof cred;
	char here[128], there[128];
	const char *service;

	(void)name_of(fd, false, here, sizeof here);
	if (option(fd, SO_ACCEPTCONN) == 1) {
		(void)snprintf(words, len, "unix %s socket listening at %s", type_word(type), here);
		return;
	}
	if (!name_of(fd, true, there, sizeof there)) {
		(void)snprintf(words, len, "unix %s socket%s%s", type_word(type), here[0] ? " at " : "", here);
		return;
	}
	service = unix_service(there);
	if (there[0])
		(void)snprintf(words, len, "unix %s socket to %s%s%s%s", type_word(type),
			       service ? service : there, service ? " (" : "", service ? there : "",
			       service ? ")" : "");
	else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &cred_len) == 0 && cred.pid)
		(void)snprintf(words, len, "unix %s socket to process %d", type_word(type), cred.pid);
	else
		(void)snprintf(words, len, "unix %s socket to an unnamed peer", type_word(type));
}

void file_sock_words(int fd, char *words, size_t len, const char **ret_help)
{
	int domain = option(fd, SO_DOMAIN), type = option(fd, SO_TYPE), protocol = option(fd, SO_PROTOCOL);

	*ret_help = help_any;
	switch (domain) {
	case AF_INET:
	case AF_INET6:
		*ret_help = help_tcp;
		inet_words(fd, type, protocol, words, len);
		break;
	case AF_UNIX:
		*ret_help = help_unix;
		unix_words(fd, type, words, len);
		break;
	case AF_NETLINK:
		(void)snprintf(words, len, "netlink socket (protocol %d)", protocol);
		break;
	case AF_PACKET:
		(void)snprintf(words, len, "packet socket");
		break;
	case AF_VSOCK:
		(void)snprintf(words, len, "vsock socket");
		break;
	case AF_ALG:
		(void)snprintf(words, len, "socket to the kernel's crypto (AF_ALG)");
		break;
	default:
		(void)snprintf(words, len, "socket of address family %d", domain);
	}
}
