/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_KINDS_H
#define GW_STATE_KINDS_H

#include "state/state.h"

/* What a process has besides memory, threads and signals. */
extern const struct state_module state_file, state_file_owner, state_fs, state_creds, state_limit, state_sched,
	state_policy, state_timer, state_misc, state_dumpable, state_refuse;

#endif
