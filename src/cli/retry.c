/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/retry.h"

#include <errno.h>
#include <unistd.h>

#include "base/util.h"

void retry_init(struct retry *r, enum retry_mode mode)
{
	*r = (struct retry) { .mode = mode, .patience_us = RETRY_PATIENCE_US };
}

void retry_success(struct retry *r)
{
	r->mode = RETRY_KNOWN_JOB;
	r->since_us = 0;
}

bool retry_allowed(struct retry *r, int code)
{
	/* -ESRCH: nobody serves the port. -EIO: the server was lost on the way. Everything else is an answer. */
	if (code != -EIO && code != -EAGAIN && code != -ECONNRESET && code != -ENOTCONN && code != -ESRCH)
		return false;
	if (code == -ESRCH && r->mode == RETRY_UNKNOWN_JOB)
		return false;
	if (!r->since_us)
		r->since_us = now_us();
	return now_us() - r->since_us < r->patience_us;
}

bool retry_again(struct retry *r, struct cli *c, int code)
{
	if (!retry_allowed(r, code))
		return false;
	(void)usleep(RETRY_PAUSE_US);
	while (!c->connected && cli_reopen(c) < 0) {
		if (!retry_allowed(r, code))
			return false;
		(void)usleep(RETRY_PAUSE_US);
	}
	return true;
}
