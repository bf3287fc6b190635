/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resource limits, from /proc/PID/limits: prlimit() of another user's process wants CAP_SYS_RESOURCE even to look,
 * and procd may not have it. Without it a hard limit cannot be raised either; the new process inherits procd's, so
 * what is beyond those is cut, and refused if the job makes use of it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "state/kinds.h"
#include "state/limit.h"

#define AGENT_ROOM (1u << 20)

static const struct {
	const char *name;
	unsigned resource;
	bool by_machine; /* the default follows the size of the machine: no program relies on the number */
} limits[] = {
	{ "Max cpu time", RLIMIT_CPU, false },
	{ "Max file size", RLIMIT_FSIZE, false },
	{ "Max data size", RLIMIT_DATA, false },
	{ "Max stack size", RLIMIT_STACK, false },
	{ "Max core file size", RLIMIT_CORE, true },
	{ "Max resident set", RLIMIT_RSS, true },
	{ "Max processes", RLIMIT_NPROC, true },
	{ "Max open files", RLIMIT_NOFILE, false },
	{ "Max locked memory", RLIMIT_MEMLOCK, false },
	{ "Max address space", RLIMIT_AS, false },
	{ "Max file locks", RLIMIT_LOCKS, true },
	{ "Max pending signals", RLIMIT_SIGPENDING, true },
	{ "Max msgqueue size", RLIMIT_MSGQUEUE, true },
	{ "Max nice priority", RLIMIT_NICE, true },
	{ "Max realtime priority", RLIMIT_RTPRIO, true },
	{ "Max realtime timeout", RLIMIT_RTTIME, false },
};

_Static_assert(ARRAY_LEN(limits) == LIMITS_N, "all of them");

static uint64_t parse_value(const char **at)
{
	uint64_t value = RLIM_INFINITY;
	char *end;

	while (**at == ' ')
		(*at)++;
	if (strncmp(*at, "unlimited", 9) == 0) {
		*at += 9;
		return value;
	}
	value = strtoull(*at, &end, 10);
	*at = end;
	return value;
}

int limits_parse(const char *text, struct limit_pair pairs[static LIMITS_N])
{
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		const char *at = strstr(text, limits[i].name);

		if (!at)
			return -EBADMSG;
		at += strlen(limits[i].name);
		pairs[i].resource = limits[i].resource;
		pairs[i].soft = parse_value(&at);
		pairs[i].hard = parse_value(&at);
	}
	return 0;
}

static int limits_read(int proc, struct limit_pair pairs[static LIMITS_N], struct err *e)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = fd_slurp(proc, "limits", 65536, &text);

	if (n < 0)
		return err_code(e, (int)n, "resource limits");
	return limits_parse(text, pairs) < 0 ? err_set(e, -EBADMSG, "strange resource limits") : 0;
}

static void fill(Godwit__Ckpt__Limit ***list, size_t *n, const struct limit_pair pairs[static LIMITS_N])
{
	for (size_t i = 0; i < *n; i++)
		godwit__ckpt__limit__free_unpacked((*list)[i], NULL);
	free(*list);
	*n = LIMITS_N;
	*list = xcalloc(LIMITS_N, sizeof(**list));
	for (size_t i = 0; i < LIMITS_N; i++) {
		Godwit__Ckpt__Limit *m = xmalloc(sizeof *m);

		godwit__ckpt__limit__init(m);
		m->resource = pairs[i].resource;
		m->soft = pairs[i].soft;
		m->hard = pairs[i].hard;
		(*list)[i] = m;
	}
}

/* The agent is mapped into the job, which its limit must allow: nobody but the kernel's owner may raise it
 * (CAP_SYS_RESOURCE). */
static void check_room(struct state_source *s, const struct limit_pair pairs[static LIMITS_N])
{
	_cleanup_free_ char *text = NULL;
	unsigned long long pages;

	if (state_slurp(s->problems, s->proc, "statm", 4096, &text) <= 0 || sscanf(text, "%llu", &pages) != 1)
		return;
	for (size_t i = 0; i < LIMITS_N; i++)
		if (pairs[i].resource == RLIMIT_AS && pairs[i].soft != RLIM_INFINITY &&
		    pairs[i].soft < pages * 4096 + AGENT_ROOM)
			problem_add(s->problems, s->vpid, -1, "limit of address space", "raise it (prlimit --as)",
				    "it may have %llu bytes of address space and has %llu, which leaves no room "
				    "to work in it",
				    (unsigned long long)pairs[i].soft, pages * 4096);
}

static int limit_check(struct state_source *s, struct err *e)
{
	struct limit_pair pairs[LIMITS_N];
	int r = limits_read(s->proc, pairs, e);

	if (r < 0)
		return r;
	check_room(s, pairs);
	if (s->requirements)
		fill(&s->requirements->limits, &s->requirements->n_limits, pairs);
	return 0;
}

static int limit_describe(struct state_source *s, struct err *e)
{
	struct limit_pair pairs[LIMITS_N];
	int r = limits_read(s->proc, pairs, e);

	if (r == 0)
		fill(&s->process->limits, &s->process->n_limits, pairs);
	return r;
}

static int limit_take(struct state_source *s, struct batch *b, struct err *e)
{
	(void)b;
	return limit_describe(s, e);
}

static const char *limit_name(unsigned resource, bool *ret_by_machine)
{
	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		if (limits[i].resource == resource) {
			*ret_by_machine = limits[i].by_machine;
			return limits[i].name + 4;
		}
	return NULL;
}

static int limit_admit(struct state_target *d, const Godwit__Ckpt__Requirements *q, struct err *e)
{
	(void)e;
	for (size_t i = 0; i < q->n_limits; i++) {
		const Godwit__Ckpt__Limit *m = q->limits[i];
		struct rlimit own;
		bool by_machine;
		const char *name = limit_name(m->resource, &by_machine);

		if (!name || by_machine || getrlimit((__rlimit_resource_t)m->resource, &own) < 0 ||
		    m->soft <= own.rlim_max)
			continue;
		problem_add(d->problems, 0, -1, name,
			    "raise procd's hard limit on the destination, or lower the job's with prlimit",
			    "the job's limit is %llu, the destination allows %llu", (unsigned long long)m->soft,
			    (unsigned long long)own.rlim_max);
	}
	return 0;
}

static int set_limit(struct state_target *d, const Godwit__Ckpt__Limit *m, struct err *e)
{
	struct rlimit want = { .rlim_cur = m->soft, .rlim_max = m->hard }, now;
	__rlimit_resource_t which = (__rlimit_resource_t)m->resource;
	bool by_machine;
	const char *name = limit_name(m->resource, &by_machine);

	if (!name)
		return err_set(e, -EBADMSG, "a resource limit that does not exist");
	if (!d->confined.on && prlimit(d->pid, which, &want, NULL) == 0)
		return 0;
	if ((!d->confined.on && errno != EPERM) || prlimit(d->pid, which, NULL, &now) < 0)
		return err_errno(e, "%s", name);
	want.rlim_max = MIN(want.rlim_max, now.rlim_max);
	want.rlim_cur = MIN(want.rlim_cur, want.rlim_max);
	if (want.rlim_max < m->hard)
		log_info("%s: the job's hard limit is cut to %llu", name, (unsigned long long)want.rlim_max);
	return prlimit(d->pid, which, &want, NULL) < 0 ? err_errno(e, "%s", name) : 0;
}

/*
 * From outside, in the leader's turn, which is the last: when everything that a limit might forbid has been done
 * (queued signals count against one), but while the new process is still root as we are, since prlimit() compares
 * the ids.
 */
static int limit_restore_thread(struct state_target *d, struct remote_thread *t, const Godwit__Ckpt__Thread *m,
				struct batch *b, struct err *e)
{
	int r;

	(void)m;
	if (t != &d->remote->threads[0])
		return 0;
	r = state_flush(d, t, b, e);
	batch_init(b);
	for (size_t i = 0; r == 0 && i < d->process->n_limits; i++)
		r = set_limit(d, d->process->limits[i], e);
	return r;
}

const struct state_module state_limit = {
	.name = "limit",
	.phase = STATE_LAST,
	.check = limit_check,
	.describe = limit_describe,
	.take = limit_take,
	.admit = limit_admit,
	.restore_thread = limit_restore_thread,
};
