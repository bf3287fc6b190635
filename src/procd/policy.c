/* SPDX-License-Identifier: Apache-2.0 */
#include "procd/policy.h"

#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define GROUPS_MAX 256
#define NO_GROUP 65534u /* nogroup */

/* A name or a number. */
static bool is_user(const char *text, size_t len, uid_t uid)
{
	char name[128];
	const struct passwd *pw;
	char *end;
	unsigned long number;

	if (!len || len >= sizeof name)
		return false;
	memcpy(name, text, len);
	name[len] = '\0';
	number = strtoul(name, &end, 10);
	if (!*end)
		return number == uid;
	pw = getpwnam(name);
	return pw && pw->pw_uid == uid;
}

/* HOST or HOST:USER:USER... */
static bool entry_admits(const char *entry, const char *host, uid_t uid)
{
	size_t len = strcspn(entry, ":");

	if (!(len == 1 && *entry == '*') && (len != strlen(host) || memcmp(entry, host, len) != 0))
		return false;
	if (!entry[len])
		return true;
	while (entry[len] == ':') {
		const char *user = entry + len + 1;
		size_t n = strcspn(user, ":");

		if (is_user(user, n, uid))
			return true;
		len += 1 + n;
	}
	return false;
}

static bool list_admits(const struct host_list *l, const char *host, uid_t uid)
{
	for (unsigned i = 0; i < l->n; i++)
		if (entry_admits(l->entries[i], host, uid))
			return true;
	return false;
}

bool policy_trusts(const struct settings *s, const char *host)
{
	return !strcmp(host, s->name) || list_admits(&s->root_from, host, 0);
}

bool policy_admits(const struct settings *s, const char *host, uid_t uid)
{
	if (policy_trusts(s, host))
		return true;
	return uid != 0 && list_admits(&s->jobs_from, host, uid);
}

bool policy_is_member(uid_t uid, gid_t gid)
{
	const struct passwd *pw = getpwuid(uid);
	gid_t known[GROUPS_MAX];
	int n = GROUPS_MAX;

	if (!pw || getgrouplist(pw->pw_name, pw->pw_gid, known, &n) < 0)
		return false;
	for (int i = 0; i < n; i++)
		if (known[i] == gid)
			return true;
	return false;
}

gid_t policy_gid(const struct settings *s, const char *host, uid_t uid, gid_t gid)
{
	const struct passwd *pw;

	if (policy_trusts(s, host) || policy_is_member(uid, gid))
		return gid;
	pw = getpwuid(uid);
	return pw ? pw->pw_gid : NO_GROUP;
}

const char *policy_refuses(const struct settings *s, const char *host, const Godwit__Procd__JobSpec *spec,
			   const char **ret_help)
{
	*ret_help = "name the source in jobs_from, in the destination's godwit.conf";
	if (!s->accept) {
		*ret_help = "set accept = yes in its godwit.conf";
		return "it does not accept jobs (godwit.conf: accept)";
	}
	if (policy_trusts(s, host))
		return NULL;
	if (spec->uid == 0) {
		*ret_help = "name the source in root_from, in the destination's godwit.conf";
		return "it does not take jobs of root from that host (godwit.conf: root_from)";
	}
	if (!policy_admits(s, host, spec->uid))
		return "it does not take jobs of that user from that host (godwit.conf: jobs_from)";
	*ret_help = "make the user and his groups the same on both hosts, or name the source in root_from";
	if (!policy_is_member(spec->uid, spec->gid))
		return "it does not know the job's user to be in the job's group";
	for (size_t i = 0; i < spec->n_groups; i++)
		if (!policy_is_member(spec->uid, spec->groups[i]))
			return "it does not know the job's user to be in all of the job's groups";
	return NULL;
}
