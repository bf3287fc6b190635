/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GODWIT_H
#define GODWIT_H

/*
 * libgodwit: remote procedure calls between processes, wherever they are and while they move.
 *
 * A server listens on a port; a client sends a request to the port, not to a host, and gets one reply. The calls
 * are those of Amoeba: gw_trans() at the client, gw_getreq() and gw_putrep() at the server. A request is executed
 * at most once. A migration of either side is seen as delay and never as an error.
 *
 * All calls talk to the flipd of this host through its local socket ($GODWIT_FLIP_SOCK, /run/godwit/flip.sock).
 * One connection is one process to the network: it has a FLIP address of its own. A connection is used by one
 * thread at a time; a program with several threads that call at the same time opens one connection for each.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The longest request or reply, its header not counted. */
#define GW_MSG_MAX (16u << 20)
/* A host's name, its NUL included. */
#define GW_HOST_MAX 65
#define GW_PORT_LEN 16
#define GW_CHECK_LEN 16

/* What a call returns when it fails: small negative numbers, never an errno. */
enum gw_status {
	GW_OK = 0,
	GW_FAILURE = -1,    /* it is unknown whether the request was executed: the server or its host was lost */
	GW_NOTFOUND = -2,   /* no server was found; the request was certainly not executed */
	GW_BADADDRESS = -3, /* a buffer or length is impossible */
	GW_ABORTED = -4,    /* a signal broke the call off before a server had the request */
	GW_TRYAGAIN = -5,   /* out of some resource; the request was certainly not executed */
	GW_BADPORT = -8,    /* the port is null, or may not be served by this user */
	/* Replies of servers, in gw_hdr.command. */
	GW_STD_CAPBAD = -1000,
	GW_STD_COMBAD = -1001,
	GW_STD_ARGBAD = -1002,
	GW_STD_NOTNOW = -1003,
	GW_STD_NOSPACE = -1004,
	GW_STD_DENIED = -1005,
	GW_STD_NOMEM = -1006,
	GW_STD_EXISTS = -1007,
	GW_STD_NOTFOUND = -1008,
	GW_STD_SYSERR = -1009,
	GW_STD_INTR = -1010,
};

/* The words for any of the above. */
const char *gw_strerror(int status);

/* A service, whoever serves it. Servers hold the get-port, clients the put-port: put = F(get), F one-way. */
struct gw_port {
	uint8_t bytes[GW_PORT_LEN];
};

/* A fresh secret get-port. */
void gw_port_random(struct gw_port *ret_get);
/* F. Well-known ports (below) are their own image. */
void gw_port_publish(const struct gw_port *get, struct gw_port *ret_put);
/*
 * The port of a well-known service, "procd@h1" or "job:web". Such a port is get-port and put-port in one and
 * anyone can compute it, so only root may serve it, as with TCP ports below 1024; flipd sees to that.
 */
struct gw_port gw_port_from_name(const char *name);
int gw_port_is_well_known(const struct gw_port *port);
int gw_port_is_null(const struct gw_port *port);

/* A capability: an object of a service, and what its holder may do to it. The check field cannot be guessed. */
#define GW_RIGHTS_ALL 0xffffffffu

struct gw_private {
	uint64_t object;
	uint32_t rights;
	uint8_t check[GW_CHECK_LEN];
};

struct gw_cap {
	struct gw_port port; /* put-port */
	struct gw_private priv;
};

/* For servers: a fresh secret for a new object, its private part with some rights, and the test of one that came
 * in (GW_OK and the rights, or GW_STD_CAPBAD). */
void gw_secret_random(uint8_t ret_secret[GW_CHECK_LEN]);
void gw_private_make(struct gw_private *ret, uint64_t object, uint32_t rights, const uint8_t secret[GW_CHECK_LEN]);
int gw_private_check(const struct gw_private *priv, const uint8_t secret[GW_CHECK_LEN], uint32_t *ret_rights);
/* For anyone who holds all rights: the same object with only the rights in `mask`. GW_STD_DENIED if `cap` has been
 * restricted before; then its server must do it. */
int gw_cap_restrict(const struct gw_cap *cap, uint32_t mask, struct gw_cap *ret_cap);

/* The header of a request or reply. Only `port` means something to the system; the rest is carried as it is. */
struct gw_hdr {
	struct gw_port port; /* put-port in gw_trans, get-port going into gw_getreq, put-port coming out of it */
	struct gw_private priv;
	int32_t command; /* request: what to do; reply: GW_OK or a negative status */
	uint64_t offset;
	uint64_t size;
	uint64_t extra;
};

/* Who sent a request: ids as the kernel of the sender's host knows them, and that host's name as the cluster knows
 * it. */
struct gw_caller {
	uid_t uid;
	gid_t gid;
	char host[GW_HOST_MAX];
};

struct gw;

/* Connects to this host's flipd. `socket_path` NULL means the default. Returns 0 or -errno. */
int gw_connect(const char *socket_path, struct gw **ret_gw);
/* NULL is permitted. Requests that were taken and not answered fail at their clients. */
void gw_close(struct gw *gw);

/*
 * One transaction: sends the request to whoever serves req->port and waits for the reply. Returns the length of
 * the reply, of which at most `rep_size` bytes are stored, or a negative gw_status. A lost connection to flipd is
 * GW_FAILURE, and the next call connects anew.
 */
ssize_t gw_trans(struct gw *gw, const struct gw_hdr *req, const void *req_buf, size_t req_len, struct gw_hdr *rep,
		 void *rep_buf, size_t rep_size);
/* How long gw_trans looks for a server before it says GW_NOTFOUND, in ms; returns the old value. The default is
 * 5200. When every host that is alive has said no, the answer comes at once. */
unsigned gw_timeout(struct gw *gw, unsigned ms);

/*
 * Waits for a request on the get-port hdr->port. Returns its length (at most `size` bytes are stored) or a
 * negative gw_status. Each request must be answered by gw_putrep before the next gw_getreq on the same connection.
 * gw_putrep returns GW_OK as soon as flipd keeps the reply; flipd sees to it that the client gets it.
 */
ssize_t gw_getreq(struct gw *gw, struct gw_hdr *hdr, void *buf, size_t size);
int gw_putrep(struct gw *gw, const struct gw_hdr *hdr, const void *buf, size_t len);
/* Who sent the request that is being served. Valid between gw_getreq and gw_putrep. */
int gw_request_caller(struct gw *gw, struct gw_caller *ret_caller);

#ifdef __cplusplus
}
#endif

#endif
