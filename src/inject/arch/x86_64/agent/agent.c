/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: runs inside the process, on a stack of its own, with all signals blocked but the doorbell's.
 *
 * Theory of operation. The session writes home context and batch into agent_data, sets one thread's rip to
 * agent_entry and lets it run. When the batch is done the thread rings the doorbell: it sends itself a signal that
 * this process ignores. A traced thread stops for the signal all the same and the session takes over, usually by
 * putting the thread's registers back. If the tracer died at any instant, the kernel drops the signal, and the
 * thread walks on into the undo calls and home. Nothing here may sleep, and nothing may use floating point or
 * vectors.
 */
#include "inject/agent_abi.h"
#include "inject/arch/x86_64/home.h"

extern struct agent_data agent_data __attribute__((visibility("hidden")));

void agent_batch(void);
void agent_undo(void);

/* The blob starts with words for the session: where to enter, where the thread is when it has rung, where a lone
 * system call instruction is; and by which it is recognised when a mover that died has left it behind. */
__asm__(".section .text.entry, \"ax\"\n"
	"agent_head:\n"
	".quad agent_entry - agent_head\n"
	".quad agent_rang - agent_head\n"
	".quad agent_lone - agent_head\n"
	".ascii \"godwit agent  1\\n\"\n"
	"agent_lone:\n"
	"syscall\n"
	"ud2\n"
	".global agent_entry\n"
	"agent_entry:\n"
	"mov $14, %eax\n" /* the session has set the mask as well; it may not have lived to do so */
	"mov $2, %edi\n"
	"lea agent_data+176(%rip), %rsi\n"
	"mov $0, %edx\n"
	"mov $8, %r10d\n"
	"syscall\n"
	"mov agent_data+184(%rip), %rsp\n"
	"cld\n"
	"call agent_batch\n"
	"mov agent_data+160(%rip), %edi\n"
	"mov agent_data+164(%rip), %esi\n"
	"mov agent_data+168(%rip), %edx\n"
	"mov $234, %eax\n" /* tgkill */
	"syscall\n"
	".global agent_rang\n"
	"agent_rang:\n"
	"call agent_undo\n" GO_HOME_ASM("agent_data") ".previous\n");

_Static_assert(__builtin_offsetof(struct agent_data, batch_mask) == 176, "assembly knows the offset");
_Static_assert(__builtin_offsetof(struct agent_data, stack_top) == 184, "assembly knows the offset");

static int64_t call_kernel(uint64_t nr, const uint64_t *a)
{
	register uint64_t r10 __asm__("r10") = a[3];
	register uint64_t r8 __asm__("r8") = a[4];
	register uint64_t r9 __asm__("r9") = a[5];
	int64_t ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static int64_t touch_tiles(uint64_t config)
{
	__asm__ volatile("ldtilecfg (%0)\n"
			 "tilezero %%tmm0\n"
			 "tilerelease\n"
			 :
			 : "r"(config)
			 : "memory");
	return 0;
}

static int64_t run_one(struct agent_call *c)
{
	uint64_t arg[6];

	for (int i = 0; i < 6; i++) {
		arg[i] = c->arg[i];
		if (c->from[i] == AGENT_RESULT)
			arg[i] = (uint64_t)agent_data.call[arg[i] % AGENT_CALLS_MAX].ret;
		else if (c->from[i] == AGENT_DATA)
			arg[i] += (uint64_t)agent_data.data;
	}
	c->ret = c->nr == AGENT_CALL_TILES ? touch_tiles(arg[0]) : call_kernel(c->nr, arg);
	return c->ret;
}

void agent_batch(void)
{
	for (uint32_t i = 0; i < agent_data.n_calls && i < AGENT_CALLS_MAX; i++) {
		struct agent_call *c = &agent_data.call[i];
		int64_t ret = run_one(c);

		agent_data.n_done = i + 1;
		if (ret < 0 && ret > -4096 && (c->flags & AGENT_STOP_ON_ERROR))
			break;
	}
}

void agent_undo(void)
{
	for (uint32_t i = 0; i < agent_data.n_undo && i < AGENT_UNDO_MAX; i++)
		(void)run_one(&agent_data.undo[i]);
}
