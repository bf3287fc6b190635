/* SPDX-License-Identifier: Apache-2.0 */
/* Guard pages set by madvise() inside a mapping still fault. */
#include "victim.h"
#include <setjmp.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

static sigjmp_buf back;

static void on_fault(int sig)
{
	(void)sig;
	siglongjmp(back, 1);
}

static bool faults(volatile uint8_t *p)
{
	if (sigsetjmp(back, 1))
		return true;
	*p = 1;
	return false;
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_fault };
	uint8_t *area = map(16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	pattern_fill(area, 16 * PAGE, 1);
	if (madvise(area + 4 * PAGE, 2 * PAGE, MADV_GUARD_INSTALL) < 0)
		skip("the kernel has no guard pages");
	sigaction(SIGSEGV, &act, NULL);
	move();
	if (sabotaged())
		must(madvise(area + 4 * PAGE, 2 * PAGE, MADV_GUARD_REMOVE) == 0);
	pattern_check(area, 4 * PAGE, 1);
	check(faults(area + 4 * PAGE + 9) && faults(area + 5 * PAGE), "a guard page is gone");
	check(!faults(area + 6 * PAGE), "a guard page too many");
	must(madvise(area + 4 * PAGE, 2 * PAGE, MADV_GUARD_REMOVE) == 0);
	check(!faults(area + 4 * PAGE), "a guard page cannot be taken away");
	return done();
}
