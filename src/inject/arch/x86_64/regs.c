/* SPDX-License-Identifier: Apache-2.0 */
#include <asm/processor-flags.h>
#include <sys/syscall.h>

#include "inject/internal.h"
#include "inject/interrupted.h"

#define SYSCALL_INSN_LEN 2

/*
 * Where a thread goes if it finds its own way: as its registers say, except that a call that the kernel would
 * restart while it has a tracer is made again from here. restart_syscall() finds its restart block untouched as
 * long as nothing that was called for us has slept.
 */
static void encode_pending(struct agent_home *home, const struct user_regs_struct *r)
{
	if ((long)r->orig_rax < 0)
		return;
	switch (-(int64_t)r->rax) {
	case ERESTARTSYS:
	case ERESTARTNOINTR:
	case ERESTARTNOHAND:
		home->reg[HOME_RAX] = r->orig_rax;
		break;
	case ERESTART_RESTARTBLOCK:
		home->reg[HOME_RAX] = SYS_restart_syscall;
		break;
	default:
		return;
	}
	home->rip -= SYSCALL_INSN_LEN;
}

void arch_home(struct agent_home *home, const struct remote *remote, const struct remote_thread *t)
{
	const struct user_regs_struct *r = &t->regs;
	uint64_t overflow = r->eflags & X86_EFLAGS_OF ? 1 : 0;

	*home = (struct agent_home) {
		.reg = { [HOME_RAX] = r->rax,
			 [HOME_RBX] = r->rbx,
			 [HOME_RCX] = r->rcx,
			 [HOME_RDX] = r->rdx,
			 [HOME_RSI] = r->rsi,
			 [HOME_RDI] = r->rdi,
			 [HOME_RBP] = r->rbp,
			 [HOME_RSP] = r->rsp,
			 [HOME_R8] = r->r8,
			 [HOME_R9] = r->r9,
			 [HOME_R10] = r->r10,
			 [HOME_R11] = r->r11,
			 [HOME_R12] = r->r12,
			 [HOME_R13] = r->r13,
			 [HOME_R14] = r->r14,
			 [HOME_R15] = r->r15 },
		.rip = r->rip,
		.flags_ax = (r->eflags & 0xff) << 8 | overflow,
		.eflags = r->eflags,
		.mask = t->sigmask,
		.tgid = (uint32_t)remote->vpid,
		.tid = (uint32_t)t->vtid,
		.signal = (uint32_t)remote->link->doorbell,
	};
	encode_pending(home, r);
}

void arch_enter(struct user_regs_struct *go, const struct user_regs_struct *home, uint64_t rip)
{
	*go = *home;
	go->rip = rip;
	go->orig_rax = (uint64_t)-1; /* nothing to restart */
	go->eflags &= ~(uint64_t)(X86_EFLAGS_DF | X86_EFLAGS_TF);
}

void arch_call(struct user_regs_struct *go, const struct user_regs_struct *home, uint64_t rip, long nr,
	       const uint64_t arg[6])
{
	arch_enter(go, home, rip);
	go->rax = (uint64_t)nr;
	go->rdi = arg[0];
	go->rsi = arg[1];
	go->rdx = arg[2];
	go->r10 = arg[3];
	go->r8 = arg[4];
	go->r9 = arg[5];
}

void arch_exit(struct user_regs_struct *go, const struct user_regs_struct *home, uint64_t rip)
{
	arch_call(go, home, rip, SYS_exit, (uint64_t[6]) { 0 });
}
