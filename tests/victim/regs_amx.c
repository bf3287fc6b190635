/* SPDX-License-Identifier: Apache-2.0 */
/* Tile registers, which a process has to ask for, live across the move. */
#include "victim.h"
#include <asm/prctl.h>

#ifndef ARCH_REQ_XCOMP_PERM
#define ARCH_REQ_XCOMP_PERM 0x1023
#endif
#define TILEDATA 18
#define ROWS 16
#define ROW_BYTES 64

/* Nothing between load and store but system calls, which leave tiles alone. */
static void tiles_across(const uint8_t *config, const uint8_t *in, uint8_t *out)
{
	__asm__ volatile("ldtilecfg (%0)" : : "r"(config) : "memory");
	__asm__ volatile("tileloadd (%0,%1,1), %%tmm0" : : "r"(in), "r"((long)ROW_BYTES) : "memory");
	move();
	__asm__ volatile("tilestored %%tmm0, (%0,%1,1)" : : "r"(out), "r"((long)ROW_BYTES) : "memory");
	__asm__ volatile("tilerelease");
}

int main(void)
{
	static uint8_t config[64] __attribute__((aligned(64))) = { [0] = 1, [16] = ROW_BYTES, [48] = ROWS };
	static uint8_t in[ROWS * ROW_BYTES], out[ROWS * ROW_BYTES];

	if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILEDATA) < 0)
		skip("no AMX");
	pattern_fill(in, sizeof(in), 7);
	tiles_across(config, in, out);
	if (sabotaged())
		out[3] ^= 1;
	pattern_check(out, sizeof(out), 7);
	return done();
}
