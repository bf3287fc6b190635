/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_TIMER_H
#define GW_STATE_TIMER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TIMERS_MAX 65536

struct timer_seen { /* as /proc/PID/timers says */
	int id, clock, notify, signal;
	int tid; /* who gets the signal, in the namespace of that /proc */
	uint64_t value;
};

/* Parses the text of /proc/PID/timers; *ret is the caller's to free. */
int timers_parse(const char *text, struct timer_seen **ret, size_t *ret_n) must_check;

#endif
