/* SPDX-License-Identifier: Apache-2.0 */
/* The cell of flipd: children go in and try what is forbidden. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "flipd/flipd.h"

static char empty[] = "/tmp/godwit-empty-XXXXXX";

/* How a child ends that does this in the cell. */
static int in_the_cell(void (*act)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct err e = { 0 };

		log_set_level(LOG_ERROR);
		if (sandbox_enter(empty, -1, &e) < 0)
			_exit(99);
		act();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void nothing(void)
{
}

static void work(void)
{
	void *p = malloc(32 << 20);
	int pair = getpid() > 0 && p ? 0 : 1;

	free(p);
	if (pair)
		_exit(1);
}

static void make_socket(void)
{
	(void)socket(AF_INET, SOCK_DGRAM, 0);
}

static void run_a_program(void)
{
	(void)execl("/bin/true", "true", NULL);
}

static void trace(void)
{
	(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void leave_the_root(void)
{
	_exit(chroot(".") < 0);
}

static void become_root(void)
{
	_exit(setuid(0) < 0);
}

static void kill_somebody(void)
{
	(void)kill(getppid(), 0);
}

static void fork_again(void)
{
	(void)syscall(SYS_fork);
}

static void map_code(void)
{
	(void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void open_file(void)
{
	_exit(open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != ENOENT);
}

static void forbidden_calls_kill(void **state)
{
	static void (*const acts[])(void) = { make_socket, run_a_program, trace,      leave_the_root,
					      become_root, kill_somebody, fork_again, map_code };

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	skip();
#endif
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		int status = in_the_cell(acts[i]);

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
	}
}

static void allowed_calls_do_not(void **state)
{
	(void)state;
	assert_int_equal(in_the_cell(nothing), 0);
	assert_int_equal(in_the_cell(work), 0);
	assert_int_equal(in_the_cell(open_file), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forbidden_calls_kill),
		cmocka_unit_test(allowed_calls_do_not),
	};
	int failed;

	if (!mkdtemp(empty) || chmod(empty, 0555) < 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(empty);
	return failed;
}
