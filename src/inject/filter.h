/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_INJECT_FILTER_H
#define GW_INJECT_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "inject/remote.h"

/*
 * The seccomp filters of a thread.
 *
 * While we trace a thread its filters are suspended (PTRACE_O_SUSPEND_SECCOMP), so nothing that is done in it for
 * us is judged by them. But should we die, the thread finds its own way home, and on that way it is judged again.
 * So before anything is done in it, its filters are asked here what they would say, and where the answer is death
 * it is not done.
 */

/* Of one thread. The kernel's limit is 32768 instructions, each filter counted as 4 more than it has. */
#define FILTERS_MAX 512u

struct filter {
	struct sock_filter *code;
	uint16_t len; /* instructions */
	bool log;     /* SECCOMP_FILTER_FLAG_LOG */
};

struct filters {
	struct filter *list; /* oldest first */
	size_t n;
};

enum filter_verdict {
	FILTER_LETS,	/* the call is made */
	FILTER_DENIES,	/* it fails, nothing else happens */
	FILTER_DESTROYS /* the thread or the process ends, or gets SIGSYS, or somebody else is asked */
};

/* Of a stopped thread; *ret NULL if it has none. -EACCES: we may not ask. */
int filters_read(pid_t tid, struct filters **ret) must_check;
void filters_free(struct filters *f); /* NULL-safe */
bool filters_equal(const struct filter *a, const struct filter *b);

/* What they would say to this call, made by an instruction at `ip`. NULL lets everything. */
enum filter_verdict filters_ask(const struct filters *f, uint64_t nr, const uint64_t arg[6], uint64_t ip);

/* May be answered by a process that listens (SECCOMP_RET_USER_NOTIF). */
bool filter_notifies(const struct filter *f);

/* 0, or -EPERM and why: would this thread live through such a call, and through its way home, if we died? */
int filter_judge(const struct remote *r, const struct remote_thread *t, uint64_t nr, const uint64_t arg[6],
		 uint64_t ip, struct err *e) must_check;

/* Can filters be suspended by this process? */
bool filter_can_suspend(void);

#endif
