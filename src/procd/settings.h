/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_PROCD_SETTINGS_H
#define GW_PROCD_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "godwit.h"

/* What godwit.conf says, as far as it concerns procd; see godwit.conf(5). */
struct settings {
	char name[GW_HOST_MAX];
	char address[64]; /* where movers listen */
	char run_dir[64];
	char cgroup[64];    /* below the root of the cgroup2 hierarchy */
	uint64_t log_bytes; /* kept of each output stream of a detached job */
	uint64_t keep_exited_s;
	/* What one user may have here at once; root and other process servers are not limited. */
	uint64_t user_jobs, user_requests, user_operations;
	uint64_t owner_patience_s; /* how long an owner may think about a stun */
	bool accept;		   /* jobs from other hosts */
	/* Who speaks for whom here; entries are HOST or HOST:USER:..., HOST may be "*". See policy.h. */
	struct host_list {
		char entries[64][128];
		unsigned n;
	} jobs_from, root_from;
	struct trusted {
		unsigned char bytes[16];
		unsigned bits; /* of the address in IPv6 form */
	} trusted[32];
	unsigned n_trusted;
};

int settings_load(struct settings *s, struct err *e) must_check;
/* Whether pages to or from that numeric address may flow unsealed. */
bool settings_trusts(const struct settings *s, const char *address);

#endif
