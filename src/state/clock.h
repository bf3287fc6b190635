/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_CLOCK_H
#define GW_STATE_CLOCK_H

#include <stdint.h>

#include "base/err.h"

/* Offsets of the clocks of a process (`proc`: its directory in /proc) against ours: theirs = ours + offset. */
int clock_offsets(int proc, int64_t *monotonic_ns, int64_t *boottime_ns, struct err *e) must_check;

/* Offset of our CLOCK_MONOTONIC against the initial time namespace's, in which the kernel keeps its timers. */
int64_t clock_own_offset(void);

int64_t clock_now_ns(int clock);

#endif
