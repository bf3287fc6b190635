/* SPDX-License-Identifier: Apache-2.0 */
#include "inject/peek_facts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "inject/btf.h"

#define CACHE "/run/godwit/kernel-facts"
#define BTF "/sys/kernel/btf/vmlinux"

static const struct {
	enum peek_fact fact;
	const char *function;	   /* an id */
	const char *type, *member; /* an offset */
	const char *symbol;	   /* an address; those may be missing from a kernel, what needs them is then not
				      recognised */
} sources[] = {
	{ FACT_TASK_FROM_VPID, "bpf_task_from_vpid", NULL, NULL, NULL },
	{ FACT_TASK_RELEASE, "bpf_task_release", NULL, NULL, NULL },
	{ FACT_RESTART_BLOCK, NULL, "task_struct", "restart_block", NULL },
	{ FACT_TASK_STACK, NULL, "task_struct", "stack", NULL },
	{ FACT_TASK_SWITCHES, NULL, "task_struct", "nvcsw", NULL },
	{ FACT_RESTART_FN, NULL, "restart_block", "fn", NULL },
	{ FACT_SLEEP_CLOCK, NULL, "restart_block", "nanosleep.clockid", NULL },
	{ FACT_SLEEP_REMAINDER, NULL, "restart_block", "nanosleep.rmtp", NULL },
	{ FACT_SLEEP_EXPIRES, NULL, "restart_block", "nanosleep.expires", NULL },
	{ FACT_FUTEX_TIME, NULL, "restart_block", "futex.time", NULL },
	{ FACT_POLL_HAS_TIMEOUT, NULL, "restart_block", "poll.has_timeout", NULL },
	{ FACT_POLL_SEC, NULL, "restart_block", "poll.tv_sec", NULL },
	{ FACT_POLL_NSEC, NULL, "restart_block", "poll.tv_nsec", NULL },
	{ FACT_TIMER_FUNCTION, NULL, "hrtimer", "function", NULL },
	{ FACT_TIMER_EXPIRES, NULL, "hrtimer", "_softexpires", NULL },
	{ FACT_TIMER_WAKEUP, NULL, NULL, NULL, "hrtimer_wakeup" },
	{ FACT_NANOSLEEP_RESTART, NULL, NULL, NULL, "hrtimer_nanosleep_restart" },
	{ FACT_POLL_RESTART, NULL, NULL, NULL, "do_restart_poll" },
	{ FACT_FUTEX_RESTART, NULL, NULL, NULL, "futex_wait_restart" },
	{ FACT_CPU_RESTART, NULL, NULL, NULL, "posix_cpu_nsleep_restart" },
	{ FACT_ALARM_RESTART, NULL, NULL, NULL, "alarm_timer_nsleep_restart" },
	{ FACT_ITER_VMA, "bpf_iter_task_vma", NULL, NULL, NULL },
	{ FACT_VMA_START, NULL, "vm_area_struct", "vm_start", NULL },
	{ FACT_VMA_FLAGS, NULL, "vm_area_struct", "vm_flags", NULL },
};

_Static_assert(ARRAY_LEN(sources) == FACT_N, "every fact has a source");

static int from_types(struct peek_facts *f, struct err *e)
{
	struct btf *b;
	int err = btf_load(BTF, &b, e);

	for (size_t i = 0; i < ARRAY_LEN(sources) && err >= 0; i++) {
		if (sources[i].function)
			err = btf_function(b, sources[i].function);
		else if (sources[i].type)
			err = btf_member(b, sources[i].type, sources[i].member);
		else
			continue;
		if (err < 0)
			err_set(e, -ENOSYS, "this kernel has no %s",
				sources[i].function ? sources[i].function : sources[i].member);
		else
			f->v[sources[i].fact] = (uint64_t)err;
	}
	btf_free(b);
	return err < 0 ? -ENOSYS : 0;
}

static void from_symbols(struct peek_facts *f)
{
	FILE *in = fopen("/proc/kallsyms", "re");
	char line[512], name[256];
	unsigned long at;

	while (in && fgets(line, sizeof line, in)) {
		if (sscanf(line, "%lx %*c %255s", &at, name) != 2)
			continue;
		for (size_t i = 0; i < ARRAY_LEN(sources); i++)
			if (sources[i].symbol && !strcmp(sources[i].symbol, name))
				f->v[sources[i].fact] = at;
	}
	if (in)
		(void)fclose(in);
}

/* The cache: the boot's id, then the numbers. It is root's, like everything in that directory. */
static char *boot_id(void)
{
	char *id = NULL;

	return fd_slurp(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &id) > 0 ? id : xstrdup("?\n");
}

static bool from_cache(struct peek_facts *f, const char *boot)
{
	_cleanup_free_ char *text = NULL;
	size_t len = strlen(boot);
	char *at;

	if (fd_slurp(AT_FDCWD, CACHE, 4096, &text) < 0 || strncmp(text, boot, len) != 0)
		return false;
	at = text + len;
	for (size_t i = 0; i < FACT_N; i++) {
		char *end;

		f->v[i] = strtoull(at, &end, 16);
		if (end == at)
			return false;
		at = end;
	}
	return true;
}

/* Under another name first, so that nobody reads half of it. Without the directory there is no cache. */
static void to_cache(const struct peek_facts *f, const char *boot)
{
	char name[] = CACHE ".XXXXXX", text[FACT_N * 17 + 128];
	size_t len = (size_t)snprintf(text, sizeof text, "%s", boot);
	_cleanup_fd_ int fd = mkostemp(name, O_CLOEXEC);

	if (fd < 0)
		return;
	for (size_t i = 0; i < FACT_N; i++)
		len += (size_t)snprintf(text + len, sizeof text - len, "%lx\n", (unsigned long)f->v[i]);
	if (fd_write_full(fd, text, len) < 0 || rename(name, CACHE) < 0)
		(void)unlink(name);
}

int peek_facts_get(struct peek_facts *f, struct err *e)
{
	static struct peek_facts known; /* a memo of what cannot change, not state */
	_cleanup_free_ char *boot = NULL;
	int err;

	*f = known;
	if (f->v[FACT_ITER_VMA])
		return 0;
	boot = boot_id();
	memset(f, 0, sizeof *f);
	if (from_cache(f, boot)) {
		known = *f;
		return 0;
	}
	err = from_types(f, e);
	if (err < 0)
		return err;
	from_symbols(f);
	to_cache(f, boot);
	known = *f;
	return 0;
}
