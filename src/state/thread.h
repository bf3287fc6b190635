/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_THREAD_H
#define GW_STATE_THREAD_H

#include "state/state.h"

extern const struct state_module state_seccomp, state_thread, state_signal, state_pending, state_call, state_cpu;

/* The registers, vectors and mask of a thread of the target: the last thing, when nothing more will be run in it.
 */
int thread_settle(struct state_target *d, struct remote_thread *t, const Godwit__Ckpt__Thread *m,
		  struct err *e) must_check;

/*
 * Calls that were interrupted (call.c). Around the stop: what only a sleeping thread shows. At the end, when the
 * agent is about to leave: whatever a thread needs to go on in its call, at the source (undone) or at the
 * destination, where registers and masks of the remote threads are the job's already. `keep_transfers`: prepares
 * for those that the stop would cut short (linger_rescue).
 */
int call_before_stop(struct state_source *s, struct remote *r, bool keep_transfers, struct err *e) must_check;
void call_after_stop(struct state_source *s, struct remote *r);
/* Every thread stopped, the first thing: a transfer that had not begun when call_before_stop looked, and that the
 * stop has cut short, enters a call that lingers, so that should this mover die the job still sees one call and
 * one count. */
int call_keep_transfers(struct state_source *s, struct err *e) must_check;
/* Marks the threads that are in a call which a normal stun lets end (remote_drain); how many. */
size_t call_mark_unfinished(const struct state_source *s, struct remote *r);
/* An emergency: what the stop has interrupted fails with EINTR, or has done the part that it has done. */
int call_break_off(const struct state_source *s, struct remote *r, struct err *e) must_check;
int call_resume_source(struct state_source *s, struct err *e) must_check;
int call_resume_target(struct state_target *d, struct err *e) must_check;
void call_source_done(struct state_source *s);

/* What /proc says of a thread's seccomp mode: refuses what cannot move (seccomp.c). */
void seccomp_check_mode(struct state_source *s, int mode);

/* Signals that are queued in the message: numbers as a mask. */
uint64_t signals_queued(const Godwit__Ckpt__Process *p);

/*
 * Signals that have come since `early` was taken, every thread being stopped all the while: nothing was taken out
 * of a queue, so whatever is behind what is known is new. Appends to *ret (tid 0: to the process), which the
 * caller frees element by element.
 */
int signals_late(struct state_source *s, const Godwit__Ckpt__Process *early, Godwit__Mover__LateSignal ***ret,
		 size_t *ret_n, struct err *e) must_check;

#endif
