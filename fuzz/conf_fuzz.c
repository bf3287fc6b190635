/* SPDX-License-Identifier: Apache-2.0 */
/* Files of `key = value` lines, and the hosts file. */
#include "base/conf.h"
#include "fuzz.h"
#include "lib/keys.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return 0;
}

static int take_host(void *arg, const char *name, const uint8_t public[SEAL_KEY_LEN], struct err *e)
{
	(void)e;
	*(size_t *)arg += strlen(name) + public[SEAL_KEY_LEN - 1];
	return 0;
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
	return 0;
}
