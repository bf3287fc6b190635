/* SPDX-License-Identifier: Apache-2.0 */
/* All general registers and the flags of a thread that never enters the kernel by itself. */
#include "victim.h"

int spin_stop;
uint64_t spin_out[16];
void regs_spin(const uint64_t in[16]);

/* rsp stays the stack's; slot 7 of the arrays is for the flags. DF is set on purpose while it spins. */
__asm__(".text\n"
	".global regs_spin\n"
	"regs_spin:\n"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"mov %rdi, %rax\n"
	"mov 8(%rax), %rbx; mov 16(%rax), %rcx; mov 24(%rax), %rdx; mov 32(%rax), %rsi; mov 40(%rax), %rdi\n"
	"mov 48(%rax), %rbp; mov 64(%rax), %r8; mov 72(%rax), %r9; mov 80(%rax), %r10; mov 88(%rax), %r11\n"
	"mov 96(%rax), %r12; mov 104(%rax), %r13; mov 112(%rax), %r14; mov 120(%rax), %r15\n"
	"mov (%rax), %rax\n"
	"std; stc\n"
	/* bt leaves everything but CF alone, and CF is the bit tested: set until the flag's bit 0 is cleared */
	"1: btl $0, spin_stop(%rip); jc 1b\n"
	"mov %rax, spin_out(%rip); mov %rbx, 8+spin_out(%rip); mov %rcx, 16+spin_out(%rip)\n"
	"mov %rdx, 24+spin_out(%rip); mov %rsi, 32+spin_out(%rip); mov %rdi, 40+spin_out(%rip)\n"
	"mov %rbp, 48+spin_out(%rip); mov %r8, 64+spin_out(%rip); mov %r9, 72+spin_out(%rip)\n"
	"mov %r10, 80+spin_out(%rip); mov %r11, 88+spin_out(%rip); mov %r12, 96+spin_out(%rip)\n"
	"mov %r13, 104+spin_out(%rip); mov %r14, 112+spin_out(%rip); mov %r15, 120+spin_out(%rip)\n"
	"pushfq; pop %rax; mov %rax, 56+spin_out(%rip)\n"
	"cld\n"
	"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"ret\n");

static void *spinner(void *in)
{
	regs_spin(in);
	return NULL;
}

int main(void)
{
	uint64_t in[16];
	pthread_t thread;

	for (int i = 0; i < 16; i++)
		in[i] = pattern(3, (uint64_t)i);
	spin_stop = 1;
	must(pthread_create(&thread, NULL, spinner, in) == 0);
	sleep_until(now_ns() + 20 * MS);
	move();
	if (sabotaged())
		in[12]++;
	__atomic_store_n(&spin_stop, 0, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	for (int i = 0; i < 16; i++)
		check(i == 7 || spin_out[i] == in[i], "register %d is %lx, was %lx", i, spin_out[i], in[i]);
	check(spin_out[7] & 0x400, "the direction flag is lost, flags %lx", spin_out[7]);
	return done();
}
