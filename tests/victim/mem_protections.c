/* SPDX-License-Identifier: Apache-2.0 */
/* Memory without access keeps its contents; the faults come with their addresses. */
#include "victim.h"
#include <setjmp.h>

static sigjmp_buf back;
static volatile uintptr_t fault;
static volatile int code;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	fault = (uintptr_t)info->si_addr;
	code = info->si_code;
	siglongjmp(back, 1);
}

static void expect_fault(volatile uint8_t *p, bool writing)
{
	fault = 0;
	if (!sigsetjmp(back, 1)) {
		if (writing)
			*p = 1;
		else
			(void)*p;
	}
	check_eq(fault, (uintptr_t)p);
	check_eq(code, SEGV_ACCERR);
}

int main(void)
{
	struct sigaction act = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	uint8_t *none = map(8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE),
		*fresh = map(8 * PAGE, PROT_NONE, MAP_PRIVATE);

	pattern_fill(none, 8 * PAGE, 1);
	must(mprotect(none, 4 * PAGE, PROT_NONE) == 0);
	must(mprotect(none + 4 * PAGE, 4 * PAGE, PROT_READ) == 0);
	sigaction(SIGSEGV, &act, NULL);
	move();
	if (sabotaged())
		must(mprotect(none, PAGE, PROT_READ) == 0);
	expect_fault(none + 10, false);
	expect_fault(none + 5 * PAGE, true);
	expect_fault(fresh + 3 * PAGE, false);
	must(mprotect(none, 8 * PAGE, PROT_READ) == 0);
	pattern_check(none, 8 * PAGE, 1);
	return done();
}
