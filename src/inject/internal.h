/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_INJECT_INTERNAL_H
#define GW_INJECT_INTERNAL_H

#include <signal.h>

#include "inject/agent_abi.h"
#include "inject/remote.h"

/* Private to src/inject: what a session keeps beside the public struct remote. */

#define FOOTHOLD_MAX 512

/* The code of a mapping that was left behind; its data follow. */
struct leftover {
	uint64_t start;
	size_t code_len;
};

struct agent_link {
	int proc;     /* /proc/PID */
	int mem;      /* /proc/PID/mem */
	int doorbell; /* a signal that this process ignores */
	bool stopped;
	bool kept_stop;	  /* a SIGSTOP arrived while we held a thread: sent again on release */
	int options;	  /* PTRACE_O_*, for threads that we seize */
	bool can_suspend; /* seccomp filters */
	struct {
		uint64_t at; /* where it goes, 0: this process has no room for one */
		int why;     /* or its mappings could not be read: -errno */
		size_t len;
		uint8_t saved[FOOTHOLD_MAX]; /* what was there */
		bool planted;
	} foothold;
	int no_maps; /* -errno, if there is no hole because nobody could look for one */
	pid_t *born; /* threads made by clone3, not yet adopted, oldest first */
	size_t n_born;
	uint64_t data;		    /* address of struct agent_data there */
	struct leftover *lingering; /* mappings of ours that were there before (linger.c) */
	size_t n_lingering;
	struct agent_call undo[AGENT_UNDO_MAX];
	uint32_t n_undo;
	struct { /* fail.c */
		long at, seen;
		int code;
	} fail;
};

/* --- fail.c: for tests --- */
void fail_init(struct agent_link *link);
/* Whether that call is to fail with -link->fail.code instead of being made; `what`: NULL: it may fail anyway. */
bool fail_now(struct agent_link *link, uint64_t nr, const char *what);

/* --- trace.c: ptrace and waiting --- */

/* Waits until that thread stops or ends; 0, -ETIME or -ESRCH. `ret_status` as from waitpid. */
int trace_wait(pid_t tid, uint64_t deadline_us, int *ret_status) must_check;
int trace_get_regs(pid_t tid, struct user_regs_struct *regs) must_check;
int trace_set_regs(pid_t tid, const struct user_regs_struct *regs) must_check;
int trace_get_mask(pid_t tid, uint64_t *mask) must_check;
int trace_set_mask(pid_t tid, uint64_t mask) must_check;
int trace_go(pid_t tid, int signal) must_check;

/* Lets a stopped thread run from `go` until it has rung the doorbell at address `rang`, and puts it back home.
 * `after`, if not NULL, gets its registers at the doorbell. */
int trace_run(struct remote *r, struct remote_thread *t, const struct user_regs_struct *go, uint64_t rang,
	      struct user_regs_struct *after, struct err *e) must_check;

/* All signals but the doorbell's. */
static inline uint64_t batch_mask(const struct agent_link *link)
{
	return ~(UINT64_C(1) << (link->doorbell - 1));
}

/* --- session.c --- */
/* Waits for the stop that was asked for, past signals that are being delivered. */
int session_wait_stopped(struct remote *r, pid_t tid, uint64_t deadline_us) must_check;
/* The first `known` threads are stopped; stops all others until there are no new ones. */
int session_stop_rest(struct remote *r, size_t known, uint64_t deadline_us, struct err *e) must_check;
/* Stops the threads that are in r->threads, whoever else there may be. */
int remote_stop_listed(struct remote *r, uint64_t deadline_us, struct err *e) must_check;

/* --- linger.c --- */
void linger_note(struct remote *r, uint64_t start, size_t code_len); /* a mapping of ours that there is */

/* --- session.c --- */
/* What it means that a file of /proc/PID cannot be read: that the process has ended, or what `code` says. */
int session_unreadable(const struct remote *r, int code, const char *what, struct err *e);

/* --- threads.c --- */
int threads_list(struct remote *r, struct err *e) must_check;
struct remote_thread *threads_add(struct remote *r, pid_t tid, pid_t vtid);
void threads_remove(struct remote *r, size_t i);
/* Reads registers, mask and rseq of a thread that has stopped, and makes the registers such that losing us is
 * harmless. */
int thread_read(struct remote *r, struct remote_thread *t, struct err *e) must_check;

/* --- arch --- */
void arch_home(struct agent_home *home, const struct remote *r, const struct remote_thread *t);
/* Registers with which a thread starts at `rip` in code of ours. */
void arch_enter(struct user_regs_struct *go, const struct user_regs_struct *home, uint64_t rip);
/* The same, where an instruction for a system call is. */
void arch_call(struct user_regs_struct *go, const struct user_regs_struct *home, uint64_t rip, long nr,
	       const uint64_t arg[6]);
/* Makes a stopped thread end at once, with code of ours at `rip` that makes a system call. */
void arch_exit(struct user_regs_struct *go, const struct user_regs_struct *home, uint64_t rip);
/* Looks for the place for a foothold; leaves foothold.at 0 if there is none. */
void foothold_find(struct remote *r);
int foothold_plant(struct remote *r, const struct remote_thread *t, struct err *e) must_check;
void foothold_remove(struct remote *r);
/* A mover died while its foothold was there: a thread may still be in it. */
bool foothold_is_left(const struct remote *r);
/* One system call from the foothold, in that thread. */
int64_t foothold_call(struct remote *r, struct remote_thread *t, struct err *e, long nr,
		      const uint64_t args[6]) must_check;

extern const uint8_t linger_code_start[], linger_code_end[];
extern const uint8_t agent_blob_start[], agent_blob_end[];

#endif
