/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/lab.h"
#include "lib/keys.h"

static char *etc_path(const struct lab *lab, unsigned int host, const char *file)
{
	return xasprintf("%s/h%u/etc%s", lab->dir, host, file);
}

static int take_public(void *arg, const char *name, const uint8_t public[SEAL_KEY_LEN], struct err *e)
{
	(void)name;
	(void)e;
	memcpy(arg, public, SEAL_KEY_LEN);
	return 0;
}

/* A host that is new knows one line only, its own. */
static int make_host(const struct lab *lab, unsigned int host, const uint8_t *cluster, uint8_t *public,
		     struct err *e)
{
	_cleanup_free_ char *etc = etc_path(lab, host, "");
	_cleanup_free_ char *hosts = etc_path(lab, host, "/hosts");
	_cleanup_free_ char *name = xasprintf("h%u", host);
	int r = keys_make(etc, name, cluster, e);

	return r < 0 ? r : keys_hosts_read(hosts, take_public, public, e);
}

static int introduce(const struct lab *lab, unsigned int to, const uint8_t (*publics)[SEAL_KEY_LEN], struct err *e)
{
	_cleanup_free_ char *hosts = etc_path(lab, to, "/hosts");
	int r = 0;

	for (unsigned int h = 1; r == 0 && h <= lab->hosts; h++) {
		_cleanup_free_ char *name = xasprintf("h%u", h);

		if (h != to)
			r = keys_hosts_add(hosts, name, publics[h], e);
	}
	return r;
}

int lab_make_keys(const struct lab *lab, struct err *e)
{
	_cleanup_free_ char *first = etc_path(lab, 1, "/cluster.key");
	uint8_t publics[LAB_HOSTS_MAX + 1][SEAL_KEY_LEN], cluster[SEAL_KEY_LEN];
	int r;

	if (sodium_init() < 0)
		return err_set(e, -EIO, "libsodium does not start");
	r = make_host(lab, 1, NULL, publics[1], e);
	if (r == 0)
		r = keys_read(first, cluster, e);
	for (unsigned int h = 2; r == 0 && h <= lab->hosts; h++)
		r = make_host(lab, h, cluster, publics[h], e);
	for (unsigned int h = 1; r == 0 && h <= lab->hosts; h++)
		r = introduce(lab, h, (const uint8_t(*)[SEAL_KEY_LEN])publics, e);
	sodium_memzero(cluster, sizeof cluster);
	return r;
}
