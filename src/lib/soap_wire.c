/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/soap_wire.h"

void soap_put_name(struct wire_out *w, const char *name)
{
	size_t len = strlen(name);

	w->bad |= !len || len > GW_SP_NAME_MAX;
	wire_put_u8(w, (uint8_t)len);
	wire_put_bytes(w, name, len);
}

void soap_get_name(struct wire_in *w, char ret[GW_SP_NAME_MAX + 1])
{
	size_t len = wire_get_u8(w);
	const uint8_t *p = wire_skip(w, len);

	*ret = '\0';
	if (!p || memchr(p, '\0', len)) {
		w->bad = true;
		return;
	}
	memcpy(ret, p, len);
	ret[len] = '\0';
}

void soap_put_masks(struct wire_out *w, const struct gw_sp_masks *masks)
{
	for (unsigned i = 0; i < GW_SP_COLUMNS; i++)
		wire_put_u32(w, masks->columns[i]);
}

void soap_get_masks(struct wire_in *w, struct gw_sp_masks *ret)
{
	for (unsigned i = 0; i < GW_SP_COLUMNS; i++)
		ret->columns[i] = wire_get_u32(w);
}

size_t soap_set_len(const struct gw_capset *set)
{
	return 1 + (size_t)set->n * GW_CAP_LEN;
}

void soap_put_set(struct wire_out *w, const struct gw_capset *set)
{
	uint8_t cap[GW_CAP_LEN];

	w->bad |= set->n > GW_CAPSET_MAX;
	wire_put_u8(w, (uint8_t)set->n);
	for (unsigned i = 0; i < set->n && !w->bad; i++) {
		gw_cap_encode(&set->caps[i], cap);
		wire_put_bytes(w, cap, sizeof cap);
	}
}

void soap_get_set(struct wire_in *w, struct gw_capset *ret)
{
	unsigned n = wire_get_u8(w);

	*ret = (struct gw_capset) { 0 };
	w->bad |= n > GW_CAPSET_MAX;
	for (unsigned i = 0; i < n && !w->bad; i++) {
		const uint8_t *p = wire_skip(w, GW_CAP_LEN);

		if (p)
			gw_cap_decode(&ret->caps[ret->n++], p);
	}
}
