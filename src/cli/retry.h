/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_CLI_RETRY_H
#define GW_CLI_RETRY_H

#include "cli/rpc.h"

/*
 * Which failures of a request that may be repeated are worth repeating it. A daemon that is being restarted is
 * away for a moment; a host that has been switched off does not come back. A job that has been heard of at least
 * once gets RETRY_PATIENCE_US; one that nobody has ever known is an error at once.
 */

#define RETRY_PATIENCE_US 30000000u
#define RETRY_PAUSE_US 100000u

enum retry_mode { RETRY_UNKNOWN_JOB = 1, RETRY_KNOWN_JOB = 2 };

struct retry {
	enum retry_mode mode;
	uint64_t since_us; /* of the first failure in a row, 0: none */
	uint64_t patience_us;
};

void retry_init(struct retry *r, enum retry_mode mode);
/* The job answered. */
void retry_success(struct retry *r);
/* Whether error `code` (of cli_call or cli_ask) may pass: notes the time. Does not wait. */
bool retry_allowed(struct retry *r, int code);
/* As retry_allowed, and pauses, and connects to flipd again if that is what is missing. */
bool retry_again(struct retry *r, struct cli *c, int code);

#endif
