/* SPDX-License-Identifier: Apache-2.0 */
/* The thirty-two zmm registers and the eight mask registers. */
#include "victim.h"

#define WIDTH 64
#define REGISTERS 32

static volatile int spin = 1;
static _Alignas(64) uint8_t in[REGISTERS * WIDTH], out[REGISTERS * WIDTH];
static uint64_t masks_in[8], masks_out[8];

__attribute__((target("avx512f,avx512bw"))) static void *spinner(void *arg)
{
	(void)arg;
	__asm__ volatile("vmovaps 0(%0), %%zmm0\n"
			 "vmovaps 64(%0), %%zmm1\n"
			 "vmovaps 128(%0), %%zmm2\n"
			 "vmovaps 192(%0), %%zmm3\n"
			 "vmovaps 256(%0), %%zmm4\n"
			 "vmovaps 320(%0), %%zmm5\n"
			 "vmovaps 384(%0), %%zmm6\n"
			 "vmovaps 448(%0), %%zmm7\n"
			 "vmovaps 512(%0), %%zmm8\n"
			 "vmovaps 576(%0), %%zmm9\n"
			 "vmovaps 640(%0), %%zmm10\n"
			 "vmovaps 704(%0), %%zmm11\n"
			 "vmovaps 768(%0), %%zmm12\n"
			 "vmovaps 832(%0), %%zmm13\n"
			 "vmovaps 896(%0), %%zmm14\n"
			 "vmovaps 960(%0), %%zmm15\n"
			 "vmovaps 1024(%0), %%zmm16\n"
			 "vmovaps 1088(%0), %%zmm17\n"
			 "vmovaps 1152(%0), %%zmm18\n"
			 "vmovaps 1216(%0), %%zmm19\n"
			 "vmovaps 1280(%0), %%zmm20\n"
			 "vmovaps 1344(%0), %%zmm21\n"
			 "vmovaps 1408(%0), %%zmm22\n"
			 "vmovaps 1472(%0), %%zmm23\n"
			 "vmovaps 1536(%0), %%zmm24\n"
			 "vmovaps 1600(%0), %%zmm25\n"
			 "vmovaps 1664(%0), %%zmm26\n"
			 "vmovaps 1728(%0), %%zmm27\n"
			 "vmovaps 1792(%0), %%zmm28\n"
			 "vmovaps 1856(%0), %%zmm29\n"
			 "vmovaps 1920(%0), %%zmm30\n"
			 "vmovaps 1984(%0), %%zmm31\n"
			 "kmovq 0(%3), %%k0\n"
			 "kmovq 8(%3), %%k1\n"
			 "kmovq 16(%3), %%k2\n"
			 "kmovq 24(%3), %%k3\n"
			 "kmovq 32(%3), %%k4\n"
			 "kmovq 40(%3), %%k5\n"
			 "kmovq 48(%3), %%k6\n"
			 "kmovq 56(%3), %%k7\n"
			 "1: cmpl $0, %2; jne 1b\n"
			 "vmovaps %%zmm0, 0(%1)\n"
			 "vmovaps %%zmm1, 64(%1)\n"
			 "vmovaps %%zmm2, 128(%1)\n"
			 "vmovaps %%zmm3, 192(%1)\n"
			 "vmovaps %%zmm4, 256(%1)\n"
			 "vmovaps %%zmm5, 320(%1)\n"
			 "vmovaps %%zmm6, 384(%1)\n"
			 "vmovaps %%zmm7, 448(%1)\n"
			 "vmovaps %%zmm8, 512(%1)\n"
			 "vmovaps %%zmm9, 576(%1)\n"
			 "vmovaps %%zmm10, 640(%1)\n"
			 "vmovaps %%zmm11, 704(%1)\n"
			 "vmovaps %%zmm12, 768(%1)\n"
			 "vmovaps %%zmm13, 832(%1)\n"
			 "vmovaps %%zmm14, 896(%1)\n"
			 "vmovaps %%zmm15, 960(%1)\n"
			 "vmovaps %%zmm16, 1024(%1)\n"
			 "vmovaps %%zmm17, 1088(%1)\n"
			 "vmovaps %%zmm18, 1152(%1)\n"
			 "vmovaps %%zmm19, 1216(%1)\n"
			 "vmovaps %%zmm20, 1280(%1)\n"
			 "vmovaps %%zmm21, 1344(%1)\n"
			 "vmovaps %%zmm22, 1408(%1)\n"
			 "vmovaps %%zmm23, 1472(%1)\n"
			 "vmovaps %%zmm24, 1536(%1)\n"
			 "vmovaps %%zmm25, 1600(%1)\n"
			 "vmovaps %%zmm26, 1664(%1)\n"
			 "vmovaps %%zmm27, 1728(%1)\n"
			 "vmovaps %%zmm28, 1792(%1)\n"
			 "vmovaps %%zmm29, 1856(%1)\n"
			 "vmovaps %%zmm30, 1920(%1)\n"
			 "vmovaps %%zmm31, 1984(%1)\n"
			 "kmovq %%k0, 0(%4)\n"
			 "kmovq %%k1, 8(%4)\n"
			 "kmovq %%k2, 16(%4)\n"
			 "kmovq %%k3, 24(%4)\n"
			 "kmovq %%k4, 32(%4)\n"
			 "kmovq %%k5, 40(%4)\n"
			 "kmovq %%k6, 48(%4)\n"
			 "kmovq %%k7, 56(%4)\n"
			 "vzeroupper\n"
			 :
			 : "r"(in), "r"(out), "m"(spin), "r"(masks_in), "r"(masks_out)
			 : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
			   "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18",
			   "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",
			   "xmm28", "xmm29", "xmm30", "xmm31");
	return NULL;
}

int main(void)
{
	pthread_t thread;

	if (!__builtin_cpu_supports("avx512bw"))
		skip("the processor has no avx512bw");
	pattern_fill(in, sizeof(in), 7);
	pattern_fill(masks_in, sizeof(masks_in), 8);
	must(pthread_create(&thread, NULL, spinner, NULL) == 0);
	sleep_until(now_ns() + 20 * MS);
	move();
	if (sabotaged())
		in[sizeof(in) - 1] ^= 1;
	spin = 0;
	pthread_join(thread, NULL);
	for (size_t i = 0; i < sizeof(in); i++)
		check(in[i] == out[i], "byte %zu of register %zu", i % WIDTH, i / WIDTH);
	check(!memcmp(masks_in, masks_out, sizeof(masks_in)), "mask registers");
	return done();
}
