/* SPDX-License-Identifier: Apache-2.0 */
/* The x87 stack, eight deep, and its control word. */
#include "victim.h"

static volatile int spin = 1;
static double in[8], out[8];
static uint16_t control_in = 0x0e7f /* double precision, round towards zero */, control_out;

static void *spinner(void *arg)
{
	(void)arg;
	__asm__ volatile("fninit; fldcw %2\n"
			 "fldl (%0); fldl 8(%0); fldl 16(%0); fldl 24(%0)\n"
			 "fldl 32(%0); fldl 40(%0); fldl 48(%0); fldl 56(%0)\n"
			 "1: cmpl $0, %4; jne 1b\n"
			 "fstpl 56(%1); fstpl 48(%1); fstpl 40(%1); fstpl 32(%1)\n"
			 "fstpl 24(%1); fstpl 16(%1); fstpl 8(%1); fstpl (%1)\n"
			 "fnstcw %3; fninit\n"
			 :
			 : "r"(in), "r"(out), "m"(control_in), "m"(control_out), "m"(spin)
			 : "memory", "cc");
	return NULL;
}

int main(void)
{
	pthread_t thread;

	for (int i = 0; i < 8; i++)
		in[i] = (double)(int64_t)pattern(5, (uint64_t)i) / 3.0;
	must(pthread_create(&thread, NULL, spinner, NULL) == 0);
	sleep_until(now_ns() + 20 * MS);
	move();
	if (sabotaged())
		in[7] += in[7];
	spin = 0;
	pthread_join(thread, NULL);
	check(!memcmp(in, out, sizeof(in)), "st(0) %a was %a", out[7], in[7]);
	check_eq(control_out, control_in);
	return done();
}
