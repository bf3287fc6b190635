/* SPDX-License-Identifier: Apache-2.0 */
/* The blocking calls of godwit_flip.h, made of the asynchronous client. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "flip/addr.h"
#include "godwit_flip.h"
#include "lib/client.h"

/* An event that was not fetched yet, with the message's bytes. */
struct event {
	struct event *next;
	struct gw_flip_event e;
	uint8_t data[];
};

struct gw_flip {
	struct gwc *c;
	uint32_t endpoint;
	gw_flip_addr address;
	struct event *events, **events_end;
};

gw_flip_addr gw_flip_random(void)
{
	return flip_addr_random();
}

gw_flip_addr gw_flip_publish(gw_flip_addr private_addr)
{
	return flip_addr_publish(private_addr);
}

static void add_event(struct gw_flip *f, const struct gw_flip_event *e, const void *data)
{
	struct event *ev = xcalloc(1, sizeof(*ev) + e->len);

	ev->e = *e;
	if (e->len)
		memcpy(ev->data, data, e->len);
	*f->events_end = ev;
	f->events_end = &ev->next;
}

static void on_data(void *user, uint32_t endpoint, uint64_t source, uint64_t group, const void *data, size_t len)
{
	(void)endpoint;
	add_event(user, &(struct gw_flip_event) { .source = source, .group = group, .len = len }, data);
}

static void on_failed(void *user, uint32_t endpoint, uint64_t id, uint64_t destination, int status, bool certain)
{
	(void)endpoint;
	(void)destination;
	add_event(user, &(struct gw_flip_event) { .status = status, .id = id, .certain = certain }, "");
}

static const struct gwc_ops ops = { .raw_data = on_data, .raw_failed = on_failed };

struct answer {
	int result; /* 1 while it is not known */
	gw_flip_addr address;
};

static void on_address(void *arg, int result, uint64_t address)
{
	struct answer *a = arg;

	a->result = result;
	a->address = address;
}

/* 0 or -errno: what flipd answers, or that it does not. */
static int wait_for(struct gw_flip *f, const struct answer *a)
{
	while (a->result == 1) {
		int err = gwc_wait(f->c, -1);

		if (err == -ECONNRESET)
			return err;
	}
	return a->result;
}

int gw_flip_open(const char *socket_path, struct gw_flip **ret_flip)
{
	struct answer a = { .result = 1 };
	struct gw_flip *f;
	int err;

	if (sodium_init() < 0)
		return -ENOSYS;
	f = xcalloc(1, sizeof(*f));
	f->events_end = &f->events;
	err = gwc_open(socket_path, &ops, f, &f->c, NULL);
	if (!err) {
		gwc_block(f->c);
		f->endpoint = gwc_raw_open(f->c, on_address, &a);
		err = f->endpoint ? wait_for(f, &a) : -ECONNRESET;
	}
	if (err) {
		gw_flip_close(f);
		return err;
	}
	f->address = a.address;
	*ret_flip = f;
	return 0;
}

void gw_flip_close(struct gw_flip *f)
{
	struct event *ev;

	if (!f)
		return;
	while ((ev = f->events)) {
		f->events = ev->next;
		free(ev);
	}
	gwc_close(f->c);
	free(f);
}

gw_flip_addr gw_flip_address(const struct gw_flip *f)
{
	return f->address;
}

int gw_flip_fd(const struct gw_flip *f)
{
	return gwc_fd(f->c);
}

static int status_of(int err)
{
	switch (err) {
	case 0:
		return GW_OK;
	case -ENOSPC:
	case -ENOBUFS:
		return GW_TRYAGAIN;
	case -EMSGSIZE:
		return GW_BADADDRESS;
	default:
		return GW_FAILURE;
	}
}

int gw_flip_join(struct gw_flip *f, gw_flip_addr private_group)
{
	struct answer a = { .result = 1 };
	int err = gwc_raw_join(f->c, f->endpoint, private_group, on_address, &a);

	return status_of(err ? err : wait_for(f, &a));
}

int gw_flip_leave(struct gw_flip *f, gw_flip_addr private_group)
{
	gwc_raw_leave(f->c, f->endpoint, private_group ? gw_flip_publish(private_group) : FLIP_EVERYBODY);
	return GW_OK;
}

static int send_to(struct gw_flip *f, const struct gwc_raw_to *to, const void *data, size_t len, uint64_t *ret_id)
{
	int64_t id;

	if (!data && len)
		return GW_BADADDRESS;
	id = gwc_raw_send(f->c, f->endpoint, to, data, len);
	if (id < 0)
		return status_of((int)id);
	if (ret_id)
		*ret_id = (uint64_t)id;
	return GW_OK;
}

int gw_flip_unicast(struct gw_flip *f, gw_flip_addr to, int flags, const void *data, size_t len,
		    unsigned locate_ms, uint64_t *ret_id)
{
	struct gwc_raw_to raw = {
		.destination = to,
		.inval = flags & GW_FLIP_INVAL,
		.safe = flags & GW_FLIP_SECURITY,
		.locate_ms = locate_ms,
	};

	return to ? send_to(f, &raw, data, len, ret_id) : GW_BADADDRESS;
}

int gw_flip_multicast(struct gw_flip *f, gw_flip_addr group, unsigned n, int flags, const void *data, size_t len,
		      unsigned locate_ms, uint64_t *ret_id)
{
	struct gwc_raw_to raw = {
		.destination = group,
		.group = true,
		.inval = flags & GW_FLIP_INVAL,
		.safe = flags & GW_FLIP_SECURITY,
		.n = n,
		.locate_ms = locate_ms,
	};

	return group ? send_to(f, &raw, data, len, ret_id) : GW_BADADDRESS;
}

int gw_flip_broadcast(struct gw_flip *f, unsigned hops, const void *data, size_t len)
{
	struct gwc_raw_to raw = { .hops = hops };

	return send_to(f, &raw, data, len, NULL);
}

int gw_flip_receive(struct gw_flip *f, struct gw_flip_event *ret, void *buf, size_t size, int timeout_ms)
{
	uint64_t deadline_us = now_us() + (uint64_t)MAX(timeout_ms, 0) * 1000;
	struct event *ev;

	if (!buf && size)
		return GW_BADADDRESS;
	while (!(ev = f->events)) {
		uint64_t left_us = deadline_us - MIN(now_us(), deadline_us);
		int err = gwc_wait(f->c, timeout_ms < 0 ? -1 : (int)((left_us + 999) / 1000));

		if (err == -ECONNRESET)
			return GW_FAILURE;
		if (err == -EINTR)
			return GW_ABORTED;
		if (err == -ETIMEDOUT)
			return GW_TRYAGAIN;
	}
	f->events = ev->next;
	if (!f->events)
		f->events_end = &f->events;
	*ret = ev->e;
	if (size)
		memcpy(buf, ev->data, MIN(size, ev->e.len));
	free(ev);
	return GW_OK;
}
