/* SPDX-License-Identifier: Apache-2.0 */
/* Ports and capabilities: what of godwit.h is arithmetic. */
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "base/util.h"
#include "base/wire.h"
#include "godwit.h"

/* The first bit tells a well-known port, which is its own image under F, from all others. */
#define WELL_KNOWN 0x80

static void hash(uint8_t out[16], const char *domain, const void *in, size_t len)
{
	crypto_generichash(out, 16, in, len, (const uint8_t *)domain, strlen(domain));
}

void gw_port_random(struct gw_port *ret_get)
{
	randombytes_buf(ret_get->bytes, GW_PORT_LEN);
	ret_get->bytes[0] &= (uint8_t)~WELL_KNOWN;
}

int gw_port_is_well_known(const struct gw_port *port)
{
	return port->bytes[0] & WELL_KNOWN ? 1 : 0;
}

int gw_port_is_null(const struct gw_port *port)
{
	static const struct gw_port null;

	return !memcmp(port, &null, sizeof(null));
}

void gw_port_publish(const struct gw_port *get, struct gw_port *ret_put)
{
	struct gw_port put = *get;

	if (!gw_port_is_null(get) && !gw_port_is_well_known(get)) {
		hash(put.bytes, "godwit get-port", get->bytes, GW_PORT_LEN);
		put.bytes[0] &= (uint8_t)~WELL_KNOWN;
	}
	*ret_put = put;
}

struct gw_port gw_port_from_name(const char *name)
{
	struct gw_port port;

	hash(port.bytes, "godwit well-known port", name, strlen(name));
	port.bytes[0] |= WELL_KNOWN;
	return port;
}

void gw_secret_random(uint8_t ret_secret[GW_CHECK_LEN])
{
	randombytes_buf(ret_secret, GW_CHECK_LEN);
}

/* All rights: the secret itself is the check. Fewer: a keyed hash of them, from which nobody gets back. */
static void check_of(uint8_t out[GW_CHECK_LEN], uint64_t object, uint32_t rights,
		     const uint8_t secret[GW_CHECK_LEN])
{
	uint8_t in[12];
	struct wire_out w = wire_out(in, sizeof(in));

	if (rights == GW_RIGHTS_ALL) {
		memcpy(out, secret, GW_CHECK_LEN);
		return;
	}
	wire_put_u64(&w, object);
	wire_put_u32(&w, rights);
	crypto_generichash(out, GW_CHECK_LEN, in, sizeof(in), secret, GW_CHECK_LEN);
}

void gw_private_make(struct gw_private *ret, uint64_t object, uint32_t rights, const uint8_t secret[GW_CHECK_LEN])
{
	ret->object = object;
	ret->rights = rights;
	check_of(ret->check, object, rights, secret);
}

int gw_private_check(const struct gw_private *priv, const uint8_t secret[GW_CHECK_LEN], uint32_t *ret_rights)
{
	uint8_t want[GW_CHECK_LEN];

	check_of(want, priv->object, priv->rights, secret);
	if (sodium_memcmp(want, priv->check, sizeof(want)) != 0)
		return GW_STD_CAPBAD;
	*ret_rights = priv->rights;
	return GW_OK;
}

int gw_cap_restrict(const struct gw_cap *cap, uint32_t mask, struct gw_cap *ret_cap)
{
	struct gw_cap out = *cap;

	if (cap->priv.rights != GW_RIGHTS_ALL)
		return GW_STD_DENIED;
	gw_private_make(&out.priv, cap->priv.object, mask, cap->priv.check);
	*ret_cap = out;
	return GW_OK;
}

const char *gw_strerror(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {
		{ GW_OK, "done" },
		{ GW_FAILURE, "the server was lost; it is unknown whether the request was executed" },
		{ GW_NOTFOUND, "no server was found" },
		{ GW_BADADDRESS, "impossible buffer or length" },
		{ GW_ABORTED, "broken off before a server had the request" },
		{ GW_TRYAGAIN, "out of resources, try again" },
		{ GW_BADPORT, "the port is null or may not be served by this user" },
		{ GW_UNSAFE, "the host of the receiver is not trusted" },
		{ GW_STD_CAPBAD, "bad capability" },
		{ GW_STD_COMBAD, "unknown command" },
		{ GW_STD_ARGBAD, "bad argument" },
		{ GW_STD_NOTNOW, "not now" },
		{ GW_STD_NOSPACE, "no space" },
		{ GW_STD_DENIED, "denied" },
		{ GW_STD_NOMEM, "no memory" },
		{ GW_STD_EXISTS, "exists" },
		{ GW_STD_NOTFOUND, "not found" },
		{ GW_STD_SYSERR, "system error" },
		{ GW_STD_INTR, "interrupted" },
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (texts[i].status == status)
			return texts[i].text;
	}
	return "unknown status";
}
