/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector ROUNDS: arithmetic that keeps vector registers live all the time, and prints a line after each round. A
 * wrong bit in a register is in every line that follows.
 */
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 4000000

__attribute__((target("avx2"))) static void round_avx(uint32_t state[64])
{
	__m256i a[8];

	for (int i = 0; i < 8; i++)
		a[i] = _mm256_loadu_si256((const __m256i *)(const void *)(state + 8 * i));
	for (int step = 0; step < STEPS; step++) {
		for (int i = 0; i < 8; i++)
			a[i] = _mm256_add_epi32(_mm256_mullo_epi32(a[i], _mm256_set1_epi32(1664525)),
						_mm256_xor_si256(a[(i + 1) & 7], _mm256_srli_epi32(a[i], 13)));
		/* whatever the compiler may want to keep in memory has to be in registers here */
		__asm__ volatile("" : "+x"(a[0]), "+x"(a[1]), "+x"(a[2]), "+x"(a[3]));
		__asm__ volatile("" : "+x"(a[4]), "+x"(a[5]), "+x"(a[6]), "+x"(a[7]));
	}
	for (int i = 0; i < 8; i++)
		_mm256_storeu_si256((__m256i *)(void *)(state + 8 * i), a[i]);
}

static void round_plain(uint32_t state[64])
{
	uint32_t next[8];

	for (int step = 0; step < STEPS; step++) {
		for (int i = 0; i < 8; i++) {
			for (int k = 0; k < 8; k++) {
				uint32_t x = state[8 * i + k];

				next[k] = x * 1664525 + (state[8 * ((i + 1) & 7) + k] ^ x >> 13);
			}
			memcpy(state + 8 * i, next, sizeof(next));
		}
	}
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 100;
	uint32_t state[64];

	for (uint32_t i = 0; i < 64; i++)
		state[i] = i * 2654435761u + 1;
	for (int i = 0; i < rounds; i++) {
		if (__builtin_cpu_supports("avx2"))
			round_avx(state);
		else
			round_plain(state);
		printf("%d", i);
		for (int k = 0; k < 64; k += 7)
			printf(" %08x", state[k]);
		printf("\n");
		fflush(stdout);
	}
	return 0;
}
