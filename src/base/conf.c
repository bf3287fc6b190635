/* SPDX-License-Identifier: Apache-2.0 */
#include "base/conf.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/util.h"

struct entry {
	const char *key, *value;
};

struct conf {
	char *text;
	struct entry *entries;
	size_t n;
};

char *conf_path(const char *name)
{
	const char *dir = getenv("GODWIT_ETC");

	return xasprintf("%s/%s", dir && *dir ? dir : "/etc/godwit", name);
}

static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return s;
}

static int parse_line(struct conf *c, char *line, unsigned number, struct err *e)
{
	char *hash = strchr(line, '#'), *equals;

	if (hash)
		*hash = '\0';
	line = trim(line);
	if (!*line)
		return 0;
	equals = strchr(line, '=');
	if (!equals || equals == line)
		return err_set(e, -EINVAL, "line %u: not `key = value`", number);
	*equals = '\0';
	c->entries = xrealloc(c->entries, (c->n + 1) * sizeof *c->entries);
	c->entries[c->n].key = trim(line);
	c->entries[c->n].value = trim(equals + 1);
	c->n++;
	return 0;
}

int conf_load(const char *path, struct conf **ret, struct err *e)
{
	struct conf *c = xcalloc(1, sizeof *c);
	unsigned number = 0;
	char *next, *line;
	ssize_t len = fd_slurp(AT_FDCWD, path, CONF_FILE_MAX, &c->text);
	int r = 0;

	if (len == -ENOENT) {
		*ret = c;
		return 0;
	}
	if (len < 0) {
		conf_free(c);
		return err_code(e, (int)len, "cannot read %s", path);
	}
	next = c->text;
	while (!r && (line = strsep(&next, "\n")))
		r = parse_line(c, line, ++number, e);
	if (r < 0) {
		conf_free(c);
		return err_wrap(e, "%s", path);
	}
	*ret = c;
	return 0;
}

void conf_free(struct conf *c)
{
	if (!c)
		return;
	free(c->entries);
	free(c->text);
	free(c);
}

const char *conf_string(const struct conf *c, const char *key, const char *fallback)
{
	for (size_t i = c->n; i > 0; i--)
		if (!strcmp(c->entries[i - 1].key, key))
			return c->entries[i - 1].value;
	return fallback;
}

int conf_number(const struct conf *c, const char *key, uint64_t fallback, uint64_t *ret, struct err *e)
{
	const char *text = conf_string(c, key, NULL);
	unsigned shift = 0;
	uint64_t n;
	char *end;

	if (!text) {
		*ret = fallback;
		return 0;
	}
	errno = 0;
	n = strtoull(text, &end, 10);
	shift = *end == 'k' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
	if (shift)
		end++;
	if (errno || end == text || *end || *text == '-' || n > UINT64_MAX >> shift)
		return err_set(e, -EINVAL, "%s = %s: not a number", key, text);
	*ret = n << shift;
	return 0;
}

const char *conf_element(const struct conf *c, const char *key, size_t i, char *buf, size_t size)
{
	const char *at = conf_string(c, key, "");

	for (;;) {
		size_t len = strcspn(at, ",");

		if (!i) {
			if (!len || len >= size)
				return NULL;
			memcpy(buf, at, len);
			buf[len] = '\0';
			at = trim(buf);
			memmove(buf, at, strlen(at) + 1);
			return *buf ? buf : NULL;
		}
		if (!at[len])
			return NULL;
		at += len + 1;
		i--;
	}
}
