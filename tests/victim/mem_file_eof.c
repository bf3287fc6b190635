/* SPDX-License-Identifier: Apache-2.0 */
/* A mapping that reaches beyond the end of its file: SIGBUS there, and none once the file has grown. */
#include "victim.h"
#include <setjmp.h>

static sigjmp_buf back;
static volatile uintptr_t fault;

static void on_bus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	fault = (uintptr_t)info->si_addr;
	siglongjmp(back, 1);
}

int main(void)
{
	struct sigaction act = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO };
	volatile uint8_t *area;
	char path[64];
	int fd = temp_file(path);

	must(ftruncate(fd, PAGE + 100) == 0);
	area = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must((void *)(uintptr_t)area != MAP_FAILED);
	area[PAGE + 5] = 5;
	sigaction(SIGBUS, &act, NULL);
	move();
	check_eq(area[PAGE + 5], 5);
	if (sabotaged())
		must(ftruncate(fd, 4 * PAGE) == 0);
	if (!sigsetjmp(back, 1))
		area[3 * PAGE + 7] = 1;
	check_eq(fault, (uintptr_t)area + 3 * PAGE + 7);
	must(ftruncate(fd, 4 * PAGE) == 0);
	area[3 * PAGE + 7] = 1;
	unlink(path);
	return done();
}
