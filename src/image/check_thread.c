/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/filter.h>
#include <signal.h>
#include <string.h>
#include <sys/user.h>

#include "base/util.h"
#include "image/check_job.h"

#define FILTERS_MAX 512 /* of one thread, as in inject/filter.h */
#define THREADS_MAX 65536u
#define TID_MAX (1 << 22)
#define XSTATE_MAX 65536u
#define SIGINFO_LEN 128u
#define SIGNALS_MAX 64
#define QUEUE_MAX (1u << 20)
#define COMM_MAX 15u
#define GROUPS_MAX 65536u
#define AFFINITY_MAX 8192u
#define POLICY_MAX 7

static int bad(struct err *e, const char *what)
{
	return err_set(e, -EBADMSG, "%s", what);
}

int queue_check(const ProtobufCBinaryData *list, size_t n, struct err *e)
{
	if (n > QUEUE_MAX)
		return bad(e, "too many queued signals");
	for (size_t i = 0; i < n; i++) {
		int sig;

		if (list[i].len != SIGINFO_LEN)
			return bad(e, "a queued signal of an impossible size");
		memcpy(&sig, list[i].data, sizeof sig);
		if (sig < 1 || sig > SIGNALS_MAX || sig == SIGKILL || sig == SIGSTOP)
			return bad(e, "a queued signal that cannot be queued");
	}
	return 0;
}

static int check_creds(const Godwit__Ckpt__Creds *m, struct err *e)
{
	const uint32_t ids[] = { m->uid, m->euid, m->suid, m->fsuid, m->gid, m->egid, m->sgid, m->fsgid };

	/* -1 is "leave it as it is" to the system calls, which is root. */
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		if (ids[i] == UINT32_MAX)
			return bad(e, "a user or group that nobody is");
	if (m->n_groups > GROUPS_MAX)
		return bad(e, "too many groups");
	for (size_t i = 0; i < m->n_groups; i++)
		if (m->groups[i] == UINT32_MAX)
			return bad(e, "a user or group that nobody is");
	if (m->cap_effective & ~m->cap_permitted)
		return bad(e, "capabilities in effect that are not permitted");
	if (m->cap_ambient & ~(m->cap_permitted & m->cap_inheritable))
		return bad(e, "ambient capabilities that are not permitted");
	return 0;
}

static int check_sched(const Godwit__Ckpt__Sched *m, struct err *e)
{
	if (m->policy < 0 || m->policy > POLICY_MAX || m->nice < -20 || m->nice > 19 || m->priority > 99)
		return bad(e, "an impossible scheduling policy");
	return m->affinity.len > AFFINITY_MAX ? bad(e, "too many processors") : 0;
}

static int check_thread(const Godwit__Ckpt__Thread *t, bool whole, struct err *e)
{
	const uint64_t places[] = { t->clear_child_tid, t->robust_list, t->rseq_ptr };
	int err;

	if (t->tid < 2 || t->tid > TID_MAX)
		return bad(e, "a thread with an impossible number");
	if ((whole || t->regs.len) && t->regs.len != sizeof(struct user_regs_struct))
		return bad(e, "a thread with an impossible number of registers");
	if (t->xstate.len > XSTATE_MAX)
		return bad(e, "a thread with too many vector registers");
	if (strlen(t->comm) > COMM_MAX)
		return bad(e, "a thread with too long a name");
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (places[i] >= CHECK_USER_END)
			return bad(e, "a thread whose own memory is the kernel's");
	if (t->altstack && (t->altstack->sp >= CHECK_USER_END || t->altstack->size > CHECK_USER_END))
		return bad(e, "a signal stack in the kernel's memory");
	if (t->pdeath_signal < 0 || t->pdeath_signal > SIGNALS_MAX)
		return bad(e, "a death signal that does not exist");
	if (whole && !t->creds)
		return bad(e, "a thread without credentials");
	err = t->creds ? check_creds(t->creds, e) : 0;
	if (!err && t->sched)
		err = check_sched(t->sched, e);
	return err ? err : queue_check(t->pending, t->n_pending, e);
}

static int check_filters(const Godwit__Ckpt__Process *p, struct err *e)
{
	for (size_t i = 0; i < p->n_seccomp_filters; i++) {
		size_t len = p->seccomp_filters[i]->code.len;

		if (!len || len % sizeof(struct sock_filter) || len > BPF_MAXINSNS * sizeof(struct sock_filter))
			return bad(e, "a seccomp filter of an impossible length");
	}
	for (size_t i = 0; i < p->n_threads; i++) {
		const Godwit__Ckpt__Thread *t = p->threads[i];

		if (t->n_seccomp > FILTERS_MAX)
			return bad(e, "too many seccomp filters");
		for (size_t k = 0; k < t->n_seccomp; k++)
			if (t->seccomp[k] >= p->n_seccomp_filters)
				return bad(e, "a seccomp filter that is not there");
	}
	return 0;
}

int threads_check(const Godwit__Ckpt__Process *p, bool whole, struct err *e)
{
	_cleanup_free_ uint64_t *tids = NULL;

	if (!p->n_threads)
		return bad(e, "a process without threads");
	if (p->n_threads > THREADS_MAX)
		return bad(e, "too many threads");
	if (p->threads[0]->tid != p->pid)
		return bad(e, "the first thread is not the process's leader");
	tids = xcalloc(p->n_threads, sizeof *tids);
	for (size_t i = 0; i < p->n_threads; i++) {
		int err = check_thread(p->threads[i], whole, e);

		if (err < 0)
			return err_wrap(e, "thread %d", p->threads[i]->tid);
		tids[i] = (uint64_t)p->threads[i]->tid;
	}
	if (numbers_repeat(tids, p->n_threads))
		return bad(e, "two threads with the same number");
	return check_filters(p, e);
}
