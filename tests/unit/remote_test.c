/* SPDX-License-Identifier: Apache-2.0 */
/* A process that we stopped, made work for us and released must not be able to tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "inject/remote.h"

#define THREADS 6
#define SLEEP_MS 700

struct shared {
	volatile int ready, go;
	volatile int futex;
	volatile long ret[THREADS];
	volatile uint64_t took_us[THREADS];
	volatile uint64_t spins;
	int pipe[2];
};

static struct shared *shm;

static long block(int kind)
{
	struct timespec ts = { 0, SLEEP_MS * 1000000L };
	struct pollfd p = { .fd = shm->pipe[0], .events = POLLPRI };
	struct epoll_event ev;
	char c;

	switch (kind) {
	case 0:
		return read(shm->pipe[0], &c, 1);
	case 1:
		return syscall(SYS_nanosleep, &ts, NULL);
	case 2:
		if (!syscall(SYS_futex, &shm->futex, FUTEX_WAIT, 0, NULL, NULL, 0))
			return 0;
		return errno == EAGAIN && shm->futex ? 0 : -1; /* it began again after the wake-up: just as good */
	case 3:
		return poll(&p, 1, SLEEP_MS);
	case 4:
		return epoll_wait(epoll_create1(0), &ev, 1, SLEEP_MS);
	default:
		while (!shm->go)
			shm->spins++;
		return 0;
	}
}

static void *worker(void *arg)
{
	int kind = (int)(intptr_t)arg;
	uint64_t start = now_us();
	long ret;

	__atomic_add_fetch(&shm->ready, 1, __ATOMIC_SEQ_CST);
	errno = 0;
	ret = block(kind);
	shm->ret[kind] = ret < 0 ? -errno : ret;
	shm->took_us[kind] = now_us() - start;
	return NULL;
}

static pid_t start_child(void)
{
	pid_t pid;

	shm = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(shm, MAP_FAILED);
	assert_int_equal(pipe(shm->pipe), 0);
	pid = fork();
	if (!pid) {
		pthread_t t[THREADS];

		alarm(20);
		for (int i = 0; i < THREADS; i++)
			pthread_create(&t[i], NULL, worker, (void *)(intptr_t)i);
		for (int i = 0; i < THREADS; i++)
			pthread_join(t[i], NULL);
		_exit(42);
	}
	while (shm->ready < THREADS)
		usleep(1000);
	usleep(50000); /* into their calls; if one is late, it only tests less */
	return pid;
}

static char *maps_of(pid_t pid)
{
	char path[32], *text;

	(void)snprintf(path, sizeof path, "/proc/%d/maps", pid);
	assert_true(fd_slurp(-1, path, 1 << 20, &text) > 0);
	return text;
}

/* epoll_wait() shows EINTR if the mover dies before it has mended the registers. */
static void finish_child(pid_t pid, bool may_show_eintr)
{
	int status;

	shm->go = 1;
	shm->futex = 1;
	syscall(SYS_futex, &shm->futex, FUTEX_WAKE, 9, NULL, NULL, 0);
	assert_int_equal(write(shm->pipe[1], "x", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
	assert_int_equal(shm->ret[0], 1);
	for (int i = 1; i < 5; i++)
		if (shm->ret[i] && !(may_show_eintr && i == 4 && shm->ret[i] == -EINTR))
			fail_msg("call %d gave %ld", i, shm->ret[i]);
	assert_true(shm->took_us[1] >= SLEEP_MS * 1000 && shm->took_us[1] < SLEEP_MS * 1000 + 300000);
	assert_true(shm->took_us[3] >= SLEEP_MS * 1000 && shm->took_us[3] < SLEEP_MS * 1000 + 300000);
	assert_true(shm->ret[4] || shm->took_us[4] >= SLEEP_MS * 1000);
	(void)close(shm->pipe[0]);
	(void)close(shm->pipe[1]);
}

static void work_in(struct remote *r, struct remote_thread *t)
{
	static struct batch b;
	struct err e;
	uint32_t room;
	int pid, tid, fd, name;

	batch_init(&b);
	room = batch_room(&b, 64);
	pid = batch_call(&b, "getpid", SYS_getpid);
	tid = batch_call(&b, "gettid", SYS_gettid);
	name = (int)batch_put(&b, "/dev/null", 10);
	fd = batch_call(&b, "open", SYS_openat, bval((uint64_t)AT_FDCWD), bdata((uint32_t)name), bval(0));
	(void)batch_call(&b, "close", SYS_close, bres(fd));
	(void)batch_call(&b, "getcwd", SYS_getcwd, bdata(room), bval(64));
	assert_int_equal(batch_run(r, t, &b, &e), 0);
	assert_int_equal(batch_ret(&b, pid), r->vpid);
	assert_int_equal(batch_ret(&b, tid), t->vtid);
	assert_string_not_equal(batch_at(&b, room), "");
}

static void goes_on_as_if_never_touched(void **state)
{
	pid_t pid = start_child();
	char *before = maps_of(pid), *after;
	struct remote r;
	struct err e = { 0 };

	(void)state;
	for (int round = 0; round < 3; round++) {
		if (remote_open(&r, pid, &e) < 0 || remote_stop(&r, now_us() + 1000000, &e) < 0)
			fail_msg("%s", e.text);
		assert_int_equal(r.n_threads, THREADS + 1);
		if (remote_agent_map(&r, (raddr_t) { 0 }, &e) < 0)
			fail_msg("%s", e.text);
		for (size_t i = 0; i < r.n_threads; i++)
			work_in(&r, &r.threads[i]);
		if (remote_agent_unmap(&r, &e) < 0)
			fail_msg("%s", e.text);
		remote_done(&r);
	}
	after = maps_of(pid);
	assert_string_equal(before, after);
	free(before);
	free(after);
	finish_child(pid, false);
}

/* The mover is killed with a thread in the middle of a batch, and with all of them merely stopped. */
static void survives_the_death_of_the_mover(void **state)
{
	pid_t pid = start_child();

	(void)state;
	for (int round = 0; round < 8; round++) {
		pid_t mover = fork();
		int status;

		if (!mover) {
			struct remote r;
			struct err e;

			if (remote_open(&r, pid, &e) < 0 || remote_stop(&r, now_us() + 1000000, &e) < 0 ||
			    remote_agent_map(&r, (raddr_t) { 0 }, &e) < 0)
				_exit(1);
			if (round)
				remote_die_in_batch(&r, &r.threads[round - 1 < THREADS ? round - 1 : 0]);
			(void)raise(SIGKILL);
		}
		assert_int_equal(waitpid(mover, &status, 0), mover);
		assert_true(WIFSIGNALED(status));
	}
	finish_child(pid, true);
}

static void __attribute__((noreturn)) work_until_killed(pid_t pid)
{
	for (;;) {
		struct remote r;
		struct err e;

		if (remote_open(&r, pid, &e) < 0 || remote_stop(&r, now_us() + 1000000, &e) < 0 ||
		    remote_agent_map(&r, (raddr_t) { 0 }, &e) < 0) {
			print_error("%s\n", e.text);
			_exit(1);
		}
		for (size_t i = 0; i < r.n_threads; i++)
			work_in(&r, &r.threads[i]);
		if (remote_agent_unmap(&r, &e) < 0)
			_exit(1);
		remote_done(&r);
	}
}

/* ... and at any other instant that chance finds. */
static void survives_death_at_any_instant(void **state)
{
	pid_t pid = start_child();
	unsigned seed = (unsigned)getpid();

	(void)state;
	print_message("# seed %u\n", seed);
	srand(seed);
	for (int round = 0; round < 150; round++) {
		pid_t mover = fork();
		int status;

		if (!mover)
			work_until_killed(pid);
		usleep((useconds_t)(rand() % 4000));
		assert_int_equal(kill(mover, SIGKILL), 0);
		assert_int_equal(waitpid(mover, &status, 0), mover);
		assert_true(WIFSIGNALED(status));
	}
	finish_child(pid, true);
}

/* An error that was asked for by name ends the batch and is told. */
static void stops_at_the_first_unexpected_error(void **state)
{
	pid_t pid = start_child();
	static struct batch b;
	struct remote r;
	struct err e;
	int after;

	(void)state;
	assert_int_equal(remote_open(&r, pid, &e), 0);
	assert_int_equal(remote_stop(&r, now_us() + 1000000, &e), 0);
	assert_int_equal(remote_agent_map(&r, (raddr_t) { 0 }, &e), 0);
	batch_init(&b);
	(void)batch_call(&b, NULL, SYS_close, bval(999));
	(void)batch_call(&b, "closing what is not open", SYS_close, bval(999));
	after = batch_call(&b, NULL, SYS_getpid);
	assert_int_equal(batch_run(&r, &r.threads[0], &b, &e), -EBADF);
	assert_non_null(strstr(e.text, "closing what is not open"));
	assert_int_equal(batch_ret(&b, after), -ECANCELED);
	assert_int_equal(remote_agent_unmap(&r, &e), 0);
	remote_done(&r);
	finish_child(pid, false);
}

static void refuses_a_traced_process(void **state)
{
	pid_t pid = fork();
	struct remote r;
	struct err e;
	int status;

	(void)state;
	if (!pid)
		for (;;)
			pause();
	assert_int_equal(ptrace(PTRACE_SEIZE, pid, 0, 0), 0);
	assert_int_equal(remote_open(&r, pid, &e), -EBUSY);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_on_as_if_never_touched),
		cmocka_unit_test(stops_at_the_first_unexpected_error),
		cmocka_unit_test(survives_the_death_of_the_mover),
		cmocka_unit_test(survives_death_at_any_instant),
		cmocka_unit_test(refuses_a_traced_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
