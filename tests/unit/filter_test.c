/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "inject/filter.h"

#define FIELD(f) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, f))
#define RET(action) BPF_STMT(BPF_RET | BPF_K, action)

/* Looks at architecture, number, an argument (by way of memory and arithmetic) and the address of the call. */
static struct sock_filter thorough[] = {
	FIELD(arch),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
	RET(SECCOMP_RET_KILL_PROCESS),
	FIELD(instruction_pointer),
	BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 0x1000, 1, 0),
	RET(SECCOMP_RET_TRAP),
	FIELD(nr),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
	RET(SECCOMP_RET_ERRNO | 1),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 1),
	RET(SECCOMP_RET_TRACE),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 7),
	FIELD(args[0]),
	BPF_STMT(BPF_ST, 3),
	BPF_STMT(BPF_LDX | BPF_W | BPF_MEM, 3),
	BPF_STMT(BPF_LD | BPF_IMM, 40),
	BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 42, 0, 1),
	RET(SECCOMP_RET_KILL_THREAD),
	RET(SECCOMP_RET_ALLOW),
};

static struct sock_filter lenient[] = { RET(SECCOMP_RET_LOG) };
static struct sock_filter asking[] = { FIELD(nr), RET(SECCOMP_RET_USER_NOTIF) };

static enum filter_verdict ask(uint64_t nr, uint64_t arg0, uint64_t ip)
{
	struct filter list[] = { { lenient, ARRAY_LEN(lenient), false },
				 { thorough, ARRAY_LEN(thorough), false } };
	struct filters f = { list, 2 };

	return filters_ask(&f, nr, (uint64_t[6]) { arg0 }, ip);
}

static void test_verdicts(void **state)
{
	(void)state;
	assert_int_equal(ask(SYS_read, 0, 0x2000), FILTER_LETS);
	assert_int_equal(ask(SYS_read, 0, 0x800), FILTER_DESTROYS);
	assert_int_equal(ask(SYS_getppid, 0, 0x2000), FILTER_DENIES);
	assert_int_equal(ask(SYS_tgkill, 0, 0x2000), FILTER_DENIES);
	assert_int_equal(ask(SYS_socket, 1, 0x2000), FILTER_LETS);
	assert_int_equal(ask(SYS_socket, 2, 0x2000), FILTER_DESTROYS);
	assert_int_equal(filters_ask(NULL, SYS_read, (uint64_t[6]) { 0 }, 0), FILTER_LETS);
}

static void test_notify(void **state)
{
	struct filter f = { asking, ARRAY_LEN(asking), false }, g = { thorough, ARRAY_LEN(thorough), false };
	struct filters all = { &f, 1 };

	(void)state;
	assert_true(filter_notifies(&f));
	assert_false(filter_notifies(&g));
	assert_int_equal(filters_ask(&all, SYS_read, (uint64_t[6]) { 0 }, 0x2000), FILTER_DESTROYS);
}

static void __attribute__((noreturn)) be_filtered(int ready)
{
	struct sock_fprog first = { ARRAY_LEN(lenient), lenient }, second = { ARRAY_LEN(thorough), thorough };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &first) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_LOG, &second) < 0)
		_exit(77);
	(void)!write(ready, "r", 1);
	for (;;)
		(void)pause();
}

/* They are read as they were made, in the order in which they were made. */
static void test_read(void **state)
{
	struct filters *f = NULL;
	int ready[2], status;
	pid_t child;
	char byte;

	(void)state;
	if (!filter_can_suspend())
		skip();
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (!child)
		be_filtered(ready[1]);
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_SUSPEND_SECCOMP), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, child, 0, 0), 0);
	assert_int_equal(waitpid(child, &status, __WALL), child);
	assert_int_equal(filters_read(child, &f), 0);
	assert_non_null(f);
	assert_int_equal(f->n, 2);
	assert_true(filters_equal(&f->list[0], &(struct filter) { lenient, ARRAY_LEN(lenient), false }));
	assert_true(filters_equal(&f->list[1], &(struct filter) { thorough, ARRAY_LEN(thorough), true }));
	filters_free(f);
	(void)kill(child, SIGKILL);
	(void)waitpid(child, &status, 0);
	(void)close(ready[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_notify),
		cmocka_unit_test(test_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
