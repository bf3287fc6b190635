/* SPDX-License-Identifier: Apache-2.0 */
#include "procd/settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/conf.h"
#include "base/util.h"

#define LOG_BYTES_DEFAULT (16u << 20)
#define OWNER_PATIENCE_DEFAULT 60u
#define OWNER_PATIENCE_MAX 86400u
#define KEEP_EXITED_DEFAULT 600u
#define USER_JOBS_DEFAULT 256u
#define USER_REQUESTS_DEFAULT 512u
#define USER_OPERATIONS_DEFAULT 64u

/* IPv4 addresses in their IPv6 form (::ffff:a.b.c.d), so that there is one kind to compare. */
static bool parse_address(const char *text, unsigned char ret[16], bool *ret_v4)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (inet_pton(AF_INET, text, ret + 12) == 1) {
		memcpy(ret, mapped, sizeof mapped);
		*ret_v4 = true;
		return true;
	}
	*ret_v4 = false;
	return inet_pton(AF_INET6, text, ret) == 1;
}

static int parse_trusted(const char *text, struct trusted *t, struct err *e)
{
	char address[64], *slash, *end;
	unsigned long bits;
	bool v4;

	(void)snprintf(address, sizeof address, "%s", text);
	slash = strchr(address, '/');
	if (slash)
		*slash = '\0';
	if (!parse_address(address, t->bytes, &v4))
		return err_set(e, -EINVAL, "trusted: %s is no address", text);
	bits = v4 ? 32 : 128;
	if (slash) {
		unsigned long most = bits;

		bits = strtoul(slash + 1, &end, 10);
		if (end == slash + 1 || *end || bits > most)
			return err_set(e, -EINVAL, "trusted: %s has no prefix length", text);
	}
	t->bits = (unsigned)bits + (v4 ? 96 : 0);
	return 0;
}

static int load_trusted(struct settings *s, const struct conf *c, struct err *e)
{
	char buf[64];
	const char *text;

	for (size_t i = 0; (text = conf_element(c, "trusted", i, buf, sizeof buf)); i++) {
		int r;

		if (s->n_trusted == ARRAY_LEN(s->trusted))
			return err_set(e, -E2BIG, "trusted: too many networks");
		r = parse_trusted(text, &s->trusted[s->n_trusted], e);
		if (r < 0)
			return r;
		s->n_trusted++;
	}
	return 0;
}

static int load_hosts(struct host_list *l, const struct conf *c, const char *key, struct err *e)
{
	const char *all = conf_string(c, key, ""), *text;
	char buf[sizeof l->entries[0]];
	size_t wanted = *all ? 1 : 0;

	for (; (all = strchr(all, ',')); all++)
		wanted++;
	if (wanted > ARRAY_LEN(l->entries))
		return err_set(e, -E2BIG, "%s: too many hosts", key);
	while (l->n < wanted && (text = conf_element(c, key, l->n, buf, sizeof buf)))
		(void)snprintf(l->entries[l->n++], sizeof l->entries[0], "%s", text);
	/* One that is left out would be one that is refused or, to a reader, one that is not. */
	return l->n < wanted ? err_set(e, -EINVAL, "%s: an entry is empty or too long", key) : 0;
}

/* Whoever has a key of the cluster is a host of ours, but root only at home. */
static int load_policy(struct settings *s, const struct conf *c, struct err *e)
{
	int r = load_hosts(&s->root_from, c, "root_from", e);

	if (!r && conf_string(c, "jobs_from", NULL))
		return load_hosts(&s->jobs_from, c, "jobs_from", e);
	(void)snprintf(s->jobs_from.entries[0], sizeof s->jobs_from.entries[0], "*");
	s->jobs_from.n = 1;
	return r;
}

static int copy(char *to, size_t size, const char *value, const char *key, struct err *e)
{
	if (strlen(value) >= size)
		return err_set(e, -EINVAL, "%s: too long", key);
	(void)snprintf(to, size, "%s", value);
	return 0;
}

static int load_strings(struct settings *s, const struct conf *c, struct err *e)
{
	struct utsname host;
	int r;

	(void)uname(&host);
	r = copy(s->name, sizeof s->name, conf_string(c, "name", host.nodename), "name", e);
	if (!r)
		r = copy(s->address, sizeof s->address, conf_string(c, "address", "0.0.0.0"), "address", e);
	if (!r)
		r = copy(s->run_dir, sizeof s->run_dir, conf_string(c, "run_dir", "/run/godwit"), "run_dir", e);
	if (!r)
		r = copy(s->cgroup, sizeof s->cgroup, conf_string(c, "cgroup", "godwit"), "cgroup", e);
	s->accept = strcmp(conf_string(c, "accept", "yes"), "no") != 0;
	return r;
}

int settings_load(struct settings *s, struct err *e)
{
	_cleanup_free_ char *path = conf_path("godwit.conf");
	struct conf *c = NULL;
	int r;

	memset(s, 0, sizeof *s);
	r = conf_load(path, &c, e);
	if (r < 0)
		return r;
	r = load_strings(s, c, e);
	if (!r)
		r = load_trusted(s, c, e);
	if (!r)
		r = load_policy(s, c, e);
	if (!r)
		r = conf_number(c, "log_bytes", LOG_BYTES_DEFAULT, &s->log_bytes, e);
	if (!r)
		r = conf_number(c, "keep_exited", KEEP_EXITED_DEFAULT, &s->keep_exited_s, e);
	if (!r)
		r = conf_number(c, "user_jobs", USER_JOBS_DEFAULT, &s->user_jobs, e);
	if (!r)
		r = conf_number(c, "user_requests", USER_REQUESTS_DEFAULT, &s->user_requests, e);
	if (!r)
		r = conf_number(c, "user_operations", USER_OPERATIONS_DEFAULT, &s->user_operations, e);
	if (!r)
		r = conf_number(c, "owner_patience", OWNER_PATIENCE_DEFAULT, &s->owner_patience_s, e);
	s->owner_patience_s = MIN(MAX(s->owner_patience_s, (uint64_t)1), (uint64_t)OWNER_PATIENCE_MAX);
	conf_free(c);
	return r < 0 ? err_wrap(e, "%s", path) : 0;
}

bool settings_trusts(const struct settings *s, const char *address)
{
	unsigned char a[16];
	bool v4;

	if (!parse_address(address, a, &v4))
		return false;
	for (unsigned i = 0; i < s->n_trusted; i++) {
		const struct trusted *t = &s->trusted[i];
		unsigned whole = t->bits / 8, rest = t->bits % 8;
		unsigned char mask = (unsigned char)(0xff00u >> rest);

		if (memcmp(a, t->bytes, whole))
			continue;
		if (!rest || (a[whole] & mask) == (t->bytes[whole] & mask))
			return true;
	}
	return false;
}
