/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_BASE_TIMERS_H
#define GW_BASE_TIMERS_H

/*
 * A queue of deadlines on a clock that is passed in (microseconds). A binary heap of embedded timers: arming,
 * disarming and the next deadline cost at most log n.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMERS_NEVER UINT64_MAX

struct timer {
	uint64_t due_us;
	size_t place; /* 1-based in the heap, 0 while not armed */
	void (*fire)(struct timer *t, void *ctx, uint64_t now_us);
};

struct timers {
	struct timer **heap;
	size_t n, cap;
};

void timers_done(struct timers *q);
/* Arms or re-arms. */
void timers_arm(struct timers *q, struct timer *t, uint64_t due_us);
/* Nothing if it is not armed. */
void timers_disarm(struct timers *q, struct timer *t);
uint64_t timers_next(const struct timers *q);
/* Fires what is due; each timer is disarmed before its function runs, which may arm and disarm any. A timer armed
 * for a time not after `now_us` fires in the same run. */
void timers_run(struct timers *q, void *ctx, uint64_t now_us);

static inline bool timer_armed(const struct timer *t)
{
	return t->place != 0;
}

#endif
