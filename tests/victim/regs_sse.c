/* SPDX-License-Identifier: Apache-2.0 */
/* The sixteen xmm registers and mxcsr (rounding towards zero, denormals are zero). */
#include "victim.h"

#define WIDTH 16
#define REGISTERS 16

static volatile int spin = 1;
static _Alignas(64) uint8_t in[REGISTERS * WIDTH], out[REGISTERS * WIDTH];
static uint32_t csr_in = 0x7fc0, csr_out;

static void *spinner(void *arg)
{
	(void)arg;
	__asm__ volatile("movaps 0(%0), %%xmm0\n"
			 "movaps 16(%0), %%xmm1\n"
			 "movaps 32(%0), %%xmm2\n"
			 "movaps 48(%0), %%xmm3\n"
			 "movaps 64(%0), %%xmm4\n"
			 "movaps 80(%0), %%xmm5\n"
			 "movaps 96(%0), %%xmm6\n"
			 "movaps 112(%0), %%xmm7\n"
			 "movaps 128(%0), %%xmm8\n"
			 "movaps 144(%0), %%xmm9\n"
			 "movaps 160(%0), %%xmm10\n"
			 "movaps 176(%0), %%xmm11\n"
			 "movaps 192(%0), %%xmm12\n"
			 "movaps 208(%0), %%xmm13\n"
			 "movaps 224(%0), %%xmm14\n"
			 "movaps 240(%0), %%xmm15\n"
			 "ldmxcsr %3\n"
			 "1: cmpl $0, %2; jne 1b\n"
			 "movaps %%xmm0, 0(%1)\n"
			 "movaps %%xmm1, 16(%1)\n"
			 "movaps %%xmm2, 32(%1)\n"
			 "movaps %%xmm3, 48(%1)\n"
			 "movaps %%xmm4, 64(%1)\n"
			 "movaps %%xmm5, 80(%1)\n"
			 "movaps %%xmm6, 96(%1)\n"
			 "movaps %%xmm7, 112(%1)\n"
			 "movaps %%xmm8, 128(%1)\n"
			 "movaps %%xmm9, 144(%1)\n"
			 "movaps %%xmm10, 160(%1)\n"
			 "movaps %%xmm11, 176(%1)\n"
			 "movaps %%xmm12, 192(%1)\n"
			 "movaps %%xmm13, 208(%1)\n"
			 "movaps %%xmm14, 224(%1)\n"
			 "movaps %%xmm15, 240(%1)\n"
			 "stmxcsr %4\n"
			 :
			 : "r"(in), "r"(out), "m"(spin), "m"(csr_in), "m"(csr_out)
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	return NULL;
}

int main(void)
{
	pthread_t thread;

	pattern_fill(in, sizeof(in), 7);
	must(pthread_create(&thread, NULL, spinner, NULL) == 0);
	sleep_until(now_ns() + 20 * MS);
	move();
	if (sabotaged())
		in[sizeof(in) - 1] ^= 1;
	spin = 0;
	pthread_join(thread, NULL);
	for (size_t i = 0; i < sizeof(in); i++)
		check(in[i] == out[i], "byte %zu of register %zu", i % WIDTH, i / WIDTH);
	check_eq(csr_out, csr_in);
	return done();
}
