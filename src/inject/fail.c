/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: GODWIT_FAIL_AT=K:ERRNO makes the K-th call in a process fail that must succeed there, counted from 0
 * in each session. It is not made at all: the kernel is asked for a call that it does not have. What gives
 * something back cannot fail, and neither can what is on the way home.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "inject/internal.h"

void fail_init(struct agent_link *link)
{
	const char *at = getenv("GODWIT_FAIL_AT");

	if (at && sscanf(at, "%ld:%d", &link->fail.at, &link->fail.code) != 2)
		link->fail.code = 0;
}

bool fail_now(struct agent_link *link, uint64_t nr, const char *what)
{
	if (!link->fail.code || !what || nr == SYS_munmap || nr == SYS_close || link->fail.seen++ != link->fail.at)
		return false;
	log_info("GODWIT_FAIL_AT: call %llu: %s", (unsigned long long)nr, what);
	return true;
}
