/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_INJECT_REMOTE_H
#define GW_INJECT_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "base/err.h"

/*
 * A process under our control: every thread stopped by ptrace, the agent mapped into a hole of its address space.
 *
 * The agent runs a *batch*, an array of system calls, in one go. An argument may be the result of an earlier call
 * of the same batch, or the address of data that travels with the batch. Death of the process is a normal result:
 * -ESRCH from anything.
 */

typedef struct {
	uint64_t a;
} raddr_t; /* an address in the other process; cannot be dereferenced here by accident */

struct remote_thread {
	pid_t tid;		      /* in our pid namespace */
	pid_t vtid;		      /* in its own */
	struct user_regs_struct regs; /* at the stop: what it goes home to. The caller may correct them */
	uint64_t sigmask;
	struct {
		uint64_t ptr;
		uint32_t len, sig, flags, pad;
	} rseq;
	long call_nr;		 /* the system call it was stopped in, -1: none (it was in its own code) */
	int64_t call_expires_ns; /* when its timeout ends, by the kernel's monotonic clock; -1: none or unknown */
	struct filters *filters; /* of seccomp, NULL: none (inject/filter.h) */
	uint64_t call_switches;	 /* peek_restart's, when that was read */
	long left_nr;		 /* the call that a stun has ended or let end, -1: none */
	bool draining;		 /* it is to leave its call: see remote_drain */
};

struct remote {
	pid_t pid;
	pid_t vpid;
	struct remote_thread *threads; /* leader first; the array moves when threads are added */
	size_t n_threads;
	raddr_t agent;	/* start of the agent's mapping, 0 while there is none */
	int group_stop; /* the signal that had stopped the whole process when we came (a shell's ctrl-Z), 0: none
			 */
	uint64_t stopped_at_us;
	struct agent_link *link; /* private to src/inject */
};

/* --- the life of a session; each has its undo --- */

/* Looks at a process and prepares what can be prepared before the freeze; touches nothing. Refuses a process that
 * is traced already (-EBUSY), and one of another architecture (-ENOEXEC). On failure there is nothing to undo. */
int remote_open(struct remote *r, pid_t pid, struct err *e) must_check;

/* Seizes and stops all threads, until no new one appears, within `deadline_us` (of CLOCK_MONOTONIC); else -ETIME.
 * Then whoever could be stopped runs again, but a thread that could not is free only when the caller exits. A
 * thread that is created by a traced one later (at the destination) is traced and stopped from its start; see
 * remote_adopt. */
int remote_stop(struct remote *r, uint64_t deadline_us, struct err *e) must_check;

/*
 * All threads are stopped, neither agent nor foothold there: those marked `draining` go on in their calls, and
 * each is stopped again as soon as its call has ended, with the result in its registers; those that are created
 * meanwhile are stopped. -ETIME at `deadline_us`, -ECANCELED when something comes in at descriptor `cancel`: then
 * threads may still be running that only the caller's end sets free (remote_release frees the others).
 */
int remote_drain(struct remote *r, uint64_t deadline_us, int cancel, struct err *e) must_check;

/* As remote_stop for a process of one thread that will make others by clone3 in a batch: those are traced from
 * birth. */
int remote_stop_blank(struct remote *r, uint64_t deadline_us, struct err *e) must_check;

/* The oldest thread that a clone3 in a batch made and that was not adopted yet, now stopped: appended to
 * r->threads. `vtid` is what clone3 returned. */
int remote_adopt(struct remote *r, pid_t vtid, struct err *e) must_check;
/* Makes thread `i` (not the leader) end; those behind it move up. */
int remote_end_thread(struct remote *r, size_t i, struct err *e) must_check;

/* The vDSO has moved or been replaced, or signals `avoid` (a mask) must not serve as doorbell from now on. */
void remote_look_again(struct remote *r, uint64_t avoid);

size_t remote_agent_size(void);
/* The lowest hole of that size, with a page between it and its neighbours; the caller adds what is `busy`
 * elsewhere (pairs start, end; any order; may be NULL). 0 if there is none. */
raddr_t remote_hole(const struct remote *r, size_t size, const uint64_t (*busy)[2], size_t n_busy);
/* Why there was none the last time. */
int remote_no_hole(const struct remote *r, const char *what, struct err *e);
static inline raddr_t remote_agent_hole(const struct remote *r, const uint64_t (*busy)[2], size_t n_busy)
{
	return remote_hole(r, remote_agent_size(), busy, n_busy);
}

/* Maps the agent. All threads are stopped. `at` 0: any hole; else exactly there. */
int remote_agent_map(struct remote *r, raddr_t at, struct err *e) must_check;
int remote_agent_unmap(struct remote *r, struct err *e) must_check;

/* Every thread gets its `regs` now: for a caller that has corrected them, and for when we die before
 * remote_release. */
int remote_put_regs(struct remote *r, struct err *e) must_check;

/* A file descriptor that the agent closes on its way home if we die, e.g. a pipe's end: -1 forgets all of them. */
void remote_undo_close(struct remote *r, int fd);

/* Gives every thread its `regs` and mask, detaches: the process goes on as if never touched. Idempotent. */
void remote_release(struct remote *r);
void remote_done(struct remote *r); /* frees; releases first if need be */

/* Takes out of a copy of a vDSO what a mover that died may have left in its unused end. */
void remote_clean_vdso(uint8_t *image, size_t len);

/* --- memory; whole length or -errno --- */
int remote_read(const struct remote *r, raddr_t from, void *to, size_t len) must_check;
int remote_write(const struct remote *r, raddr_t to, const void *from, size_t len) must_check;

/* --- batches --- */
#define BATCH_CALLS_MAX 256
#define BATCH_DATA_MAX (64 * 1024)

struct batch_call {
	uint64_t nr;
	uint64_t arg[6];
	uint8_t from[6]; /* 0: arg is a value; 1: arg is an index, the result of that call; 2: offset into data */
	const char *expect; /* batch_run fails with these words if the result is negative */
	int64_t ret;
};

struct batch {
	struct batch_call call[BATCH_CALLS_MAX];
	uint16_t n_calls;
	uint32_t data_len;
	uint8_t data[BATCH_DATA_MAX];
	int error; /* sticky: too many calls or too much data */
};

struct barg { /* an argument of a batched call */
	uint64_t value;
	uint8_t from;
};
static inline struct barg bval(uint64_t v)
{
	return (struct barg) { v, 0 };
}
static inline struct barg bres(int call)
{
	return (struct barg) { (uint64_t)call, 1 };
}
static inline struct barg bdata(uint32_t offset)
{
	return (struct barg) { offset, 2 };
}

void batch_init(struct batch *b);
/* Appends a call; returns its index. Missing arguments are 0: batch_call(b, "umask", SYS_umask, bval(022)).
 * `expect` NULL: any result will do. */
int batch_call_n(struct batch *b, const char *expect, long nr, const struct barg *args, size_t n);
#define batch_call(b, expect, nr, ...)                                                                            \
	batch_call_n(b, expect, nr, (const struct barg[]) { bval(0), ##__VA_ARGS__ } + 1,                         \
		     sizeof((const struct barg[]) { bval(0), ##__VA_ARGS__ }) / sizeof(struct barg) - 1)
/* Data that travels along; returns its offset, for bdata(). batch_room: zeroes, for results. 8-byte aligned. */
uint32_t batch_put(struct batch *b, const void *data, size_t len);
uint32_t batch_room(struct batch *b, size_t len);
static inline void *batch_at(struct batch *b, uint32_t offset)
{
	return b->data + offset;
}
static inline int64_t batch_ret(const struct batch *b, int call)
{
	return b->call[call].ret;
}

/* Runs the whole batch in that thread and brings results and data back. A batch never contains a call that sleeps.
 */
int batch_run(struct remote *r, struct remote_thread *t, struct batch *b, struct err *e) must_check;
/* True if `more` calls and bytes still fit; else run it, batch_init, go on. */
static inline bool batch_fits(const struct batch *b, unsigned calls, size_t bytes)
{
	return b->n_calls + calls <= BATCH_CALLS_MAX && b->data_len + bytes + 8 <= BATCH_DATA_MAX;
}

/* For tests: lets the thread start a batch of one call, and kills the caller there. */
void remote_die_in_batch(struct remote *r, struct remote_thread *t) __attribute__((noreturn));

/*
 * Makes a call that sleeps and interrupts it at once, so that the kernel keeps the restart block that belongs to
 * it. Data at offset i of `data` (at most 256 bytes) are there for it; `in_data`: bit i: arg[i] is such an offset.
 * Returns the call's result: -ERESTART_RESTARTBLOCK, or whatever it returned instead of sleeping. The agent must
 * be mapped, and nothing that sleeps may be done in that thread afterwards. Not for a source: a mover that dies in
 * the middle of it takes the process along.
 */
int64_t remote_sleep(struct remote *r, struct remote_thread *t, long nr, const uint64_t arg[6], uint8_t in_data,
		     const void *data, size_t len, struct err *e) must_check;

/* One call, when speed does not matter. Returns its result (negative errno of the call, or of the session through
 * *e). */
int64_t remote_call(struct remote *r, struct remote_thread *t, struct err *e, long nr,
		    const uint64_t args[6]) must_check;

/* Appends what makes room for tile registers (AMX) in the thread that runs the batch. */
void batch_touch_tiles(struct batch *b);

/* The address, there, of batch data at `offset`: for structures that hold pointers. Valid while the agent is
 * mapped. */
raddr_t remote_batch_addr(const struct remote *r, uint32_t offset);

/* Opens there what is open here: sends `fds` over `sock`, a SOCK_SEQPACKET socket whose other end has the number
 * `sock_there`, in thread `t`. `ret_there`: the numbers they got, in the same order, close-on-exec. */
int remote_put_fds(struct remote *r, struct remote_thread *t, int sock, int sock_there, const int *fds, size_t n,
		   int *ret_there, struct err *e) must_check;

/* Opens here what is open there (pidfd_getfd). */
int remote_getfd(const struct remote *r, int fd, struct err *e) must_check;

#endif
