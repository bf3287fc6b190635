/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks that a program asks for most. */
#include "victim.h"

static const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW };
#include "clock_steady.h"
