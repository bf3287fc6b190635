/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each user of each host takes up at an endpoint: requests that it holds for him, and windows of his clients.
 * A server that one user could fill would refuse all others. Of a host's users we know what its flipd says.
 *
 * A window that is forgotten too early would let a late copy of a request run again. So a user whose windows are
 * many is refused new clients, until one of his own has been silent for a while: a shorter one than windows are
 * kept otherwise, and it is his own request that might run twice.
 */
#include "rpc/core.h"

#include <stdlib.h>

#include "base/util.h"

#define SILENT_PART 10u

static uint64_t asker_hash(uint32_t loc, uint32_t uid)
{
	return hash_u64((uint64_t)loc << 32 | uid);
}

struct asker *asker_get(struct rpc_ep *ep, uint32_t loc, uint32_t uid)
{
	struct hnode *h = htab_first(&ep->askers, asker_hash(loc, uid));
	struct asker *a;

	for (; h; h = htab_next(h)) {
		a = container_of(h, struct asker, node);
		if (a->loc == loc && a->uid == uid)
			return a;
	}
	a = xcalloc(1, sizeof(*a));
	a->loc = loc;
	a->uid = uid;
	TAILQ_INIT(&a->clients);
	htab_add(&ep->askers, &a->node, asker_hash(loc, uid));
	return a;
}

void asker_reap(struct rpc_ep *ep, struct asker *a)
{
	if (a->n_clients || a->n_held)
		return;
	htab_del(&ep->askers, &a->node);
	free(a);
}

bool asker_has_room(struct rpc *r, struct rpc_ep *ep, struct asker *a)
{
	struct client *oldest = TAILQ_LAST(&a->clients, asker_lru);

	if (a->n_clients < r->config.clients_max / r->config.share)
		return true;
	if (!LIST_EMPTY(&oldest->serves) || r->now_us - oldest->heard_us < r->config.window_us / SILENT_PART)
		return false;
	client_drop(r, ep, oldest);
	return true;
}

void asker_add_client(struct asker *a, struct client *c)
{
	c->asker = a;
	a->n_clients++;
	TAILQ_INSERT_HEAD(&a->clients, c, of_asker);
}

void asker_drop_client(struct rpc_ep *ep, struct client *c)
{
	struct asker *a = c->asker;

	if (!a)
		return;
	c->asker = NULL;
	a->n_clients--;
	TAILQ_REMOVE(&a->clients, c, of_asker);
	asker_reap(ep, a);
}

void asker_hold(struct asker *a, struct serve *s)
{
	s->asker = a;
	a->n_held++;
}

void asker_unhold(struct rpc_ep *ep, struct serve *s)
{
	struct asker *a = s->asker;

	if (!a)
		return;
	s->asker = NULL;
	a->n_held--;
	asker_reap(ep, a);
}
