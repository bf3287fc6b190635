/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every victim shares. A victim is an ordinary program with one idea: it sets up one kind of state, says
 * "ready", waits for a line on its standard input, looks whether everything is as it was, and says "ok". It knows
 * nothing of what happens to it between "ready" and the line, and passes when nothing does.
 *
 *	ready			state is set up, now do what you want
 *	ok, exit 0		the state is what it was
 *	FAILED: why, exit 1	it is not
 *	SKIP why, exit 77	the kernel or the machine lacks something; may come before or instead of "ready"
 *
 * With VICTIM_SABOTAGE in its environment a victim damages its own state after the line, and then must fail: that
 * is how every check is seen to be able to. VICTIM_SLACK_MS is what a timeout may be late on a busy machine,
 * VICTIM_DIR a directory for files instead of /tmp, VICTIM_TIMED_MS how long timeouts are.
 */
#ifndef VICTIM_H
#define VICTIM_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define V_MAYBE __attribute__((unused))
#define MS 1000000LL
#define PAGE 4096UL

static V_MAYBE __attribute__((noreturn, format(printf, 2, 3))) void v_end(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	_exit(status);
}

#define fail(fmt, ...) v_end(1, "FAILED: %s:%d: " fmt, __FILE__, __LINE__, ##__VA_ARGS__)
#define skip(fmt, ...) v_end(77, "SKIP " fmt, ##__VA_ARGS__)

/* Something that must hold after the move (and does before it). */
#define check(cond, fmt, ...)                                                                                     \
	do {                                                                                                      \
		if (!(cond))                                                                                      \
			fail("%s: " fmt, #cond, ##__VA_ARGS__);                                                   \
	} while (0)

/* Setting up must not fail; if it does the victim is wrong, not the mover. */
#define must(cond) check(cond, "%s", strerror(errno))

#define check_eq(have, want)                                                                                      \
	do {                                                                                                      \
		long long have_ = (long long)(have), want_ = (long long)(want);                                   \
		if (have_ != want_)                                                                               \
			fail("%s is %lld (0x%llx), was %lld (0x%llx)", #have, have_, have_, want_, want_);        \
	} while (0)

static V_MAYBE bool sabotaged(void)
{
	return getenv("VICTIM_SABOTAGE") != NULL;
}

static V_MAYBE int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static V_MAYBE int64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static V_MAYBE struct timespec timespec_ns(int64_t ns)
{
	return (struct timespec) { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

/* Sleeps in small steps until @until, however often it is interrupted. */
static V_MAYBE void sleep_until(int64_t until_ns)
{
	struct timespec t = timespec_ns(until_ns);

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static V_MAYBE int64_t slack_ns(void)
{
	const char *text = getenv("VICTIM_SLACK_MS");

	return (text ? atoll(text) : 400) * MS;
}

/* Says ready and returns when told to go on: whatever is to happen to this program happens in here. */
static V_MAYBE void move(void)
{
	char c = 0;
	ssize_t n;

	fputs("ready\n", stdout);
	fflush(stdout);
	while ((n = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n')
		;
	check(n == 1, "standard input gave %zd, %s", n, strerror(errno));
}

static V_MAYBE int done(void)
{
	puts("ok");
	fflush(stdout);
	return 0;
}

/* Reads a small file whole; returns a malloc'd string, NULL if there is no such file. */
static V_MAYBE char *slurp_length(const char *path, size_t *ret_length)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0, room = 65536;
	char *text = malloc(room);
	ssize_t n;

	if (fd < 0 || !text) {
		free(text);
		return NULL;
	}
	while ((n = read(fd, text + have, room - have - 1)) > 0) {
		have += (size_t)n;
		if (room - have < 4096)
			text = realloc(text, room *= 2);
	}
	close(fd);
	text[have] = 0;
	if (ret_length)
		*ret_length = have;
	return text;
}

static V_MAYBE char *slurp(const char *path)
{
	return slurp_length(path, NULL);
}

/* The rest of the line of @path that begins with @key ("VmLck:"); "" if there is none. */
static V_MAYBE char *proc_field(const char *path, const char *key)
{
	char *text = slurp(path), *line, *end, *value = NULL;

	for (line = text; line && *line; line = end + 1) {
		end = strchrnul(line, '\n');
		if (!strncmp(line, key, strlen(key)))
			value = strndup(line + strlen(key), (size_t)(end - line) - strlen(key));
		if (value || !*end)
			break;
	}
	free(text);
	return value ? value : strdup("");
}

/* A deterministic, incompressible-looking pattern: word i of stream @seed. */
static V_MAYBE uint64_t pattern(uint64_t seed, uint64_t i)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15ULL + i * 0xbf58476d1ce4e5b9ULL + 1;

	x ^= x >> 31;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 29;
}

static V_MAYBE void pattern_fill(void *where, size_t bytes, uint64_t seed)
{
	uint64_t *words = where;

	for (size_t i = 0; i < bytes / 8; i++)
		words[i] = pattern(seed, i);
}

static V_MAYBE void pattern_check(const void *where, size_t bytes, uint64_t seed)
{
	const uint64_t *words = where;

	for (size_t i = 0; i < bytes / 8; i++)
		check(words[i] == pattern(seed, i), "word %zu of pattern %lu at %p", i, (unsigned long)seed,
		      (const void *)(words + i));
}

static V_MAYBE void *map(size_t bytes, int prot, int flags)
{
	void *p = mmap(NULL, bytes, prot, flags | MAP_ANONYMOUS, -1, 0);

	must(p != MAP_FAILED);
	return p;
}

/* Where files of its own may be: a directory that every host of a lab sees. */
static V_MAYBE const char *temp_place(void)
{
	const char *place = getenv("VICTIM_DIR");

	return place ? place : "/tmp";
}

/* A file of its own; unlinked by the caller. */
static V_MAYBE int temp_file(char path[64])
{
	int fd;

	must(snprintf(path, 64, "%s/victim-XXXXXX", temp_place()) < 64 - 10);
	fd = mkostemp(path, O_CLOEXEC);
	must(fd >= 0);
	return fd;
}

/* The same for a directory. */
static V_MAYBE void temp_dir(char path[64])
{
	must(snprintf(path, 64, "%s/victim-XXXXXX", temp_place()) < 64 - 10);
	must(mkdtemp(path));
}

/* ---- a thread that blocks in one system call ---- */

struct caller {
	long (*call)(void *arg); /* what it does: its result, errno kept */
	void *arg;
	pthread_t thread;
	pid_t tid;
	long ret;
	int err;
	int64_t began_ns, ended_ns;
	bool ended;
};

/* The number of the system call that thread @tid sleeps in, -1 if it runs. */
static V_MAYBE long call_of(pid_t tid)
{
	char path[64], *text;
	long nr = -1;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	text = slurp(path);
	if (text && (text[0] < '0' || text[0] > '9' || sscanf(text, "%ld", &nr) != 1))
		nr = -1;
	free(text);
	return nr;
}

/* Whether thread @tid sleeps in call @nr, or in it as the kernel restarts it. */
static V_MAYBE bool in_call(pid_t tid, long nr)
{
	long is = call_of(tid);

	return is == nr || is == SYS_restart_syscall;
}

/* Waits until thread @tid sleeps in call @nr (or, if the caller can tell, has ended). */
static V_MAYBE void await_call(pid_t tid, long nr, const bool *ended)
{
	struct timespec tick = { .tv_nsec = 1000000 };
	int64_t until = now_ns() + 20000 * MS;

	while (!in_call(tid, nr) && !(ended && __atomic_load_n(ended, __ATOMIC_ACQUIRE))) {
		check(now_ns() < until, "thread %d never got into call %ld, is in %ld", tid, nr, call_of(tid));
		nanosleep(&tick, NULL);
	}
}

static V_MAYBE void *caller_main(void *arg)
{
	struct caller *c = arg;

	c->began_ns = now_ns();
	__atomic_store_n(&c->tid, gettid(), __ATOMIC_RELEASE);
	errno = 0;
	c->ret = c->call(c->arg);
	c->err = errno;
	c->ended_ns = now_ns();
	__atomic_store_n(&c->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

static V_MAYBE void v_ignore_signal(int sig)
{
	(void)sig;
}

/* Starts the thread and returns when it sleeps in call @nr. SIGUSR2 would end the call early (sabotage). */
static V_MAYBE void caller_start(struct caller *c, long nr)
{
	struct sigaction act = { .sa_handler = v_ignore_signal };

	sigaction(SIGUSR2, &act, NULL);
	must(pthread_create(&c->thread, NULL, caller_main, c) == 0);
	while (!__atomic_load_n(&c->tid, __ATOMIC_ACQUIRE))
		sched_yield();
	await_call(c->tid, nr, NULL);
}

/* The move, while the thread sleeps in @nr; it must still sleep in it afterwards. */
static V_MAYBE void caller_move(struct caller *c, long nr)
{
	move();
	if (sabotaged()) {
		pthread_kill(c->thread, SIGUSR2);
		sleep_until(now_ns() + 50 * MS);
	}
	check(!__atomic_load_n(&c->ended, __ATOMIC_ACQUIRE), "the call ended by itself with %ld, %s", c->ret,
	      strerror(c->err));
	await_call(c->tid, nr, NULL);
}

static V_MAYBE void caller_join(struct caller *c)
{
	must(pthread_join(c->thread, NULL) == 0);
}

/* How long timeouts are: VICTIM_TIMED_MS, where many moves are to fit into one. */
static V_MAYBE int64_t timed_ms(void)
{
	const char *text = getenv("VICTIM_TIMED_MS");

	return text ? atoll(text) : 1600;
}

#define TIMED_MS timed_ms()

/*
 * The move in the middle of a call with a timeout of TIMED_MS: ready comes at half time (but not later than after
 * 800 ms), and a timeout that began anew would show as that much too much.
 */
static V_MAYBE void caller_move_timed(struct caller *c, long nr)
{
	int64_t late;

	sleep_until(c->began_ns + (TIMED_MS > 1600 ? 800 : TIMED_MS / 2) * MS);
	move();
	if (sabotaged())
		pthread_kill(c->thread, SIGUSR2);
	else if (now_ns() > c->began_ns + TIMED_MS * MS)
		skip("the move took longer than the rest of the timeout");
	else
		await_call(c->tid, nr, &c->ended);
	caller_join(c);
	late = c->ended_ns - c->began_ns - TIMED_MS * MS;
	check(late >= -2 * MS, "the call ended %lld us early, %ld, %s", (long long)-late / 1000, c->ret,
	      strerror(c->err));
	check(late <= slack_ns(), "the call ended %lld us late", (long long)late / 1000);
}

#endif
