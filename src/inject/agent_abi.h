/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_INJECT_AGENT_ABI_H
#define GW_INJECT_AGENT_ABI_H

/*
 * What the session and the agent share. The agent's mapping is code (AGENT_CODE_SIZE bytes, r-x), then one
 * struct agent_data (rw-). The offsets of struct agent_home are known to assembly, too.
 */

#define AGENT_CODE_SIZE 0x2000

#define HOME_REGS 0 /* 16 registers in the order of enum home_reg */
#define HOME_RIP 128
#define HOME_FLAGS_AX 136 /* AL = overflow flag, AH = the flags that sahf loads */
#define HOME_EFLAGS 144
#define HOME_MASK 152
#define HOME_DOORBELL 160 /* three 32-bit words: thread group, thread, signal */
#define HOME_SIZE 176

#ifndef __ASSEMBLER__

#include <stdint.h>

enum home_reg {
	HOME_RAX,
	HOME_RBX,
	HOME_RCX,
	HOME_RDX,
	HOME_RSI,
	HOME_RDI,
	HOME_RBP,
	HOME_RSP,
	HOME_R8,
	HOME_R9,
	HOME_R10,
	HOME_R11,
	HOME_R12,
	HOME_R13,
	HOME_R14,
	HOME_R15,
	HOME_REG_N
};

/* Where a thread goes when it finds its own way home. */
struct agent_home {
	uint64_t reg[HOME_REG_N];
	uint64_t rip;
	uint64_t flags_ax;
	uint64_t eflags;
	uint64_t mask;
	uint32_t tgid, tid, signal;
	uint32_t gone; /* has left the slot that this is in (linger.c) */
};

_Static_assert(sizeof(struct agent_home) == HOME_SIZE, "assembly knows the size");
_Static_assert(__builtin_offsetof(struct agent_home, rip) == HOME_RIP, "assembly knows the offset");
_Static_assert(__builtin_offsetof(struct agent_home, mask) == HOME_MASK, "assembly knows the offset");
_Static_assert(__builtin_offsetof(struct agent_home, tgid) == HOME_DOORBELL, "assembly knows the offset");

#define AGENT_CALLS_MAX 256
#define AGENT_DATA_MAX (64 * 1024)
#define AGENT_UNDO_MAX 8
#define AGENT_STACK_SIZE (24 * 1024)

enum agent_from { AGENT_VALUE, AGENT_RESULT, AGENT_DATA };

struct agent_call {
	uint64_t nr;
	uint64_t arg[6];
	uint8_t from[6]; /* enum agent_from, of each argument */
	uint8_t flags;
	uint8_t pad;
	int64_t ret;
};

/* No system call: uses the tile registers as arg[0], the address of a tile configuration, says, so that the kernel
 * gives this thread room for them. */
#define AGENT_CALL_TILES 0x40000000

#define AGENT_STOP_ON_ERROR 1 /* flags: a negative result ends the batch */

struct agent_data {
	struct agent_home home;
	uint64_t batch_mask; /* all signals but the doorbell's */
	uint64_t stack_top;  /* address, there, of the end of `stack` */
	uint32_t n_calls;
	uint32_t n_done;
	uint32_t n_undo; /* calls made on the way home, when nobody is there any more */
	uint32_t pad;
	struct agent_call undo[AGENT_UNDO_MAX];
	struct agent_call call[AGENT_CALLS_MAX];
	uint8_t data[AGENT_DATA_MAX] __attribute__((aligned(16)));
	uint8_t stack[AGENT_STACK_SIZE] __attribute__((aligned(16)));
};

#endif
#endif
