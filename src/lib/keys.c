/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/keys.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "godwit.h"

#define HEX_LEN (2 * SEAL_KEY_LEN)

static bool parse_key(uint8_t key[SEAL_KEY_LEN], const char *hex, size_t len)
{
	size_t n;

	return len == HEX_LEN && sodium_hex2bin(key, SEAL_KEY_LEN, hex, len, NULL, &n, NULL) == 0 &&
	       n == SEAL_KEY_LEN;
}

int keys_read(const char *path, uint8_t ret_key[SEAL_KEY_LEN], struct err *e)
{
	char *text = NULL;
	ssize_t n = fd_slurp(AT_FDCWD, path, 1024, &text);
	uint8_t key[SEAL_KEY_LEN];
	bool ok;

	if (n < 0)
		return err_code(e, (int)n, "cannot read %s", path);
	while (n && isspace((unsigned char)text[n - 1]))
		n--;
	ok = parse_key(key, text, (size_t)n);
	sodium_memzero(text, (size_t)n);
	cleanup_free(&text);
	if (!ok)
		return err_set(e, -EINVAL, "%s: not a key", path);
	memcpy(ret_key, key, SEAL_KEY_LEN);
	sodium_memzero(key, sizeof(key));
	return 0;
}

int keys_write(const char *path, const uint8_t key[SEAL_KEY_LEN], struct err *e)
{
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char hex[HEX_LEN + 1];
	int err;

	if (fd < 0)
		return err_errno(e, "cannot write %s", path);
	sodium_bin2hex(hex, sizeof(hex), key, SEAL_KEY_LEN);
	hex[HEX_LEN] = '\n';
	err = fd_write_full(fd, hex, sizeof(hex));
	sodium_memzero(hex, sizeof(hex));
	return err ? err_code(e, err, "cannot write %s", path) : 0;
}

bool keys_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len && len < GW_HOST_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == len;
}

static int read_line(char *line, const char *path, unsigned number, keys_host_fn *fn, void *arg, struct err *e)
{
	uint8_t key[SEAL_KEY_LEN];
	char *save = NULL, *name, *hex;

	line[strcspn(line, "#")] = '\0';
	name = strtok_r(line, " \t\r", &save);
	if (!name)
		return 0;
	hex = strtok_r(NULL, " \t\r", &save);
	if (!hex || strtok_r(NULL, " \t\r", &save) || !keys_name_ok(name) || !parse_key(key, hex, strlen(hex)))
		return err_set(e, -EINVAL, "%s:%u: not a host's name and key", path, number);
	return fn(arg, name, key, e);
}

int keys_hosts_parse(char *text, const char *path, keys_host_fn *fn, void *arg, struct err *e)
{
	unsigned number = 0;
	char *rest = text, *line;

	while ((line = strsep(&rest, "\n"))) {
		int err = read_line(line, path, ++number, fn, arg, e);

		if (err < 0)
			return err;
	}
	return 0;
}

int keys_hosts_read(const char *path, keys_host_fn *fn, void *arg, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = fd_slurp(AT_FDCWD, path, KEYS_HOSTS_MAX, &text);

	if (n < 0)
		return err_code(e, (int)n, "cannot read %s", path);
	return keys_hosts_parse(text, path, fn, arg, e);
}

int keys_hosts_add(const char *path, const char *name, const uint8_t public[SEAL_KEY_LEN], struct err *e)
{
	_cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	char hex[HEX_LEN + 1];
	_cleanup_free_ char *line = NULL;
	int err;

	if (fd < 0)
		return err_errno(e, "cannot write %s", path);
	sodium_bin2hex(hex, sizeof(hex), public, SEAL_KEY_LEN);
	line = xasprintf("%s %s\n", name, hex);
	err = fd_write_full(fd, line, strlen(line));
	return err ? err_code(e, err, "cannot write %s", path) : 0;
}

struct seek {
	const char *name;
	const uint8_t *public;
	bool found;
};

static int seek_host(void *arg, const char *name, const uint8_t public[SEAL_KEY_LEN], struct err *e)
{
	struct seek *s = arg;
	bool same_name = !strcmp(name, s->name), same_key = !memcmp(public, s->public, SEAL_KEY_LEN);

	if (same_name != same_key)
		return err_set(e, -EEXIST, "the hosts file has another %s for %s", same_name ? "key" : "name",
			       name);
	s->found |= same_name;
	return 0;
}

static int make_hosts(const char *path, const char *name, const uint8_t public[SEAL_KEY_LEN], struct err *e)
{
	struct seek s = { .name = name, .public = public };

	if (access(path, F_OK) == 0) {
		int err = keys_hosts_read(path, seek_host, &s, e);

		if (err)
			return err;
	}
	return s.found ? 0 : keys_hosts_add(path, name, public, e);
}

/* Reads a key, or writes the proposed one if there is no file. */
static int read_or_write(const char *path, uint8_t key[SEAL_KEY_LEN], struct err *e)
{
	int err = keys_write(path, key, e);

	return err == -EEXIST ? keys_read(path, key, e) : err;
}

int keys_make(const char *etc, const char *name, const uint8_t *cluster, struct err *e)
{
	_cleanup_free_ char *cluster_path = xasprintf("%s/cluster.key", etc);
	_cleanup_free_ char *host_path = xasprintf("%s/host.key", etc);
	_cleanup_free_ char *hosts_path = xasprintf("%s/hosts", etc);
	uint8_t key[SEAL_KEY_LEN];
	struct seal_pair own;
	int err;

	if (!keys_name_ok(name))
		return err_set(e, -EINVAL, "'%s' cannot be a host's name", name);
	randombytes_buf(key, sizeof(key));
	if (cluster)
		memcpy(key, cluster, sizeof(key));
	err = read_or_write(cluster_path, key, e);
	if (!err && cluster && sodium_memcmp(key, cluster, sizeof(key)) != 0)
		err = err_set(e, -EEXIST, "%s holds another cluster's key", cluster_path);
	sodium_memzero(key, sizeof(key));
	seal_pair_random(&own);
	if (!err)
		err = read_or_write(host_path, own.secret, e);
	seal_pair_from_secret(&own, own.secret);
	if (!err)
		err = make_hosts(hosts_path, name, own.public, e);
	sodium_memzero(&own, sizeof(own));
	return err;
}
