/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_INJECT_PEEK_FACTS_H
#define GW_INJECT_PEEK_FACTS_H

#include <stdint.h>

#include "base/err.h"

/* For peek.c and peek_vma.c: where things are in this kernel. */

enum peek_fact {
	FACT_TASK_FROM_VPID, /* ids of kernel functions */
	FACT_TASK_RELEASE,
	FACT_RESTART_BLOCK, /* offsets in struct task_struct */
	FACT_TASK_STACK,
	FACT_TASK_SWITCHES,
	FACT_RESTART_FN, /* offsets in struct restart_block */
	FACT_SLEEP_CLOCK,
	FACT_SLEEP_REMAINDER,
	FACT_SLEEP_EXPIRES,
	FACT_FUTEX_TIME,
	FACT_POLL_HAS_TIMEOUT,
	FACT_POLL_SEC,
	FACT_POLL_NSEC,
	FACT_TIMER_FUNCTION, /* offsets in struct hrtimer */
	FACT_TIMER_EXPIRES,
	FACT_TIMER_WAKEUP, /* addresses */
	FACT_NANOSLEEP_RESTART,
	FACT_POLL_RESTART,
	FACT_FUTEX_RESTART,
	FACT_CPU_RESTART,
	FACT_ALARM_RESTART,
	FACT_ITER_VMA,	/* the function that a program over mappings stands for */
	FACT_VMA_START, /* offsets in struct vm_area_struct */
	FACT_VMA_FLAGS,
	FACT_N
};

struct peek_facts {
	uint64_t v[FACT_N];
};

/* From the cache in /run/godwit if it was written since the last boot; else from the kernel, and into the cache.
 */
int peek_facts_get(struct peek_facts *f, struct err *e) must_check;

#endif
