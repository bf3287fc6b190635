/* SPDX-License-Identifier: Apache-2.0 */
/*
 * procd@NAME is served by the host NAME and by nobody else: whoever could say HEREIS for it would be given the
 * requests of users and of other process servers. Other well-known ports move, or are anybody's root's.
 */
#include "flipd/flipd.h"

#include <stdio.h>
#include <string.h>

#include "flip/packet.h"

static struct gw_port port_of(const char *host)
{
	char name[GW_HOST_MAX + 8];

	(void)snprintf(name, sizeof name, "procd@%s", host);
	return gw_port_from_name(name);
}

/* A location keeps its name as long as flipd lives. */
static void learn(struct flipd *d)
{
	for (uint32_t n = peers_count(d->peers); d->n_procds <= n; d->n_procds++)
		d->procds[d->n_procds] = port_of(d->n_procds ? peers_name(d->peers, d->n_procds) : d->name);
}

bool ports_may_serve(struct flipd *d, uint32_t loc, const struct gw_port *port)
{
	learn(d);
	if (loc < d->n_procds && !memcmp(port, &d->procds[loc], sizeof *port))
		return true;
	for (uint32_t i = 0; i < d->n_procds; i++)
		if (!memcmp(port, &d->procds[i], sizeof *port))
			return false;
	return true;
}

bool ports_is_lie(struct flipd *d, uint32_t loc, const uint8_t *packet, size_t len)
{
	const uint8_t *data;
	struct flip_hdr h;
	struct gw_port port;

	if (flip_hdr_decode(&h, packet, len, &data) < 0 || h.type != FLIP_HEREIS || !(h.flags & FLIP_F_PORT) ||
	    h.length != sizeof port)
		return false;
	memcpy(&port, data, sizeof port);
	return !ports_may_serve(d, loc, &port);
}
