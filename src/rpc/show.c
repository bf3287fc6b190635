/* SPDX-License-Identifier: Apache-2.0 */
/* The RPC core as it is, for people to look at. */
#include "rpc/core.h"

#include "base/util.h"

static struct rpc_ep_info info_of(struct rpc *r, const struct rpc_ep *ep)
{
	struct rpc_ep_info info = {
		.owner = ep->owner,
		.number = ep->number,
		.inc = ep->flip->inc,
		.addr = ep->flip->addr,
		.busy = ep->flip->state == FLIP_EP_BUSY,
		.ghost = ep->flip->state == FLIP_EP_GHOST,
		.held = ep->n_held,
		.replied = ep->n_serves - ep->n_held,
		.clients = ep->clients.n,
		.ports = ep->n_ports,
	};
	const struct client *c;
	const struct trans *t;
	const struct serve *s;

	TAILQ_FOREACH (t, &ep->trans, by_tid) {
		info.calling++;
		info.locating += t->state == TRANS_LOCATE;
		info.waiting += t->state == TRANS_WAIT;
		info.sending += t->messid && flip_sending(r->flip, ep->flip, t->messid);
	}
	TAILQ_FOREACH (c, &ep->client_lru, lru) {
		LIST_FOREACH (s, &c->serves, list)
			info.sending += s->messid && flip_sending(r->flip, ep->flip, s->messid);
	}
	return info;
}

void rpc_each_ep(struct rpc *r, void (*fn)(void *ctx, const struct rpc_ep_info *info), void *ctx)
{
	const struct rpc_ep *ep;

	LIST_FOREACH (ep, &r->eps, list) {
		struct rpc_ep_info info = info_of(r, ep);

		fn(ctx, &info);
	}
}

void rpc_each_port(struct rpc *r,
		   void (*fn)(void *ctx, const struct gw_port *put, flip_addr addr, const void *owner, bool here),
		   void *ctx)
{
	const struct rpc_ep *ep;
	const struct port *p;

	LIST_FOREACH (ep, &r->eps, list) {
		LIST_FOREACH (p, &ep->ports, ep_list)
			fn(ctx, &p->port, ep->flip->addr, ep->owner, true);
	}
	TAILQ_FOREACH (p, &r->port_lru, lru)
		fn(ctx, &p->port, p->addr, NULL, false);
}
