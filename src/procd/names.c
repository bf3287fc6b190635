/* SPDX-License-Identifier: Apache-2.0 */
#include "procd/names.h"

#include <stdio.h>
#include <string.h>

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool name_is_valid(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > NAME_MAX_LEN || !is_alnum(name[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_alnum(name[i]) && name[i] != '.' && name[i] != '_' && name[i] != '-')
			return false;
	return true;
}

void name_make(char ret[NAME_MAX_LEN + 1], const char *command, const char *host, uint32_t random)
{
	const char *slash = strrchr(command, '/');
	const char *base = slash ? slash + 1 : command;
	char clean[21], tail[6] = { 0 };
	size_t n = 0;

	for (; *base && n < sizeof clean - 1; base++)
		if (is_alnum(*base) || (n && (*base == '.' || *base == '_' || *base == '-')))
			clean[n++] = *base;
	clean[n] = '\0';
	for (size_t i = 0; i < sizeof tail - 1; i++, random /= 36)
		tail[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[random % 36];
	(void)snprintf(ret, NAME_MAX_LEN + 1, "%s-%.20s-%s", n ? clean : "job", host, tail);
}

bool migration_id_is_valid(const char *id)
{
	if (strlen(id) != 32)
		return false;
	return strspn(id, "0123456789abcdef") == 32;
}
