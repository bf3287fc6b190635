/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking calls of godwit.h, made of the asynchronous client. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "godwit.h"
#include "lib/client.h"
#include "lib/ps.h"

#define TIMEOUT_DEFAULT_MS 5200u

/* A request that was delivered and not fetched yet. */
struct held {
	struct held *next;
	uint64_t id;
	struct gw_port get;
	struct gw_hdr hdr;
	struct gw_caller caller;
	bool signalled;
	bool placed; /* its data are where gw_getreq wants them */
	size_t len;
	uint8_t data[];
};

struct served {
	struct served *next;
	struct gw *gw;
	struct gw_port get;
	int result; /* of gwc_serve; 1 while it is not known */
};

struct gw {
	struct gwc *c;
	char *path;
	unsigned timeout_ms;
	struct served *served;
	struct held *held, **held_end;
	struct held *current; /* between getreq and putrep */
	int64_t under_way;    /* the transaction that gw_trans waits for */
	/* Where a long reply, or a long request to this port, may be put: there is a call that waits for it. */
	struct {
		void *buf;
		size_t size;
		const struct gw_port *get; /* NULL: the reply to under_way */
	} place;
	int signo; /* gw_catch */
	bool armed;
	char why[GW_WHY_MAX];
};

char *gw_why(struct gw *gw)
{
	return gw->why;
}

struct waiting {
	bool done;
	int status;
	struct gw_hdr *rep;
	void *buf;
	size_t size, len;
};

static void on_signalled(void *user, uint64_t request)
{
	struct gw *gw = user;

	for (struct held *h = gw->held; h; h = h->next)
		h->signalled |= h->id == request;
	if (!gw->current || gw->current->id != request)
		return;
	gw->current->signalled = true;
	if (gw->under_way)
		gwc_cancel(gw->c, gw->under_way);
}

static void *on_place(void *user, bool request, uint64_t id, const struct gw_port *put, size_t *ret_room)
{
	struct gw *gw = user;
	struct gw_port mine;

	if (!gw->place.size || request != (gw->place.get != NULL))
		return NULL;
	if (request) {
		gw_port_publish(gw->place.get, &mine);
		if (gw->held || memcmp(&mine, put, sizeof(mine)) != 0)
			return NULL;
	} else if (id != (uint64_t)gw->under_way) {
		return NULL;
	}
	*ret_room = gw->place.size;
	return gw->place.buf;
}

static void set_place(struct gw *gw, void *buf, size_t size, const struct gw_port *get)
{
	gw->place.buf = buf;
	gw->place.size = size;
	gw->place.get = get;
}

static const struct gwc_ops ops = { .request_cancelled = on_signalled, .place = on_place };

static int open_client(struct gw *gw)
{
	int err = gwc_open(gw->path, &ops, gw, &gw->c, NULL);

	if (!err)
		gwc_block(gw->c);
	return err;
}

int gw_connect(const char *socket_path, struct gw **ret_gw)
{
	struct gw *gw;
	int err;

	if (sodium_init() < 0)
		return -ENOSYS;
	gw = xcalloc(1, sizeof(*gw));
	gw->path = socket_path ? xstrdup(socket_path) : NULL;
	gw->timeout_ms = TIMEOUT_DEFAULT_MS;
	gw->held_end = &gw->held;
	err = open_client(gw);
	if (err) {
		gw_close(gw);
		return err;
	}
	*ret_gw = gw;
	return 0;
}

/* All that belonged to the connection that is gone. */
static void forget(struct gw *gw)
{
	struct held *h;
	struct served *s;

	while ((h = gw->held)) {
		gw->held = h->next;
		free(h);
	}
	gw->held_end = &gw->held;
	while ((s = gw->served)) {
		gw->served = s->next;
		free(s);
	}
	free(gw->current);
	gw->current = NULL;
	gwc_close(gw->c);
	gw->c = NULL;
}

void gw_close(struct gw *gw)
{
	if (!gw)
		return;
	forget(gw);
	free(gw->path);
	free(gw);
}

unsigned gw_timeout(struct gw *gw, unsigned ms)
{
	unsigned old = gw->timeout_ms;

	gw->timeout_ms = ms ? ms : TIMEOUT_DEFAULT_MS;
	return old;
}

static void on_reply(void *arg, int status, const struct gw_hdr *hdr, const void *data, size_t len)
{
	struct waiting *w = arg;

	w->done = true;
	w->status = status;
	if (status != GW_OK)
		return;
	w->len = len;
	if (w->rep)
		*w->rep = *hdr;
	if (w->buf && w->buf != data)
		memcpy(w->buf, data, MIN(len, w->size));
}

/* Waits once; a lost connection is noticed, so that the next call makes a new one. */
static int step(struct gw *gw)
{
	int err = gwc_wait(gw->c, -1);

	if (err == -ECONNRESET)
		forget(gw);
	return err;
}

ssize_t gw_trans(struct gw *gw, const struct gw_hdr *req, const void *req_buf, size_t req_len, struct gw_hdr *rep,
		 void *rep_buf, size_t rep_size)
{
	struct waiting w = { .rep = rep, .buf = rep_buf, .size = rep_size };
	int64_t id;

	if (req_len > GW_MSG_MAX || (!req_buf && req_len) || (!rep_buf && rep_size))
		return GW_BADADDRESS;
	if (gw_port_is_null(&req->port))
		return GW_BADPORT;
	if (!gw->c && open_client(gw) < 0)
		return GW_TRYAGAIN;
	(void)gwc_interrupted(gw->c); /* by what came before */
	id = gwc_trans(gw->c, GWC_MAIN, req, req_buf, req_len, gw->timeout_ms, on_reply, &w);
	if (id == -ENOTCONN) {
		forget(gw);
		if (open_client(gw) < 0)
			return GW_TRYAGAIN;
		id = gwc_trans(gw->c, GWC_MAIN, req, req_buf, req_len, gw->timeout_ms, on_reply, &w);
	}
	if (id < 0)
		return GW_TRYAGAIN;
	gw->under_way = id;
	set_place(gw, rep_buf, rep_size, NULL);
	while (!w.done) {
		/* Only before a server has it: the answer says whether it came in time. */
		if (gwc_interrupted(gw->c) || step(gw) == -EINTR)
			gwc_cancel(gw->c, id);
	}
	gw->under_way = 0;
	set_place(gw, NULL, 0, NULL);
	return w.status == GW_OK ? (ssize_t)w.len : w.status;
}

static void on_request(void *arg, const struct gwc_request *r)
{
	struct served *s = arg;
	struct gw *gw = s->gw;
	bool placed = r->data == gw->place.buf && gw->place.get;
	struct held *h = xmalloc(sizeof(*h) + (placed ? 0 : r->len));

	*h = (struct held) { .placed = placed };
	h->id = r->id;
	h->get = s->get;
	h->hdr = r->hdr;
	h->caller.uid = r->uid;
	h->caller.gid = r->gid;
	strncpy(h->caller.host, r->host, sizeof(h->caller.host) - 1);
	h->len = r->len;
	if (!placed)
		memcpy(h->data, r->data, r->len);
	*gw->held_end = h;
	gw->held_end = &h->next;
}

static void on_served(void *arg, int result)
{
	struct served *s = arg;

	s->result = result;
}

static int serve(struct gw *gw, const struct gw_port *get)
{
	struct served *s, **at;

	for (s = gw->served; s; s = s->next) {
		if (!memcmp(&s->get, get, sizeof(*get)))
			return GW_OK;
	}
	s = xcalloc(1, sizeof(*s));
	s->gw = gw;
	s->get = *get;
	s->result = 1;
	s->next = gw->served;
	gw->served = s;
	if (gwc_serve(gw->c, GWC_MAIN, get, on_request, s, on_served, s) < 0)
		s->result = -EAGAIN;
	while (gw->c && gw->served == s && s->result == 1)
		(void)step(gw);
	if (!gw->c)
		return GW_FAILURE;
	if (s->result == 0)
		return GW_OK;
	gwc_unserve(gw->c, GWC_MAIN, get);
	for (at = &gw->served; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	free(s);
	return GW_BADPORT;
}

static struct held *fetch(struct gw *gw, const struct gw_port *get)
{
	for (struct held **at = &gw->held; *at; at = &(*at)->next) {
		struct held *h = *at;

		if (memcmp(&h->get, get, sizeof(*get)) != 0)
			continue;
		*at = h->next;
		if (!h->next)
			gw->held_end = at;
		return h;
	}
	return NULL;
}

/* --- signals of clients --- */

int gw_catch(struct gw *gw, int signo)
{
	if (signo < 0 || signo > SIGRTMAX)
		return -EINVAL;
	gw->signo = signo;
	return 0;
}

/* While a request is served, whatever arrives raises the signal; what has arrived before does it here. */
static void arm(struct gw *gw)
{
	struct f_owner_ex me = { .type = F_OWNER_TID, .pid = gettid() };
	int fd = gwc_fd(gw->c);

	gw->armed = gw->signo != 0;
	if (!gw->armed)
		return;
	(void)fcntl(fd, F_SETOWN_EX, &me);
	(void)fcntl(fd, F_SETSIG, gw->signo);
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC);
	if (gw_request_signalled(gw) == 1)
		(void)raise(gw->signo);
}

static void disarm(struct gw *gw)
{
	int fd = gwc_fd(gw->c);

	if (gw->armed)
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_ASYNC);
}

int gw_request_signalled(struct gw *gw)
{
	if (!gw->current)
		return GW_BADADDRESS;
	if (!gw->current->signalled && gwc_dispatch(gw->c) == -ECONNRESET) {
		forget(gw);
		return GW_FAILURE;
	}
	return gw->current->signalled;
}

/* NULL and *ret_status if there is none. One that is being put into `buf` is waited for, whatever signal comes. */
static struct held *await_request(struct gw *gw, const struct gw_port *get, void *buf, size_t size,
				  int *ret_status)
{
	struct held *h;
	int r = 0;

	set_place(gw, buf, size, get);
	while (!(h = fetch(gw, get)) && r != -ECONNRESET) {
		r = step(gw);
		if (r == -EINTR && !gwc_placing(gw->c))
			break;
	}
	set_place(gw, NULL, 0, NULL);
	*ret_status = r == -EINTR ? GW_ABORTED : GW_FAILURE;
	return h;
}

ssize_t gw_getreq(struct gw *gw, struct gw_hdr *hdr, void *buf, size_t size)
{
	struct gw_port get = hdr->port;
	struct held *h;
	ssize_t n;
	int err;

	if (gw_port_is_null(&get))
		return GW_BADPORT;
	if (gw->current || (!buf && size))
		return GW_BADADDRESS;
	if (!gw->c && open_client(gw) < 0)
		return GW_TRYAGAIN;
	err = serve(gw, &get);
	if (err)
		return err;
	h = await_request(gw, &get, buf, size, &err);
	if (!h)
		return err;
	*hdr = h->hdr;
	if (size && !h->placed)
		memcpy(buf, h->data, MIN(size, h->len));
	gw->current = h;
	n = (ssize_t)h->len;
	arm(gw);
	return n;
}

int gw_putrep(struct gw *gw, const struct gw_hdr *hdr, const void *buf, size_t len)
{
	struct held *h = gw->current;
	int err;

	if (!h || len > GW_MSG_MAX || (!buf && len))
		return GW_BADADDRESS;
	gw->current = NULL;
	disarm(gw);
	err = gwc_reply(gw->c, h->id, hdr, buf, len);
	free(h);
	return err ? GW_FAILURE : GW_OK;
}

int gw_request_caller(struct gw *gw, struct gw_caller *ret_caller)
{
	if (!gw->current)
		return GW_BADADDRESS;
	*ret_caller = gw->current->caller;
	return GW_OK;
}
