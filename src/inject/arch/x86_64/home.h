/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_INJECT_X86_HOME_H
#define GW_INJECT_X86_HOME_H

#include "inject/agent_abi.h"

/*
 * The way home, as assembly text: from the struct agent_home at `d`, reached relative to rip.
 *
 * It must not use rt_sigreturn, which would turn a pending restart_syscall() into EINTR, and must never have its
 * stack pointer anywhere but where the thread had it: a signal may be delivered at any instruction once the mask
 * is back. So the arithmetic flags are loaded by add and sahf instead of popf. Direction is set before them; the
 * other flags were never touched.
 */
#define GO_HOME_ASM(d) HOME_MASK_ASM(d) HOME_REGS_ASM(d) HOME_JUMP_ASM(d)

#define HOME_MASK_ASM(d)                                                                                          \
	"mov $14, %eax\n" /* rt_sigprocmask */                                                                    \
	"mov $2, %edi\n"  /* SIG_SETMASK */                                                                       \
	"lea " d "+152(%rip), %rsi\n"                                                                             \
	"mov $0, %edx\n"                                                                                          \
	"mov $8, %r10d\n"                                                                                         \
	"mov " d "+56(%rip), %rsp\n"                                                                              \
	"syscall\n"

#define HOME_REGS_ASM(d)                                                                                          \
	"testl $0x400, " d "+144(%rip)\n"                                                                         \
	"jz 77f\n"                                                                                                \
	"std\n"                                                                                                   \
	"77:\n"                                                                                                   \
	"mov " d "+136(%rip), %eax\n"                                                                             \
	"add $0x7f, %al\n"                                                                                        \
	"sahf\n"                                                                                                  \
	"mov " d "+0(%rip), %rax\n"                                                                               \
	"mov " d "+8(%rip), %rbx\n"                                                                               \
	"mov " d "+16(%rip), %rcx\n"                                                                              \
	"mov " d "+24(%rip), %rdx\n"                                                                              \
	"mov " d "+32(%rip), %rsi\n"                                                                              \
	"mov " d "+40(%rip), %rdi\n"                                                                              \
	"mov " d "+48(%rip), %rbp\n"                                                                              \
	"mov " d "+64(%rip), %r8\n"                                                                               \
	"mov " d "+72(%rip), %r9\n"                                                                               \
	"mov " d "+80(%rip), %r10\n"                                                                              \
	"mov " d "+88(%rip), %r11\n"                                                                              \
	"mov " d "+96(%rip), %r12\n"                                                                              \
	"mov " d "+104(%rip), %r13\n"                                                                             \
	"mov " d "+112(%rip), %r14\n"                                                                             \
	"mov " d "+120(%rip), %r15\n"

#define HOME_JUMP_ASM(d) "jmp *" d "+128(%rip)\n"

#endif
