/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_STATE_H
#define GW_STATE_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "checkpoint.pb-c.h"
#include "inject/remote.h"
#include "mover.pb-c.h"

/*
 * One file per kind of kernel state, its collect and its restore side by side; modules.c lists them all in the
 * one visible table, in the order in which they act.
 *
 * At the source a module is asked up to three times:
 *   check     the job runs. Reads from outside; every reason why it cannot move goes to problem_add().
 *   describe  the job runs. Fills its part of the description from outside. May be stale by the freeze.
 *   ask/take  the job is stopped. `ask` queues system calls in the batch of the leader (process-wide facts) or of
 * each thread, `take` fills the message from the results and from outside. Both must be quick. At the destination:
 *   admit     can this host take it? Reasons go to problem_add(). Nothing exists yet.
 *   prepare   the blank process exists, the job still runs at the source: do all that can be done from the
 * description. restore   the final message is here: correct what changed, do the rest. Queues calls in batches,
 * which the caller runs. finish    the content of the memory has come: what can only be done now (protections). In
 * the table's order. `phase` says when restore runs: memory, then files, then process-wide state, then threads,
 * then what must come last (credentials: once privileges are gone nothing else can be done). Pages come between
 * memory and files. The batch of restore, restore_thread and finish runs when it is full, at the end of each
 * phase, and in state_flush(); in the LAST phase restore_thread is what counts, in each thread.
 *
 * All threads exist, stopped, from prepare on. New ones are made and superfluous ones ended before restore.
 */

enum state_phase { STATE_MEMORY, STATE_FILES, STATE_PROCESS, STATE_THREADS, STATE_LAST };

/* Why a job cannot move; grows, freed with problems_done(). */
struct problems {
	Godwit__Mover__Problem **list;
	size_t n;
	struct err scarce; /* see problem_scarce() */
};
void problem_add(struct problems *p, int pid, int fd, const char *object, const char *help, const char *reason_fmt,
		 ...) __attribute__((format(printf, 6, 7)));
void problems_done(struct problems *p);

/*
 * What cannot be read because it is gone says something about the job; what cannot be read for want of descriptors
 * or memory, or because a device fails, says nothing, and to go on would be to guess. problem_scarce() tells
 * whether `code` (negative) is of the second kind, and if so notes it: the first is what the whole stage fails
 * with.
 */
bool problem_scarce(struct problems *p, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As fd_slurp(), and what is scarce is noted. `p` NULL: it is not. */
ssize_t state_slurp(struct problems *p, int dir, const char *path, size_t max, char **ret_text);
/* At the end of a stage: 0, or what was noted. Reasons found meanwhile may be wrong, so they are dropped. */
int problems_judge(struct problems *p, struct err *e) must_check;

/* What a module notes for itself between ask and take (or ask_thread and take_thread): where its calls and data
 * are. */
struct state_asked {
	int call;
	uint32_t at, at2;
};

struct state_source {
	pid_t pid;  /* in our namespace */
	pid_t vpid; /* in its own */
	int proc;   /* directory fd of /proc/PID */
	int pidfd;
	bool carry, adopted;
	const char *flip_socket; /* of this host's flipd; NULL or "": connections to it cannot move */
	const Godwit__Mover__Stream *const *streams;
	size_t n_streams;
	struct remote *remote; /* NULL before the stop */
	struct problems *problems;
	Godwit__Ckpt__Requirements
		*requirements;	/* during check: every module adds what the destination must have; malloc'ed */
	Godwit__Ckpt__Job *job; /* being filled; everything in it malloc'ed, freed by the generated free */
	Godwit__Ckpt__Process *process; /* job->processes[0] */
	struct mm_snapshot
		*mm; /* memory's view, made by state/mm.c's check; memory_source_free() when all is over */
	struct file_table *files;    /* files' private view: who is open, by kcmp order; see state/file.h */
	struct state_asked *asked;   /* the module's own, during ask, take, ask_thread, take_thread */
	int64_t monotonic_offset_ns; /* the job's clocks against ours */
	int64_t boottime_offset_ns;
	struct peek *peek; /* for the timeouts of interrupted calls; NULL: not on this kernel */
};

#define STATE_GROUPS_MAX 256u

/* With `on`, the source is not believed: the job gets what this user has here, no more (confine.h). */
struct state_confined {
	bool on;
	uid_t uid;
	gid_t gid;
	gid_t groups[STATE_GROUPS_MAX];
	size_t n_groups;
};

struct state_target {
	pid_t pid, vpid;
	int proc, pidfd;
	const Godwit__Ckpt__Job *job; /* description during prepare, the final message during restore */
	const Godwit__Ckpt__Process *process;
	const Godwit__Ckpt__Job *early; /* the description, during restore */
	struct remote *remote;		/* the blank process, stopped, agent mapped */
	const Godwit__Mover__Stream *const *streams;
	const int *stream_fds; /* ours, by position in streams */
	size_t n_streams;
	int agent_sock;	      /* our end of the socket over which descriptors reach the blank */
	int agent_sock_there; /* its number in the blank */
	bool carry;
	/* A descriptor of ours for a connection to flipd as it was at the source. */
	int (*open_flip)(void *ctx, const Godwit__Ckpt__FlipSocket *f, struct err *e);
	void *open_flip_ctx;
	struct state_confined confined;
	const char *scratch;
	struct problems *problems;
	struct file_targets *files; /* files' private view */
	struct mm_target *mm;
	int64_t monotonic_offset_ns; /* the job's clocks against ours */
	int64_t boottime_offset_ns;
};

struct state_module {
	const char *name;
	enum state_phase phase;
	int (*check)(struct state_source *s, struct err *e);
	int (*describe)(struct state_source *s, struct err *e);
	int (*ask)(struct state_source *s, struct batch *b, struct err *e);
	int (*take)(struct state_source *s, struct batch *b, struct err *e);
	int (*ask_thread)(struct state_source *s, struct remote_thread *t, struct batch *b, struct err *e);
	int (*take_thread)(struct state_source *s, struct remote_thread *t, Godwit__Ckpt__Thread *m,
			   struct batch *b, struct err *e);
	int (*admit)(struct state_target *d, const Godwit__Ckpt__Requirements *q, struct err *e);
	int (*prepare)(struct state_target *d, struct err *e);
	int (*restore)(struct state_target *d, struct batch *b, struct err *e);
	int (*restore_thread)(struct state_target *d, struct remote_thread *t, const Godwit__Ckpt__Thread *m,
			      struct batch *b, struct err *e);
	int (*finish)(struct state_target *d, struct batch *b, struct err *e);
};

/* Makes sure that `calls` and `bytes` fit into `b`, which is run in thread `t` (NULL: the leader) and emptied if
 * they do not; state_flush does so anyway. For when the results are needed: they are in `b` until the next
 * batch_init, which state_flush leaves to the caller. */
int state_room(struct state_target *d, struct remote_thread *t, struct batch *b, unsigned calls, size_t bytes,
	       struct err *e) must_check;
int state_flush(struct state_target *d, struct remote_thread *t, struct batch *b, struct err *e) must_check;

extern const struct state_module *const state_modules[]; /* NULL-terminated */

#endif
