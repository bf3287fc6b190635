/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_INJECT_PEEK_H
#define GW_INJECT_PEEK_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * How long a sleeping system call still has to sleep. The kernel tells nobody, so two small BPF programs look: at
 * the restart block of a stopped thread, and at the kernel stack of a sleeping one, where its timer lies. (Kernel
 * feature "bpf-peek"; without it, calls that were interrupted get their whole timeout again.)
 */
struct peek;

enum peek_kind { PEEK_NOTHING, PEEK_NANOSLEEP, PEEK_POLL, PEEK_FUTEX, PEEK_CPU_SLEEP, PEEK_ALARM_SLEEP };

struct peek_restart {
	enum peek_kind kind;
	int clock;	    /* of a sleep: CLOCK_*; of poll: CLOCK_MONOTONIC */
	int64_t expires_ns; /* of the initial time namespace's clock; -1: never */
	uint64_t remainder; /* of a sleep: address for what is left */
	uint64_t switches; /* how often the thread has given up the CPU of its own accord: once more for each sleep
			      or stop */
};

/* Slow (reads the kernel's types) on the first call after a boot, then 1 ms. -ENOSYS: not on this kernel. */
int peek_open(struct peek **ret, struct err *e) must_check;
void peek_free(struct peek *p); /* NULL-safe */

/* The restart block of a stopped thread whose call returned ERESTART_RESTARTBLOCK. `tid` in our pid namespace. Of
 * any other thread only `switches` means something. */
int peek_restart(struct peek *p, pid_t tid, struct peek_restart *ret) must_check;

/* When the timer of a sleeping thread expires, on the initial time namespace's CLOCK_MONOTONIC. -ENOENT: it has
 * none. */
int peek_sleep(struct peek *p, pid_t tid, int64_t *ret_expires_ns) must_check;

#endif
