/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quotas. Every local program may talk to flipd, and one user's programs must not take from others what flipd has:
 * descriptors, addresses, memory, time.
 *
 * What a user sends is on his account from the header of a frame, which says how long it will be, until nobody
 * needs it any more: his request may wait for its server to be found, for the server to read it, or for the reply.
 * The account is tied to the buffer, so that it does not matter who holds it. What he has not read is his too,
 * whoever sent it. Over his quota a request is answered with GW_TRYAGAIN; replies may go to twice that, since they
 * end requests. Time is given in turns: what is left over of a turn's bytes waits in his sockets while others have
 * theirs.
 *
 * Root has no quota: its programs are process servers, and who could not trust them is lost anyway.
 */
#include "flipd/flipd.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/util.h"

#define TURN_BYTES (1u << 20)

int quota_load(struct quotas *q, const struct conf *c, struct err *e)
{
	int r = conf_number(c, "user_connections", 256, &q->connections, e);

	if (!r)
		r = conf_number(c, "user_endpoints", 1024, &q->endpoints, e);
	if (!r)
		r = conf_number(c, "user_calls", 4096, &q->calls, e);
	if (!r)
		r = conf_number(c, "user_bytes", 128u << 20, &q->bytes, e);
	return r;
}

struct user *quota_user(struct local *l, uid_t uid)
{
	struct user *u;

	LIST_FOREACH (u, &l->users, list)
		if (u->uid == uid)
			break;
	if (!u) {
		u = xcalloc(1, sizeof *u);
		u->uid = uid;
		u->quotas = &l->quotas;
		LIST_INSERT_HEAD(&l->users, u, list);
	}
	u->refs++;
	return u;
}

void quota_unref(struct user *u)
{
	if (--u->refs)
		return;
	LIST_REMOVE(u, list);
	free(u);
}

bool quota_may_connect(const struct user *u)
{
	return !u->uid || u->n_conns < u->quotas->connections;
}

bool quota_may_open(const struct user *u)
{
	return !u->uid || u->n_eps < u->quotas->endpoints;
}

bool quota_may_send(const struct user *u, bool request, size_t len)
{
	uint64_t most = request ? u->quotas->bytes : 2 * u->quotas->bytes;

	return !u->uid || (u->in_bytes + len <= most && (!request || u->n_calls < u->quotas->calls));
}

bool quota_may_receive(const struct user *u, size_t len)
{
	return !u->uid || u->out_bytes + len <= u->quotas->bytes;
}

static void on_request_released(void *arg, size_t charge)
{
	struct user *u = arg;

	u->n_calls--;
	u->in_bytes -= charge;
	quota_unref(u);
}

static void on_released(void *arg, size_t charge)
{
	struct user *u = arg;

	u->in_bytes -= charge;
	quota_unref(u);
}

void quota_charge(struct user *u, bool request, struct buf *b)
{
	b->released = request ? on_request_released : on_released;
	b->arg = u;
	b->charge = b->len;
	u->refs++;
	u->n_calls += request;
	u->in_bytes += b->charge;
}

bool quota_turn(struct user *u, uint64_t ms, size_t bytes)
{
	if (!u->uid)
		return true;
	if (u->turn_ms != ms) {
		u->turn_ms = ms;
		u->turn = 0;
	}
	u->turn += bytes;
	return u->turn < TURN_BYTES;
}
