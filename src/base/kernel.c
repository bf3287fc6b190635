/* SPDX-License-Identifier: Apache-2.0 */
#include "base/kernel.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/util.h"

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#define PR_TIMER_CREATE_RESTORE_IDS_GET 2
#endif
#ifndef PR_SET_MM_MAP_SIZE
#define PR_SET_MM_MAP_SIZE 15
#endif

static bool probe_timer_ids(void)
{
	return prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0;
}

static bool probe_mm_map(void)
{
	unsigned size = 0;

	return prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) == 0 && size;
}

static bool probe_timens(void)
{
	return access("/proc/self/timens_offsets", F_OK) == 0;
}

static bool probe_btf(void)
{
	return access("/sys/kernel/btf/vmlinux", R_OK) == 0;
}

static bool probe_populate(void)
{
	return madvise(NULL, 0, 23 /* MADV_POPULATE_WRITE */) == 0;
}

static const struct {
	const char *name;
	bool (*probe)(void);
} features[KERNEL_FEATURE_N] = {
	[KERNEL_BPF_PEEK] = { "bpf-peek", probe_btf },
	[KERNEL_TIMER_RESTORE_IDS] = { "timer-restore-ids", probe_timer_ids },
	[KERNEL_PAGEMAP_SCAN] = { "pagemap-scan", NULL },
	[KERNEL_MAP_VDSO] = { "map-vdso", NULL },
	[KERNEL_MM_MAP] = { "mm-map", probe_mm_map },
	[KERNEL_TIME_NAMESPACE] = { "time-namespace", probe_timens },
	[KERNEL_VMSPLICE] = { "vmsplice", NULL },
	[KERNEL_POPULATE] = { "populate", probe_populate },
};

bool kernel_hidden(const char *name)
{
	const char *at = getenv("GODWIT_HIDE");
	size_t len = strlen(name);

	while (at && *at) {
		size_t n = strcspn(at, ",");

		if (n == len && !strncmp(at, name, n))
			return true;
		at += n + (at[n] == ',');
	}
	return false;
}

const char *kernel_feature_name(enum kernel_feature f)
{
	return features[f].name;
}

bool kernel_has(enum kernel_feature f)
{
	static signed char known[KERNEL_FEATURE_N]; /* 0 not yet, 1 yes, -1 no: a memo of a fact, not state */

	if (!known[f]) {
		bool has = !kernel_hidden(features[f].name) && (!features[f].probe || features[f].probe());

		known[f] = has ? 1 : -1;
	}
	return known[f] > 0;
}
