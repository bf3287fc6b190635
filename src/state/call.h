/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_CALL_H
#define GW_STATE_CALL_H

#include <stdbool.h>

#include "inject/linger.h"
#include "inject/remote.h"

/* Private to call.c and call_transfer.c. */

/* Is this thread, stopped, behind a call that has transferred a part of what it was asked for only because we
 * stopped it? Then how much. `proc`: the process's directory. */
bool transfer_was_cut(const struct remote *r, const struct remote_thread *t, int proc, uint64_t *ret_done);
/* While it runs: can a stop cut this call short? */
bool transfer_may_be_cut(int proc, long nr, const uint64_t arg[6]);
/* The rest of it. -EFAULT: it makes no sense any more; the part is the result then. */
int transfer_rest(const struct remote *r, const struct remote_thread *t, long nr, uint64_t done,
		  struct linger_call *l) must_check;

#endif
