/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities and rights as text. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "godwit.h"

#define PREFIX "gwcap:"

_Static_assert(sizeof PREFIX + 2 * GW_PORT_LEN + 1 + 16 + 1 + 8 + 1 + 2 * GW_CHECK_LEN <= GW_CAP_TEXT_MAX, "fits");

static char *put_bytes(char *to, const uint8_t *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*to++ = digits[bytes[i] >> 4];
		*to++ = digits[bytes[i] & 15];
	}
	return to;
}

void gw_cap_print(const struct gw_cap *cap, char ret_text[GW_CAP_TEXT_MAX])
{
	char *at = put_bytes(ret_text + sprintf(ret_text, PREFIX), cap->port.bytes, GW_PORT_LEN);

	at += sprintf(at, ":%016" PRIx64 ":%08" PRIx32 ":", cap->priv.object, cap->priv.rights);
	*put_bytes(at, cap->priv.check, GW_CHECK_LEN) = '\0';
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Exactly 2n digits, then `end`. NULL stays NULL. */
static const char *get_bytes(const char *from, uint8_t *bytes, size_t n, char end)
{
	for (size_t i = 0; from && i < n; i++, from += 2) {
		if (digit(from[0]) < 0 || digit(from[1]) < 0)
			return NULL;
		bytes[i] = (uint8_t)(digit(from[0]) << 4 | digit(from[1]));
	}
	return from && (end == *from || (!end && strspn(from, " \t\r\n") == strlen(from))) ? from + 1 : NULL;
}

int gw_cap_parse(const char *text, struct gw_cap *ret_cap)
{
	uint8_t object[8], rights[4];
	struct gw_cap cap = { 0 };

	text += strspn(text, " \t\r\n");
	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0)
		return GW_STD_ARGBAD;
	text = get_bytes(text + strlen(PREFIX), cap.port.bytes, GW_PORT_LEN, ':');
	text = get_bytes(text, object, sizeof object, ':');
	text = get_bytes(text, rights, sizeof rights, ':');
	if (!get_bytes(text, cap.priv.check, GW_CHECK_LEN, '\0'))
		return GW_STD_ARGBAD;
	for (size_t i = 0; i < sizeof object; i++)
		cap.priv.object = cap.priv.object << 8 | object[i];
	for (size_t i = 0; i < sizeof rights; i++)
		cap.priv.rights = cap.priv.rights << 8 | rights[i];
	*ret_cap = cap;
	return GW_OK;
}

static const struct {
	uint32_t right;
	const char *name;
} names[] = {
	{ GW_PSR_READ, "read" },       { GW_PSR_WRITE, "write" }, { GW_PSR_CHECKPOINT, "checkpoint" },
	{ GW_PSR_DELETE, "delete" },   { GW_PSR_KILL, "kill" },	  { GW_PSR_STUN, "stun" },
	{ GW_PSR_MIGRATE, "migrate" }, { GW_PSR_OWNER, "owner" }, { GW_PSR_OUTPUT, "output" },
	{ GW_PSR_ATTACH, "attach" },   { GW_RIGHTS_ALL, "all" },
};

static int parse_one(const char *word, size_t len, uint32_t *rights)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strlen(names[i].name) != len || strncmp(names[i].name, word, len) != 0)
			continue;
		*rights |= names[i].right;
		return GW_OK;
	}
	return GW_STD_ARGBAD;
}

int gw_rights_parse(const char *text, uint32_t *ret_rights)
{
	uint32_t rights = 0;
	unsigned long n;
	char *end;

	if (*text >= '0' && *text <= '9') {
		errno = 0;
		n = strtoul(text, &end, 0);
		if (errno || *end || n > UINT32_MAX)
			return GW_STD_ARGBAD;
		*ret_rights = (uint32_t)n;
		return GW_OK;
	}
	for (;;) {
		size_t len = strcspn(text, ",");

		if (parse_one(text, len, &rights) != GW_OK)
			return GW_STD_ARGBAD;
		if (!text[len])
			break;
		text += len + 1;
	}
	*ret_rights = rights;
	return GW_OK;
}

void gw_rights_print(uint32_t rights, char ret_text[GW_RIGHTS_TEXT_MAX])
{
	size_t len = 0;

	*ret_text = '\0';
	if (rights == GW_RIGHTS_ALL) {
		(void)snprintf(ret_text, GW_RIGHTS_TEXT_MAX, "all");
		return;
	}
	for (size_t i = 0; i + 1 < ARRAY_LEN(names); i++) {
		if (!(rights & names[i].right))
			continue;
		rights &= ~names[i].right;
		len += (size_t)snprintf(ret_text + len, GW_RIGHTS_TEXT_MAX - len, "%s%s", len ? "," : "",
					names[i].name);
	}
	if (rights || !len)
		(void)snprintf(ret_text + len, GW_RIGHTS_TEXT_MAX - len, "%s0x%" PRIx32, len ? "," : "", rights);
}
