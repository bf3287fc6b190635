/* SPDX-License-Identifier: Apache-2.0 */
/* Files of `key = value` lines, what procd makes of one, and the hosts file. */
#include "base/conf.h"
#include "cage.h"
#include "fuzz.h"
#include "lib/keys.h"
#include "procd/policy.h"
#include "procd/settings.h"

#define CONF "/tmp/godwit.conf"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	cage_close();
	return setenv("GODWIT_ETC", "/tmp", 1);
}

static int take_host(void *arg, const char *name, const uint8_t public[SEAL_KEY_LEN], struct err *e)
{
	(void)e;
	*(size_t *)arg += strlen(name) + public[SEAL_KEY_LEN - 1];
	return 0;
}

static void settings(const uint8_t *data, size_t size)
{
	int fd = open(CONF, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct settings s;
	struct err e = { 0 };

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	(void)close(fd);
	if (settings_load(&s, &e) < 0)
		return;
	(void)settings_trusts(&s, "10.1.2.3");
	(void)settings_trusts(&s, "fd12::1");
	(void)policy_trusts(&s, "h1");
	(void)policy_admits(&s, "h1", 1000);
	(void)policy_admits(&s, "h2", 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64], buf[64];
	int fd = fuzz_file(data, size, path);
	uint8_t key[SEAL_KEY_LEN];
	struct conf *c = NULL;
	struct err e = { 0 };
	uint64_t number;
	size_t sum = 0;

	if (!conf_load(path, &c, &e)) {
		static const char *const keys[] = { "name", "trusted", "peers", "n" };

		for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
			(void)!conf_number(c, keys[i], 0, &number, &e);
			for (size_t k = 0; k < 8; k++)
				if (conf_element(c, keys[i], k, buf, i ? sizeof buf : 3))
					sum += strlen(buf);
		}
	}
	conf_free(c);
	(void)!keys_read(path, key, &e);
	(void)!keys_hosts_read(path, take_host, &sum, &e);
	(void)close(fd);
	settings(data, size);
	return 0;
}
