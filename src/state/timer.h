/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_TIMER_H
#define GW_STATE_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"
#include "state/state.h"

#define TIMERS_MAX 65536

struct timer_seen { /* as /proc/PID/timers says */
	int id, clock, notify, signal;
	int tid; /* who gets the signal, in the namespace of that /proc */
	uint64_t value;
};

/*
 * The signal of a timer that is queued at the freeze is not carried like others: how often the timer has rung
 * since is counted when the signal is taken. The destination sets such a timer to the moment of that first ring,
 * so that it rings by itself at once, and counts on.
 */

/* Source, every thread stopped: fills pending, overrun and value_ns of a periodic timer whose signal is queued. */
int timer_rings_take(struct state_source *s, Godwit__Ckpt__Timers *all, Godwit__Ckpt__PosixTimer *m,
		     struct err *e) must_check;

/* Destination: must this queued signal be left out, since its timer rings by itself? */
bool timer_rings_itself(const Godwit__Ckpt__Process *p, const void *siginfo);
/* The same for a signal that came to the source after the checkpoint. */
bool timer_will_ring(const Godwit__Ckpt__Process *p, const void *siginfo);

/* Does it measure work done, which does not go on while the job stands still, and not time? */
static inline bool timer_counts_work(int clock)
{
	return clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
}

/* Parses the text of /proc/PID/timers; *ret is the caller's to free. */
int timers_parse(const char *text, struct timer_seen **ret, size_t *ret_n) must_check;

#endif
