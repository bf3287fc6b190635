/* SPDX-License-Identifier: Apache-2.0 */
/* Timeouts that the kernel tells nobody, vector areas of other sizes, features that are hidden. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/kernel.h"
#include "base/util.h"
#include "inject/interrupted.h"
#include "inject/peek.h"
#include "inject/remote.h"
#include "state/clock.h"
#include "state/xstate.h"

#define SLEEP_S 30
#define SLACK_NS 3000000000LL /* a busy machine starts the child late */

static pid_t start(void (*sleep_fn)(void))
{
	pid_t pid = fork();

	if (!pid) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		sleep_fn();
		_exit(0);
	}
	return pid;
}

static void end(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void in_nanosleep(void)
{
	struct timespec ts = { SLEEP_S, 0 };

	(void)syscall(SYS_nanosleep, &ts, NULL);
}

static void in_epoll_wait(void)
{
	struct epoll_event ev;

	(void)epoll_wait(epoll_create1(0), &ev, 1, SLEEP_S * 1000);
}

static void in_pause(void)
{
	(void)pause();
}

static struct peek *open_or_skip(void)
{
	struct peek *p;
	struct err e;

	if (peek_open(&p, &e) < 0) {
		print_message("# SKIP %s\n", e.text);
		skip();
	}
	return p;
}

static void check_left(int64_t expires_ns)
{
	int64_t left = expires_ns + clock_own_offset() - clock_now_ns(CLOCK_MONOTONIC);

	assert_true(left <= SLEEP_S * 1000000000LL);
	assert_true(left >= SLEEP_S * 1000000000LL - SLACK_NS);
}

/* Asleep in that call? Before, there may be anything on a stack that had another owner. */
static bool is_in(pid_t pid, long call)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/syscall", pid);
	FILE *f = fopen(path, "re");
	long at = -1;

	assert_non_null(f);
	if (fscanf(f, "%ld", &at) != 1)
		at = -1; /* "running" */
	(void)fclose(f);
	return at == call;
}

static int wait_sleep(struct peek *p, pid_t pid, long call, int64_t *expires_ns)
{
	uint64_t until = now_us() + 2000000;
	int err;

	do {
		err = is_in(pid, call) ? peek_sleep(p, pid, expires_ns) : -ENOENT;
		if (err)
			(void)usleep(1000);
	} while (err == -ENOENT && now_us() < until);
	return err;
}

static void sees_the_timer_of_a_sleeper(void **state)
{
	struct peek *p = open_or_skip();
	pid_t pid = start(in_epoll_wait);
	int64_t expires_ns;

	(void)state;
	assert_int_equal(wait_sleep(p, pid, SYS_epoll_wait, &expires_ns), 0);
	check_left(expires_ns);
	end(pid);
	pid = start(in_pause);
	(void)usleep(20000);
	assert_int_equal(peek_sleep(p, pid, &expires_ns), -ENOENT);
	end(pid);
	assert_int_equal(peek_sleep(p, pid, &expires_ns), -ESRCH);
	peek_free(p);
}

static void sees_a_restart_block(void **state)
{
	struct peek *p = open_or_skip();
	pid_t pid = start(in_nanosleep);
	struct peek_restart block;
	struct remote r;
	struct err e;
	int64_t ignored;

	(void)state;
	assert_int_equal(wait_sleep(p, pid, SYS_nanosleep, &ignored), 0);
	assert_int_equal(remote_open(&r, pid, &e), 0);
	assert_int_equal(remote_stop(&r, now_us() + 1000000, &e), 0);
	assert_int_equal((int64_t)r.threads[0].regs.rax, -ERESTART_RESTARTBLOCK);
	assert_int_equal(peek_restart(p, pid, &block), 0);
	assert_int_equal(block.kind, PEEK_NANOSLEEP);
	assert_int_equal(block.clock, CLOCK_MONOTONIC);
	assert_int_equal(block.remainder, 0);
	check_left(block.expires_ns);
	remote_done(&r);
	end(pid);
	peek_free(p);
}

/* In a process of its own: what has been probed stays known. */
static bool are_hidden(void)
{
	struct peek *p;
	struct err e;

	(void)setenv("GODWIT_HIDE", "avx2,bpf-peek,vmsplice", 1);
	return kernel_hidden("avx2") && kernel_hidden("vmsplice") && !kernel_hidden("avx") &&
	       !kernel_hidden("avx25") && !kernel_has(KERNEL_VMSPLICE) && peek_open(&p, &e) == -ENOSYS;
}

static void hidden_features_are_absent(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (!pid)
		_exit(are_hidden() ? 42 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

static void vector_areas_fit(void **state)
{
	static uint8_t from[XSTATE_MAX], to[XSTATE_MAX];
	uint64_t bv = 3;
	struct err e;

	(void)state;
	memset(from, 0x5a, sizeof from);
	memcpy(from + 512, &bv, sizeof bv);
	assert_int_equal(xstate_used(from, 4096), 576);
	/* From a host with a shorter area: what it did not have is in its initial state. */
	assert_int_equal(xstate_fit(from, 576, to, 1024, &e), 0);
	assert_memory_equal(from, to, 576);
	assert_int_equal(to[576], 0);
	/* From one with a longer area, nothing of which is in use. */
	assert_int_equal(xstate_fit(from, 4096, to, 1024, &e), 0);
	assert_int_equal(to[1024], 0);
	/* In use, and absent here. */
	bv |= UINT64_C(1) << 62;
	memcpy(from + 512, &bv, sizeof bv);
	assert_int_equal(xstate_fit(from, 4096, to, 1024, &e), -ENOTSUP);
	/* Lies about lengths. */
	assert_int_equal(xstate_fit(from, 100, to, 1024, &e), -EPROTO);
	assert_int_equal(xstate_fit(from, XSTATE_MAX + 1, to, 1024, &e), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hidden_features_are_absent),
		cmocka_unit_test(sees_the_timer_of_a_sleeper),
		cmocka_unit_test(sees_a_restart_block),
		cmocka_unit_test(vector_areas_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
