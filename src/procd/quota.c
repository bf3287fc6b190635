/* SPDX-License-Identifier: Apache-2.0 */
#include "procd/quota.h"

#include <errno.h>

#include "procd/jobs.h"
#include "procd/rpc.h"

/* One user has no more than this part of the ended jobs that are kept. */
#define EXITED_SHARE 4u

/* It has a mover, a shepherd or a container to be started. */
static bool is_operation(const struct call *c)
{
	switch (c->request->op_case) {
	case GODWIT__PROCD__REQUEST__OP_EXEC:
	case GODWIT__PROCD__REQUEST__OP_RESTART:
	case GODWIT__PROCD__REQUEST__OP_ADOPT:
	case GODWIT__PROCD__REQUEST__OP_CHECK:
	case GODWIT__PROCD__REQUEST__OP_MIGRATE:
	case GODWIT__PROCD__REQUEST__OP_CHECKPOINT:
	case GODWIT__PROCD__REQUEST__OP_STUN:
		return true;
	default:
		return false;
	}
}

bool quota_refuses(struct call *c)
{
	const struct settings *s = &c->p->settings;
	uint64_t requests = 0, operations = 0; /* this one included */
	const struct call *other;

	if (!c->uid)
		return false;
	LIST_FOREACH (other, &c->p->calls, list) {
		if (other->uid != c->uid)
			continue;
		requests++;
		operations += is_operation(other);
	}
	if (requests > s->user_requests)
		call_refuse(c, -EDQUOT,
			    "user %u has %llu requests waiting at %s already (godwit.conf: user_requests)", c->uid,
			    (unsigned long long)s->user_requests, s->name);
	else if (is_operation(c) && operations > s->user_operations)
		call_refuse(c, -EDQUOT,
			    "user %u has %llu operations under way at %s already (godwit.conf: user_operations)",
			    c->uid, (unsigned long long)s->user_operations, s->name);
	else
		return false;
	return true;
}

int quota_admits_job(const struct procd *p, uid_t uid, struct err *e)
{
	uint64_t n = 0;

	for (const struct job *j = p->jobs; j; j = j->next)
		n += j->spec->uid == uid && j->state != JOB_EXITED && j->state != JOB_ENDING;
	if (!uid || n < p->settings.user_jobs)
		return 0;
	return err_set(e, -EDQUOT, "user %u has %llu jobs on %s already (godwit.conf: user_jobs)", uid,
		       (unsigned long long)n, p->settings.name);
}

static void limit(struct procd *p, bool (*counts)(const struct job *j, uid_t uid), uid_t uid, unsigned most)
{
	struct job *oldest = NULL;
	unsigned n = 0;

	for (struct job *j = p->jobs; j; j = j->next) {
		if (j->state != JOB_EXITED || !counts(j, uid))
			continue;
		n++;
		if (!oldest || j->exited_us < oldest->exited_us)
			oldest = j;
	}
	if (n > most)
		jobs_end(oldest, NULL, NULL);
}

static bool is_his(const struct job *j, uid_t uid)
{
	return j->spec->uid == uid;
}

static bool is_any(const struct job *j, uid_t uid)
{
	(void)j;
	(void)uid;
	return true;
}

void quota_limit_exited(struct procd *p, uid_t uid)
{
	if (uid)
		limit(p, is_his, uid, PROCD_EXITED_MAX / EXITED_SHARE);
	limit(p, is_any, uid, PROCD_EXITED_MAX);
}
