/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread executes that lingers in a call: see inject/linger.h. Its data lie one page behind its code. */
#include "inject/arch/x86_64/home.h"
#include "inject/internal.h"

/*
 * The offsets are those of struct slot in inject/linger.c, the shapes those of enum linger_shape; home's rax is at
 * 0, its `gone` at 172. The call and its arguments are in the registers; a stop cannot make this forget anything,
 * since what has been transferred is added up here, by the thread itself, and nowhere else.
 */
#define DATA "linger_code_start + 4096"
#define DONE DATA "+176(%rip)"
#define ARMED DATA "+184(%rip)"
#define SHAPE DATA "+188(%rip)"
#define NR DATA "+192(%rip)"

__asm__(".pushsection .rodata\n"
	".balign 16\n"
	".global linger_code_start, linger_code_end\n"
	"linger_code_start:\n"
	"syscall\n"
	"mov " DONE ", %rcx\n"
	"test %rax, %rax\n"
	"jle 8f\n" /* an error after a part was done is told by the next call, as ever */
	"add %rax, " DONE "\n"
	"cmpl $0, " ARMED "\n"
	"je 7f\n"
	"decl " ARMED "\n"
	"mov " SHAPE ", %ebx\n"
	"cmp $1, %ebx\n"
	"je 1f\n"
	"cmp $2, %ebx\n"
	"je 2f\n"
	"cmp $3, %ebx\n"
	"je 3f\n"
	"cmp $4, %ebx\n"
	"je 4f\n"
	"cmp $5, %ebx\n"
	"jne 7f\n"
	"sub %rax, %r10\n" /* 5: a count in r10 */
	"jmp 6f\n"
	"1: add %rax, %rsi\n" /* 1: a buffer at rsi, rdx long */
	"sub %rax, %rdx\n"
	"jmp 6f\n"
	"2: add %rax, %rdi\n" /* 2: a buffer at rdi, rsi long */
	"sub %rax, %rsi\n"
	"jmp 6f\n"
	"3: test %rdx, %rdx\n" /* 3: a vector at rsi, rdx elements */
	"jz 7f\n"
	"cmp 8(%rsi), %rax\n"
	"jb 30f\n"
	"sub 8(%rsi), %rax\n"
	"add $16, %rsi\n"
	"dec %rdx\n"
	"jmp 3b\n"
	"30: add %rax, (%rsi)\n"
	"sub %rax, 8(%rsi)\n"
	"jmp 9f\n"
	"4: cmpq $0, 24(%rsi)\n" /* 4: a message at rsi */
	"je 7f\n"
	"mov 16(%rsi), %rbx\n"
	"cmp 8(%rbx), %rax\n"
	"jb 40f\n"
	"sub 8(%rbx), %rax\n"
	"addq $16, 16(%rsi)\n"
	"decq 24(%rsi)\n"
	"jmp 4b\n"
	"40: add %rax, (%rbx)\n"
	"sub %rax, 8(%rbx)\n"
	"jmp 9f\n"
	"6: jz 7f\n"
	"9: mov " NR ", %rax\n"
	"jmp linger_code_start\n"
	"7: mov " DONE ", %rax\n"
	"jmp 5f\n"
	"8: test %rcx, %rcx\n"
	"jz 5f\n"
	"mov %rcx, %rax\n"
	"5: mov %rax, " DATA "(%rip)\n" HOME_REGS_ASM(DATA) "movl $1, " DATA
							    "+172(%rip)\n" HOME_JUMP_ASM(DATA) "linger_code_end:\n"
											       ".popsection\n");
