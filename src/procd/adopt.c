/* SPDX-License-Identifier: Apache-2.0 */
/* Taking a process that godwit did not start: not yet. */
#include <errno.h>

#include "procd/ops.h"
#include "procd/rpc.h"

void adopt_start(struct procd *p, struct call *c)
{
	(void)p;
	call_refuse(c, -ENOSYS, "processes that were not started by godwit cannot be taken over yet");
}
