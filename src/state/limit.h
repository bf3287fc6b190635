/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_LIMIT_H
#define GW_STATE_LIMIT_H

#include <stdint.h>

#include "base/err.h"

#define LIMITS_N 16

struct limit_pair {
	unsigned resource;
	uint64_t soft, hard; /* RLIM_INFINITY: none */
};

/* The text of /proc/PID/limits. -EBADMSG if a line is missing. */
int limits_parse(const char *text, struct limit_pair pairs[static LIMITS_N]) must_check;

#endif
