/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_POLICY_H
#define GW_PROCD_POLICY_H

#include <stdbool.h>
#include <sys/types.h>

#include "procd.pb-c.h"
#include "procd/settings.h"

/*
 * Whom this host believes. flipd says which host a request comes from, and the keys prove it; but which user asks
 * there is only that host's word. So godwit.conf says which hosts speak for which users (jobs_from), and which of
 * them for root (root_from): about requests, and about jobs that arrive.
 */

/* May `host` speak for that user? This host itself may for everybody. */
bool policy_admits(const struct settings *s, const char *host, uid_t uid);
/* Whether what that host says about groups, capabilities and files is taken as true, as root's word is. */
bool policy_trusts(const struct settings *s, const char *host);
/* NULL, or why such a job of that host may not come here, in words; *ret_help: what would help. */
const char *policy_refuses(const struct settings *s, const char *host, const Godwit__Procd__JobSpec *spec,
			   const char **ret_help);
/* Whether this host knows that user to be in that group. */
bool policy_is_member(uid_t uid, gid_t gid);
/* The group that counts for a caller of that host: what it says, or what this host knows. */
gid_t policy_gid(const struct settings *s, const char *host, uid_t uid, gid_t gid);

#endif
