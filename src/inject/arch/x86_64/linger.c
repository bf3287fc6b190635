/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread executes that lingers in a call: see inject/linger.h. Its data lie one page behind its code. */
#include "inject/arch/x86_64/home.h"
#include "inject/internal.h"

/* The offsets 176 and 0 are those of struct slot in inject/linger.c: what was done before, and home's rax. */
__asm__(".pushsection .rodata\n"
	".balign 16\n"
	".global linger_code_start, linger_code_end\n"
	"linger_code_start:\n"
	".set linger_data, linger_code_start + 4096\n"
	"syscall\n"
	"mov linger_data+176(%rip), %rcx\n"
	"test %rax, %rax\n"
	"js 1f\n"
	"add %rcx, %rax\n"
	"jmp 2f\n"
	"1: test %rcx, %rcx\n" /* an error after a part was done is told by the next call, as ever */
	"jz 2f\n"
	"mov %rcx, %rax\n"
	"2: mov %rax, linger_data(%rip)\n" HOME_REGS_ASM("linger_data") "linger_code_end:\n"
									".popsection\n");
