/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that a flipd carries is sealed, and no box on the way can read it: what a message can meet that is
 * not trusted is the root of its receiver's host. He is if root_from names his host without naming users.
 */
#include "flipd/flipd.h"

#include <string.h>

static bool is_named(const struct conf *conf, const char *host)
{
	char buf[GW_HOST_MAX + 1];
	const char *entry;

	for (size_t i = 0; (entry = conf_element(conf, "root_from", i, buf, sizeof(buf))); i++) {
		if (!strcmp(entry, "*") || !strcmp(entry, host))
			return true;
	}
	return false;
}

bool trusts_host(const struct flipd *d, uint32_t loc)
{
	return loc == FLIP_LOC_HERE || (loc <= PEERS_MAX && is_named(d->conf, peers_name(d->peers, loc)));
}
