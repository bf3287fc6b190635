/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel tells of a process: status, stat, syscall, fdinfo, limits, timers, mountinfo, locks, auxv and
 * the rest. The kernel writes them, but a program chooses names in them, and kernels differ. Every module of the
 * source looks at a process that does nothing, through a fd_slurp that hands out the real file, an edited one,
 * another text or nothing, as the input says.
 */
#include <fcntl.h>

#include "base/fd.h"
#include "cage.h"
#include "fuzz.h"
#include "inject/peek.h"
#include "memory/memory.h"
#include "state/clock.h"
#include "state/creds.h"
#include "state/file.h"
#include "state/file_table.h"
#include "state/limit.h"
#include "state/state.h"
#include "state/thread.h"
#include "state/timer.h"

#define TEXT_MAX 65536u

enum { REAL, EDITED, OTHER, NOTHING };

static struct fuzz_in in;
static pid_t sleeper;
static int proc = -EBADF;

static ssize_t real(int dirfd, const char *path, char *text)
{
	_cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	while (used < TEXT_MAX && (n = read(fd, text + used, TEXT_MAX - used)) > 0)
		used += (size_t)n;
	return n < 0 ? -errno : (ssize_t)used;
}

/* Some bytes in place of some others. */
static ssize_t edit(char *text, size_t len)
{
	size_t at = fuzz_get(&in, 2), gone = fuzz_get(&in, 1), n;
	const uint8_t *bytes = fuzz_bytes(&in, 256, &n);

	at = len ? at % len : 0;
	gone = MIN(gone, len - at);
	memmove(text + at + n, text + at + gone, len - at - gone);
	if (n)
		memcpy(text + at, bytes, n);
	return (ssize_t)(len - gone + n);
}

/* In place of the real one. */
ssize_t fd_slurp(int dirfd, const char *path, size_t max, char **ret_text)
{
	unsigned op = (unsigned)fuzz_get(&in, 1) % 4;
	char *text = xmalloc(TEXT_MAX + 512);
	const uint8_t *bytes;
	ssize_t n = 0;
	size_t len;

	if (op == NOTHING)
		n = -ENOENT;
	else if (op != OTHER)
		n = real(dirfd, path, text);
	if (op == EDITED && n >= 0)
		n = edit(text, (size_t)n);
	if (op == OTHER) {
		bytes = fuzz_bytes(&in, 4096, &len);
		if (len)
			memcpy(text, bytes, len);
		n = (ssize_t)len;
	}
	if (n >= 0 && (size_t)n > max)
		n = -EFBIG;
	if (n >= 0) {
		/* Just as long as it is: who reads on is seen. */
		*ret_text = xmalloc((size_t)n + 1);
		memcpy(*ret_text, text, (size_t)n);
		(*ret_text)[n] = '\0';
	}
	free(text);
	return n;
}

/* It would look into the kernel, and remember what it saw. */
int peek_open(struct peek **ret, struct err *e)
{
	(void)ret;
	return err_set(e, -ENOSYS, "not here");
}

void peek_free(struct peek *p)
{
	(void)p;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[32];

	(void)argc;
	(void)argv;
	fuzz_quiet();
	cage_close();
	sleeper = cage_sleeper();
	(void)snprintf(path, sizeof path, "/proc/%d", sleeper);
	proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		cage_fail(path);
	return 0;
}

static void parse_text(uint8_t how)
{
	struct limit_pair limits[LIMITS_N];
	Godwit__Ckpt__Creds creds = GODWIT__CKPT__CREDS__INIT;
	struct timer_seen *timers = NULL;
	struct lock_seen lock;
	struct fdinfo info;
	int64_t mono, boot;
	struct err e = { 0 };
	char *text = fuzz_text(in.p, in.left);
	uint64_t ino;
	size_t n;

	switch (how) {
	case 1:
		(void)limits_parse(text, limits);
		break;
	case 2:
		if (!timers_parse(text, &timers, &n))
			free(timers);
		break;
	case 3:
		(void)!creds_parse(text, &creds);
		free(creds.groups);
		break;
	case 4:
		(void)file_fdinfo_parse(text, &info);
		break;
	case 5:
		(void)!file_lock_parse(text, &lock, &ino);
		break;
	default:
		(void)!clock_offsets(proc, &mono, &boot, &e);
	}
	free(text);
}

static void look(void)
{
	Godwit__Ckpt__Requirements requirements = GODWIT__CKPT__REQUIREMENTS__INIT;
	Godwit__Ckpt__Process *process = xmalloc(sizeof *process);
	Godwit__Ckpt__Job *job = xmalloc(sizeof *job);
	struct problems problems = { 0 };
	struct err e = { 0 };
	struct state_source s = { .pid = sleeper, .vpid = sleeper, .proc = proc, .pidfd = -EBADF };

	godwit__ckpt__job__init(job);
	godwit__ckpt__process__init(process);
	job->processes = xmalloc(sizeof(*job->processes));
	job->processes[0] = process;
	job->n_processes = 1;
	s.job = job;
	s.process = process;
	s.problems = &problems;
	s.requirements = xmalloc(sizeof *s.requirements);
	*s.requirements = requirements;
	for (size_t i = 0; state_modules[i]; i++)
		if (state_modules[i]->check)
			(void)!state_modules[i]->check(&s, &e);
	for (size_t i = 0; state_modules[i]; i++)
		if (state_modules[i]->describe && state_modules[i]->describe(&s, &e) < 0)
			break;
	file_source_done(&s);
	call_source_done(&s);
	memory_source_free(s.mm);
	problems_done(&problems);
	godwit__ckpt__requirements__free_unpacked(s.requirements, NULL);
	godwit__ckpt__job__free_unpacked(job, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t how;

	in = (struct fuzz_in) { data, size };
	how = (uint8_t)fuzz_get(&in, 1) % 8;
	if (how)
		parse_text(how);
	else
		look();
	return 0;
}
