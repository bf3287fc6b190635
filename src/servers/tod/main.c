/* SPDX-License-Identifier: Apache-2.0 */
/* tod: the time of day, by the clock of the host where it is. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "servers/server.h"

static int no_secret(struct server *s, uint64_t object, uint8_t ret[GW_CHECK_LEN])
{
	(void)s;
	(void)object;
	(void)ret;
	return -ENOENT;
}

static int handle(struct server *s, struct request *r)
{
	int status = server_check(s, &r->hdr->priv, 0, NULL);
	struct timespec t;

	if (r->hdr->command != GW_TOD_GETTIME)
		return GW_STD_COMBAD;
	if (status != GW_OK)
		return status;
	(void)clock_gettime(CLOCK_REALTIME, &t);
	r->rep.offset = (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
	return GW_OK;
}

static int info(struct server *s, const struct gw_private *priv, char *text, size_t size)
{
	(void)s;
	(void)priv;
	(void)snprintf(text, size, "time of day");
	return GW_OK;
}

int main(int argc, char **argv)
{
	static const struct server_ops ops = {
		.name = "tod",
		.doc = "Tells the time of day to whoever has its capability, which it prints.",
		.secret = no_secret,
		.handle = handle,
		.info = info,
	};

	return server_main(&ops, argc, argv);
}
