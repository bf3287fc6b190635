/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers are cut by the stop itself: the kernel returns the part that was done, and whoever stopped the thread
 * must see to the rest. Should that be the mover, and it be killed between the two, the program would see the
 * part. So it is somebody else: a child that shares the mover's memory but not its fate.
 *
 *	mover			child				thread
 *	waits for the child	seizes, interrupts		returns with a part
 *	  (may be killed)	maps a slot, sets registers	is in the call's rest, in a slot
 *				ends, the kernel detaches	goes on
 *	stops all				 		is cut again, or not: the slot is armed
 *
 * Only if both are killed in the same few hundred microseconds is the part all that the program sees.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "inject/internal.h"
#include "inject/linger.h"

#define CHILD_STACK (256u << 10)
#define STOP_US 200000u

struct rescue {
	struct remote *parent;
	const pid_t *tids;
	size_t n;
	linger_judge *judge;
	void *arg;
};

static bool is_wanted(const struct rescue *w, pid_t tid)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->tids[i] == tid)
			return true;
	return false;
}

static int enter_all(struct rescue *w, struct remote *r, struct err *e)
{
	struct linger_call *list = xcalloc(r->n_threads, sizeof *list);
	size_t n = 0;
	int err;

	for (size_t i = 0; i < r->n_threads; i++) {
		if (!w->judge(w->arg, r, &r->threads[i], &list[n]))
			continue;
		list[n].armed = true;
		list[n++].thread = i;
	}
	/* The other threads run: one may be on its way home in there. */
	if (n && foothold_is_left(r))
		err = err_set(e, -EBUSY, "a mover has died in it");
	else
		err = n ? linger_enter(r, list, n, e) : 0;
	foothold_remove(r);
	free(list);
	for (size_t i = 0; i < r->link->n_lingering; i++) /* the parent's memory is this one */
		linger_note(w->parent, r->link->lingering[i].start, r->link->lingering[i].code_len);
	return err;
}

static int child_main(void *arg)
{
	struct rescue *w = arg;
	struct remote r;
	struct err e = { 0 };
	int err = remote_open(&r, w->parent->pid, &e);

	if (err < 0)
		return 1;
	for (size_t i = r.n_threads; i-- > 0;)
		if (!is_wanted(w, r.threads[i].tid))
			threads_remove(&r, i);
	err = remote_stop_listed(&r, now_us() + STOP_US, &e);
	if (!err && r.n_threads)
		err = enter_all(w, &r, &e);
	if (err < 0)
		log_debug("transfers are not prepared for the stop: %s", err_text(&e));
	remote_done(&r);
	return 0; /* which ends it */
}

void linger_rescue(struct remote *r, const pid_t *tids, size_t n, linger_judge *judge, void *arg)
{
	struct rescue w = { .parent = r, .tids = tids, .n = n, .judge = judge, .arg = arg };
	_cleanup_free_ char *stack = xmalloc(CHILD_STACK);
	pid_t child = clone(child_main, stack + CHILD_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, &w);

	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}
