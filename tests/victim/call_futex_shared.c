/* SPDX-License-Identifier: Apache-2.0 */
/* A process-shared futex in shared memory, waited for and woken through two mappings of it. */
#include "victim.h"
#include <linux/futex.h>

static int *one, *other;

static long do_wait(void *arg)
{
	(void)arg;
	return syscall(SYS_futex, one, FUTEX_WAIT, 7, NULL, NULL, 0);
}

int main(void)
{
	struct caller c = { .call = do_wait };
	char path[64];
	int fd = temp_file(path);

	must(ftruncate(fd, PAGE) == 0);
	one = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	other = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(one != MAP_FAILED && other != MAP_FAILED);
	*one = 7;
	caller_start(&c, SYS_futex);
	caller_move(&c, SYS_futex);
	check_eq(syscall(SYS_futex, other, FUTEX_WAKE, 10, NULL, NULL, 0), 1);
	caller_join(&c);
	check_eq(c.ret, 0);
	unlink(path);
	return done();
}
