/* SPDX-License-Identifier: Apache-2.0 */
/* The sixteen ymm registers, upper halves included. */
#include "victim.h"

#define WIDTH 32
#define REGISTERS 16

static volatile int spin = 1;
static _Alignas(64) uint8_t in[REGISTERS * WIDTH], out[REGISTERS * WIDTH];

__attribute__((target("avx"))) static void *spinner(void *arg)
{
	(void)arg;
	__asm__ volatile("vmovaps 0(%0), %%ymm0\n"
			 "vmovaps 32(%0), %%ymm1\n"
			 "vmovaps 64(%0), %%ymm2\n"
			 "vmovaps 96(%0), %%ymm3\n"
			 "vmovaps 128(%0), %%ymm4\n"
			 "vmovaps 160(%0), %%ymm5\n"
			 "vmovaps 192(%0), %%ymm6\n"
			 "vmovaps 224(%0), %%ymm7\n"
			 "vmovaps 256(%0), %%ymm8\n"
			 "vmovaps 288(%0), %%ymm9\n"
			 "vmovaps 320(%0), %%ymm10\n"
			 "vmovaps 352(%0), %%ymm11\n"
			 "vmovaps 384(%0), %%ymm12\n"
			 "vmovaps 416(%0), %%ymm13\n"
			 "vmovaps 448(%0), %%ymm14\n"
			 "vmovaps 480(%0), %%ymm15\n"
			 "1: cmpl $0, %2; jne 1b\n"
			 "vmovaps %%ymm0, 0(%1)\n"
			 "vmovaps %%ymm1, 32(%1)\n"
			 "vmovaps %%ymm2, 64(%1)\n"
			 "vmovaps %%ymm3, 96(%1)\n"
			 "vmovaps %%ymm4, 128(%1)\n"
			 "vmovaps %%ymm5, 160(%1)\n"
			 "vmovaps %%ymm6, 192(%1)\n"
			 "vmovaps %%ymm7, 224(%1)\n"
			 "vmovaps %%ymm8, 256(%1)\n"
			 "vmovaps %%ymm9, 288(%1)\n"
			 "vmovaps %%ymm10, 320(%1)\n"
			 "vmovaps %%ymm11, 352(%1)\n"
			 "vmovaps %%ymm12, 384(%1)\n"
			 "vmovaps %%ymm13, 416(%1)\n"
			 "vmovaps %%ymm14, 448(%1)\n"
			 "vmovaps %%ymm15, 480(%1)\n"
			 "vzeroupper\n"
			 :
			 : "r"(in), "r"(out), "m"(spin)
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
	return NULL;
}

int main(void)
{
	pthread_t thread;

	if (!__builtin_cpu_supports("avx"))
		skip("the processor has no avx");
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
	return done();
}
