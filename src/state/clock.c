/* SPDX-License-Identifier: Apache-2.0 */
#include "state/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/fd.h"
#include "base/util.h"

static int read_offsets(int dir, const char *path, int64_t *monotonic_ns, int64_t *boottime_ns)
{
	_cleanup_free_ char *text = NULL;
	long long mono_s, mono_ns, boot_s, boot_ns;
	ssize_t n = fd_slurp(dir, path, 4096, &text);

	*monotonic_ns = *boottime_ns = 0;
	if (n == -ENOENT) /* no time namespaces: no offsets */
		return 0;
	if (n < 0)
		return (int)n;
	if (sscanf(text, "monotonic %lld %lld boottime %lld %lld", &mono_s, &mono_ns, &boot_s, &boot_ns) != 4)
		return -EPROTO;
	*monotonic_ns = mono_s * 1000000000 + mono_ns;
	*boottime_ns = boot_s * 1000000000 + boot_ns;
	return 0;
}

/* Both are counted from the initial namespace. */
int clock_offsets(int proc, int64_t *monotonic_ns, int64_t *boottime_ns, struct err *e)
{
	int64_t our_mono, our_boot;
	int err = read_offsets(-EBADF, "/proc/self/timens_offsets", &our_mono, &our_boot);

	if (!err)
		err = read_offsets(proc, "timens_offsets", monotonic_ns, boottime_ns);
	if (err < 0)
		return err_code(e, err, "cannot read the job's clock offsets");
	*monotonic_ns -= our_mono;
	*boottime_ns -= our_boot;
	return 0;
}

int64_t clock_own_offset(void)
{
	int64_t mono = 0, boot;

	return read_offsets(-EBADF, "/proc/self/timens_offsets", &mono, &boot) < 0 ? 0 : mono;
}

int64_t clock_now_ns(int clock)
{
	struct timespec t = { 0 };

	(void)clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
