/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_SERVERS_SERVER_H
#define GW_SERVERS_SERVER_H

/*
 * What a server of objects needs besides its objects: a port that stays the same from start to start, threads that
 * take requests, one at a time each, and the commands that every object understands. Written against the public
 * API only, as anybody's server would be.
 */

#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/wire.h"
#include "godwit_objects.h"

struct server;

/* A request, and the reply as it grows. */
struct request {
	const struct gw_hdr *hdr;
	struct wire_in in; /* the data */
	struct gw_hdr rep; /* rep.priv: of a capability that the reply is */
	uint8_t *out;	   /* data of the reply; server_reply_room makes some */
	size_t out_len, out_cap;
	struct gw *gw; /* see server_asks */
};

struct server_ops {
	const char *name; /* "bullet" */
	const char *doc;
	bool wants_dir; /* its objects live in a directory, its only argument */
	int (*open)(struct server *s, struct err *e);
	/* The secret of an object; -ENOENT. Object 0 is the server itself. */
	int (*secret)(struct server *s, uint64_t object, uint8_t ret[GW_CHECK_LEN]);
	/* A gw_status. Called with the lock held. */
	int (*handle)(struct server *s, struct request *r);
	int (*info)(struct server *s, const struct gw_private *priv, char *text, size_t size);
	int (*destroy)(struct server *s, const struct gw_private *priv, uint32_t rights);
	/* Makes an object of its own with the contents of somebody's. */
	int (*copy)(struct server *s, struct request *r, const struct gw_cap *from);
	/* All objects have one life less; an object that is touched has all of them again. */
	int (*age)(struct server *s, uint32_t rights);
	void (*touch)(struct server *s, uint64_t object);
};

struct server {
	const struct server_ops *ops;
	void *ctx; /* the objects */
	char *dir;
	int dir_fd;
	unsigned threads;
	struct gw_port get, put;
	uint8_t secret[GW_CHECK_LEN]; /* of object 0 */
	pthread_mutex_t lock;	      /* for all that ctx holds, and: */
	uint64_t served, refused;     /* requests */
};

/* main() of a server: options, port, threads; prints the capability of object 0, with all rights, when requests
 * can come. Ends with SIGTERM or SIGINT. */
int server_main(const struct server_ops *ops, int argc, char **argv);

/* Is it a capability for that object with these rights? GW_OK, GW_STD_CAPBAD, GW_STD_DENIED. */
int server_check(struct server *s, const struct gw_private *priv, uint32_t need, uint32_t *ret_rights) must_check;
/* A connection for questions to other servers; NULL: there is none. */
struct gw *server_asks(struct request *r);
/* Room for `len` more bytes of the reply, which the caller fills. */
uint8_t *server_reply_room(struct request *r, size_t len);
/* A whole file, in one step: after a crash it is there with these bytes, or as it was. */
int server_write(struct server *s, const char *name, const void *bytes, size_t len, struct err *e) must_check;
int server_read(struct server *s, const char *name, size_t max, uint8_t **ret, size_t *ret_len,
		struct err *e) must_check;

#endif
