/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials, thread by thread.
 *
 * The order at the destination. The blank is root with all that procd has. What may be inherited must be set while
 * it may still be raised beyond the bounding set; SECBIT_NO_SETUID_FIXUP then keeps the change of ids from
 * touching capabilities; the ambient set needs its capabilities permitted and inheritable; securebits need
 * CAP_SETPCAP, so the capabilities proper go last, and no_new_privs, which nothing of this minds, behind them.
 */
#include "state/creds.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/confine.h"
#include "state/kinds.h"

static const char *find_line(const char *status, const char *key)
{
	const char *at = strstr(status, key);

	return at ? at + strlen(key) : NULL;
}

static bool parse_ids(const char *status, const char *key, uint32_t ids[static 4])
{
	const char *at = find_line(status, key);

	return at && sscanf(at, "%u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) == 4;
}

static bool parse_set(const char *status, const char *key, uint64_t *ret)
{
	const char *at = find_line(status, key);

	if (at)
		*ret = strtoull(at, NULL, 16);
	return at != NULL;
}

static void parse_groups(const char *status, Godwit__Ckpt__Creds *m)
{
	const char *at = find_line(status, "\nGroups:");
	int used;
	unsigned gid;

	free(m->groups);
	m->groups = NULL;
	m->n_groups = 0;
	/* A newline ends the list, and %u would skip it. */
	while (at && *at && *at != '\n' && m->n_groups < CREDS_GROUPS_MAX) {
		if (*at == ' ' || *at == '\t') {
			at++;
			continue;
		}
		if (sscanf(at, "%u%n", &gid, &used) != 1)
			break;
		if (!(m->n_groups & (m->n_groups - 1)))
			m->groups = xrealloc(m->groups, sizeof(uint32_t) * (m->n_groups ? 2 * m->n_groups : 1));
		m->groups[m->n_groups++] = gid;
		at += used;
	}
}

int creds_parse(const char *status, Godwit__Ckpt__Creds *m)
{
	uint32_t uid[4], gid[4];
	uint64_t nnp;

	if (!parse_ids(status, "\nUid:", uid) || !parse_ids(status, "\nGid:", gid) ||
	    !parse_set(status, "\nCapInh:", &m->cap_inheritable) ||
	    !parse_set(status, "\nCapPrm:", &m->cap_permitted) ||
	    !parse_set(status, "\nCapEff:", &m->cap_effective) ||
	    !parse_set(status, "\nCapBnd:", &m->cap_bounding) ||
	    !parse_set(status, "\nCapAmb:", &m->cap_ambient) || !parse_set(status, "\nNoNewPrivs:", &nnp))
		return -EBADMSG;
	m->uid = uid[0];
	m->euid = uid[1];
	m->suid = uid[2];
	m->fsuid = uid[3];
	m->gid = gid[0];
	m->egid = gid[1];
	m->sgid = gid[2];
	m->fsgid = gid[3];
	m->no_new_privs = nnp != 0;
	parse_groups(status, m);
	return 0;
}

static int read_creds(int proc, pid_t tid, Godwit__Ckpt__Creds *m, struct err *e)
{
	_cleanup_free_ char *status = NULL;
	char path[64];
	ssize_t n;

	(void)snprintf(path, sizeof path, "task/%d/status", tid);
	n = fd_slurp(proc, path, 1 << 20, &status);
	if (n < 0)
		return err_code(e, (int)n, "thread %d: status", tid);
	return creds_parse(status, m) < 0 ? err_set(e, -EBADMSG, "thread %d: a strange status", tid) : 0;
}

/* --- source --- */

static int creds_check(struct state_source *s, struct err *e)
{
	Godwit__Ckpt__Creds m = GODWIT__CKPT__CREDS__INIT;
	int r = read_creds(s->proc, s->pid, &m, e);

	if (r == 0 && s->requirements)
		s->requirements->capabilities = m.cap_permitted;
	free(m.groups);
	return r;
}

static int creds_ask_thread(struct state_source *s, struct remote_thread *t, struct batch *b, struct err *e)
{
	(void)t;
	(void)e;
	s->asked->call = batch_call(b, "cannot ask for securebits", SYS_prctl, bval(PR_GET_SECUREBITS));
	return b->error;
}

static int creds_take_thread(struct state_source *s, struct remote_thread *t, Godwit__Ckpt__Thread *m,
			     struct batch *b, struct err *e)
{
	Godwit__Ckpt__Creds *c = xmalloc(sizeof *c);

	godwit__ckpt__creds__init(c);
	m->creds = c;
	c->securebits = (uint32_t)batch_ret(b, s->asked->call);
	return read_creds(s->proc, t->tid, c, e);
}

/* --- destination --- */

static int creds_admit(struct state_target *d, const Godwit__Ckpt__Requirements *q, struct err *e)
{
	Godwit__Ckpt__Creds own = GODWIT__CKPT__CREDS__INIT;
	_cleanup_free_ char *status = NULL;
	ssize_t n = fd_slurp(-1, "/proc/self/status", 65536, &status);
	int r = n < 0 ? (int)n : creds_parse(status, &own);

	if (r == 0 && d->confined.on && q->capabilities)
		problem_add(
			d->problems, 0, -1, "capabilities",
			"drop them, or name the source in root_from in the destination's godwit.conf",
			"the job has capabilities, and the destination takes no privileged jobs from that host");
	if (r == 0 && (q->capabilities & ~own.cap_permitted))
		problem_add(d->problems, 0, -1, "capabilities",
			    "drop them, or give them to procd on the destination",
			    "the job has capabilities that the destination cannot give (%llx)",
			    (unsigned long long)(q->capabilities & ~own.cap_permitted));
	free(own.groups);
	return r < 0 ? err_code(e, r, "own capabilities") : 0;
}

static void queue_capset(struct batch *b, uint64_t permitted, uint64_t effective, uint64_t inheritable)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++)
		data[i] = (struct __user_cap_data_struct) { .effective = (uint32_t)(effective >> 32 * i),
							    .permitted = (uint32_t)(permitted >> 32 * i),
							    .inheritable = (uint32_t)(inheritable >> 32 * i) };
	(void)batch_call(b, "cannot set capabilities", SYS_capset, bdata(batch_put(b, &head, sizeof head)),
			 bdata(batch_put(b, data, sizeof data)));
}

static void queue_ids(struct batch *b, const Godwit__Ckpt__Creds *c)
{
	(void)batch_call(b, "cannot set groups", SYS_setgroups, bval(c->n_groups),
			 bdata(batch_put(b, c->groups, c->n_groups * sizeof(uint32_t))));
	(void)batch_call(b, "cannot set group ids", SYS_setresgid, bval(c->gid), bval(c->egid), bval(c->sgid));
	(void)batch_call(b, "cannot set user ids", SYS_setresuid, bval(c->uid), bval(c->euid), bval(c->suid));
	/* They return the old value, whatever happens. */
	(void)batch_call(b, NULL, SYS_setfsgid, bval(c->fsgid));
	(void)batch_call(b, NULL, SYS_setfsuid, bval(c->fsuid));
}

static bool same_groups(const Godwit__Ckpt__Creds *a, const Godwit__Ckpt__Creds *b)
{
	return a->n_groups == b->n_groups &&
	       (!a->n_groups || memcmp(a->groups, b->groups, a->n_groups * sizeof(uint32_t)) == 0);
}

static bool same_creds(const Godwit__Ckpt__Creds *a, const Godwit__Ckpt__Creds *b)
{
	return a->uid == b->uid && a->euid == b->euid && a->suid == b->suid && a->fsuid == b->fsuid &&
	       a->gid == b->gid && a->egid == b->egid && a->sgid == b->sgid && a->fsgid == b->fsgid &&
	       same_groups(a, b) && a->cap_permitted == b->cap_permitted && a->cap_effective == b->cap_effective &&
	       a->cap_inheritable == b->cap_inheritable && a->cap_bounding == b->cap_bounding &&
	       a->cap_ambient == b->cap_ambient && a->no_new_privs == b->no_new_privs &&
	       a->securebits == b->securebits;
}

static void queue_all(struct batch *b, const Godwit__Ckpt__Creds *have, const Godwit__Ckpt__Creds *want)
{
	uint64_t drop = have->cap_bounding & ~want->cap_bounding;

	queue_capset(b, have->cap_permitted, have->cap_permitted, want->cap_inheritable);
	(void)batch_call(b, "cannot set securebits", SYS_prctl, bval(PR_SET_SECUREBITS),
			 bval(SECBIT_NO_SETUID_FIXUP));
	for (unsigned cap = 0; cap < 64; cap++)
		if (drop >> cap & 1)
			(void)batch_call(b, "cannot narrow the bounding set", SYS_prctl, bval(PR_CAPBSET_DROP),
					 bval(cap));
	queue_ids(b, want);
	for (unsigned cap = 0; cap < 64; cap++)
		if (want->cap_ambient >> cap & 1)
			(void)batch_call(b, "cannot set ambient capabilities", SYS_prctl, bval(PR_CAP_AMBIENT),
					 bval(PR_CAP_AMBIENT_RAISE), bval(cap));
	(void)batch_call(b, "cannot set securebits", SYS_prctl, bval(PR_SET_SECUREBITS), bval(want->securebits));
	queue_capset(b, want->cap_permitted, want->cap_effective, want->cap_inheritable);
	if (want->no_new_privs)
		(void)batch_call(b, "cannot set no_new_privs", SYS_prctl, bval(PR_SET_NO_NEW_PRIVS), bval(1));
}

static int creds_restore_thread(struct state_target *d, struct remote_thread *t, const Godwit__Ckpt__Thread *m,
				struct batch *b, struct err *e)
{
	Godwit__Ckpt__Creds have = GODWIT__CKPT__CREDS__INIT;
	const Godwit__Ckpt__Creds *want = m->creds;
	int r;

	if (!want || want->n_groups > 4096)
		return err_set(e, want ? -E2BIG : -EBADMSG, "thread %d: %s", m->tid,
			       want ? "too many groups" : "no credentials");
	r = confine_judge(d, want, e);
	if (r < 0)
		return err_wrap(e, "thread %d", m->tid);
	r = read_creds(d->proc, t->tid, &have, e);
	if (r == 0 && !same_creds(&have, want)) {
		r = state_room(d, t, b, 150, want->n_groups * sizeof(uint32_t) + 256, e);
		if (r == 0) {
			queue_all(b, &have, want);
			r = b->error;
		}
	}
	free(have.groups);
	return r;
}

const struct state_module state_creds = {
	.name = "creds",
	.phase = STATE_LAST,
	.check = creds_check,
	.ask_thread = creds_ask_thread,
	.take_thread = creds_take_thread,
	.admit = creds_admit,
	.restore_thread = creds_restore_thread,
};
