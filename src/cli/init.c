/* SPDX-License-Identifier: Apache-2.0 */
/* `godwit init`: the keys of a new cluster, or of a new host in one. */
#include <argp.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/cli.h"
#include "godwit.h"
#include "lib/keys.h"

struct args {
	const char *name, *etc, *cluster;
};

static const struct argp_option options[] = {
	{ "name", 'n', "NAME", 0, "This host's name in the cluster (default: its host name)", 0 },
	{ "etc", 'e', "DIR", 0, "Where the keys go (default: $GODWIT_ETC or /etc/godwit)", 0 },
	{ "cluster", 'c', "FILE", 0, "Join the cluster whose cluster.key this is, instead of making a new one",
	  0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct args *a = state->input;

	switch (key) {
	case 'n':
		a->name = arg;
		return 0;
	case 'e':
		a->etc = arg;
		return 0;
	case 'c':
		a->cluster = arg;
		return 0;
	case ARGP_KEY_ARG:
		argp_usage(state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = "Make the keys that this host needs: cluster.key, host.key, and its line in hosts.\v"
	       "All hosts of a cluster share cluster.key and hosts. To add a host: copy cluster.key to it over a "
	       "safe way, "
	       "run godwit init there, and add the line that it prints to the hosts file of every host. To revoke "
	       "a host: "
	       "remove its line everywhere and send SIGHUP to flipd.",
};

static int print_line(void *arg, const char *name, const uint8_t public[SEAL_KEY_LEN], struct err *e)
{
	char hex[2 * SEAL_KEY_LEN + 1];

	(void)e;
	if (!strcmp(name, arg))
		printf("%s %s\n", name, sodium_bin2hex(hex, sizeof(hex), public, SEAL_KEY_LEN));
	return 0;
}

int cmd_init(int argc, char **argv)
{
	const char *etc = getenv("GODWIT_ETC");
	char host[GW_HOST_MAX] = "";
	struct args a = { .name = host, .etc = etc && *etc ? etc : "/etc/godwit" };
	_cleanup_free_ char *hosts = NULL;
	uint8_t key[SEAL_KEY_LEN];
	struct err e = { 0 };
	int err = 0;

	(void)gethostname(host, sizeof(host) - 1);
	argp_err_exit_status = CLI_USAGE;
	if (argp_parse(&argp, argc, argv, 0, NULL, &a) != 0)
		return CLI_USAGE;
	if (sodium_init() < 0)
		return cli_fail(CLI_FAILED, "libsodium does not start");
	if (mkdir(a.etc, 0755) < 0 && errno != EEXIST)
		return cli_fail(CLI_FAILED, "cannot make %s: %s", a.etc, strerror(errno));
	if (a.cluster)
		err = keys_read(a.cluster, key, &e);
	if (!err)
		err = keys_make(a.etc, a.name, a.cluster ? key : NULL, &e);
	sodium_memzero(key, sizeof(key));
	hosts = xasprintf("%s/hosts", a.etc);
	if (!err)
		err = keys_hosts_read(hosts, print_line, (void *)(uintptr_t)a.name, &e);
	return err ? cli_fail(CLI_FAILED, "%s", err_text(&e)) : CLI_OK;
}
