/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_BASE_KERNEL_H
#define GW_BASE_KERNEL_H

#include <stdbool.h>

/*
 * What this kernel can do, asked for by name and probed once. GODWIT_HIDE=name,name makes a feature absent, so
 * that the way round it can be tested on a kernel that has it.
 */

enum kernel_feature {
	KERNEL_BPF_PEEK,	  /* "bpf-peek": reading a task's timeouts with a BPF program */
	KERNEL_TIMER_RESTORE_IDS, /* "timer-restore-ids": POSIX timers with the ids we want (6.17) */
	KERNEL_PAGEMAP_SCAN,	  /* "pagemap-scan" (6.7) */
	KERNEL_MAP_VDSO,	  /* "map-vdso": arch_prctl(ARCH_MAP_VDSO_64) */
	KERNEL_MM_MAP,		  /* "mm-map": prctl(PR_SET_MM_MAP) */
	KERNEL_TIME_NAMESPACE,	  /* "time-namespace" (5.6) */
	KERNEL_VMSPLICE,	  /* "vmsplice": pages straight out of the process */
	KERNEL_POPULATE,	  /* "populate": madvise(MADV_POPULATE_WRITE) (5.14) */
	KERNEL_FEATURE_N
};

/* False too if it is hidden. What cannot be probed without a process is true unless hidden. */
bool kernel_has(enum kernel_feature f);
const char *kernel_feature_name(enum kernel_feature f);

/* Is `name` in GODWIT_HIDE? For what is not the kernel's: CPU features, "vdso". */
bool kernel_hidden(const char *name);

#endif
