/* SPDX-License-Identifier: Apache-2.0 */
#include "state/thread.h"

const struct state_module state_call = {
	.name = "call",
	.phase = STATE_THREADS,
};
