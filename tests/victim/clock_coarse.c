/* SPDX-License-Identifier: Apache-2.0 */
/* The same as clock_steady for the coarse clock, which a reader takes without asking the processor. */
#include "victim.h"

static const clockid_t clocks[] = { CLOCK_MONOTONIC_COARSE };
#include "clock_steady.h"
