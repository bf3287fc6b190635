/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory [-n ROUNDS] [MIB...]
 *
 * How long the pages of a stopped process take to another, by the engine's own path, over loopback TCP: for each
 * size, plain and sealed, the best and the median of the rounds. Beside it the wire (a bare socket, as iperf3
 * measures it) and the cipher, in the same minute. One line of JSON each.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "memory/chunk.h"
#include "memory/seal.h"
#include "memory/source.h"
#include "memory/target.h"

#define BASE 0x200000000000ull
#define AGENT_SOCKET 100
#define ROUNDS_MAX 100
static const uint8_t key[STREAM_KEY_LEN] = { 1 };

static void __attribute__((noreturn)) die(const char *what, const struct err *e)
{
	fprintf(stderr, "memory: %s: %s\n", what, e ? err_text(e) : strerror(errno));
	exit(1);
}

static void check(int err, const char *what, const struct err *e)
{
	if (err < 0)
		die(what, e);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void report(const char *what, size_t bytes, uint64_t *us, int n)
{
	qsort(us, (size_t)n, sizeof *us, compare);
	printf("{\"what\": \"%s\", \"bytes\": %zu, \"best_us\": %lu, \"median_us\": %lu, \"gb_per_s\": %.2f}\n",
	       what, bytes, us[0], us[n / 2], (double)bytes / (double)us[0] / 1e3);
	(void)fflush(stdout);
}

/* A process with `bytes` at BASE, filled or merely there, that sleeps. `agent` (may be -1) becomes AGENT_SOCKET.
 */
static pid_t make_process(size_t bytes, bool filled, int agent)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready) < 0)
		die("pipe", NULL);
	pid = fork();
	if (!pid) {
		uint64_t *m = mmap((void *)BASE, bytes, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)madvise(m, bytes, MADV_NOHUGEPAGE);
		for (size_t i = 0; i < bytes / 8; i += filled ? 1 : 512)
			m[i] = filled ? i * 0x9E3779B97F4A7C15ull + 1 : 0;
		if (agent >= 0 && dup2(agent, AGENT_SOCKET) < 0)
			_exit(1);
		(void)!write(ready[1], "r", 1);
		for (;;)
			pause();
	}
	if (read(ready[0], &byte, 1) != 1)
		die("a process did not come up", NULL);
	(void)close(ready[0]);
	(void)close(ready[1]);
	return pid;
}

static void end_process(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

static void take(struct remote *r, pid_t pid, bool blank)
{
	struct err e = { 0 };

	check(remote_open(r, pid, &e), "open", &e);
	check(blank ? remote_stop_blank(r, now_us() + 1000000, &e) : remote_stop(r, now_us() + 1000000, &e),
	      "stop", &e);
	check(remote_agent_map(r, (raddr_t) { 0 }, &e), "agent", &e);
}

/* The destination: a process of its own that receives once for each byte on `go`. */
static void __attribute__((noreturn)) be_target(int listener, size_t bytes, bool sealed, int rounds)
{
	struct memory_stats stats = { 0 };
	struct mm_target *t;
	struct stream *s;
	struct remote r;
	struct err e = { 0 };
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		die("socketpair", NULL);
	pid = make_process(bytes, false, pair[1]);
	take(&r, pid, true);
	check(memory_target_new(&r, &t, &e), "target", &e);
	t->agent_sock = pair[0];
	t->agent_sock_there = AGENT_SOCKET;
	extents_add(&t->places, BASE, BASE + bytes);
	check(stream_accept(listener, key, sealed, STREAM_NEVER, -1, &s, &e), "accept", &e);
	for (int i = 0; i < rounds; i++) {
		check(memory_receive(t, &memory_eager, s, &stats, &e), "receive", &e);
		extents_done(&t->received);
		check(stream_send_msg(s, 1, NULL, &e), "answer", &e);
	}
	end_process(pid);
	_exit(0);
}

static void measure(size_t bytes, bool sealed, int rounds, uint64_t *us)
{
	struct memory_stats stats = { 0 };
	struct mm_snapshot *snapshot;
	struct stream *s;
	struct remote r;
	struct err e = { 0 };
	uint16_t port = 0;
	int listener = stream_listen("127.0.0.1", &port, &e), proc;
	pid_t target, pid;
	char path[32];

	check(listener, "listen", &e);
	target = fork();
	if (!target)
		be_target(listener, bytes, sealed, rounds);
	(void)close(listener);
	pid = make_process(bytes, true, -1);
	(void)snprintf(path, sizeof path, "/proc/%d", pid);
	proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	take(&r, pid, false);
	check(memory_source_new(pid, proc, &snapshot, &e), "snapshot", &e);
	snapshot->remote = &r;
	snapshot->vmas.v = xcalloc(1, sizeof *snapshot->vmas.v);
	snapshot->vmas.n = 1;
	snapshot->vmas.v[0] =
		(struct vma) { .start = BASE, .end = BASE + bytes, .prot = PROT_READ | PROT_WRITE, .path = "" };
	snapshot->kinds = xmalloc(sizeof *snapshot->kinds);
	snapshot->kinds[0] = VMA_KIND_ANON_PRIVATE;
	extents_add(&snapshot->pages, BASE, BASE + bytes);
	check(stream_connect("127.0.0.1", port, key, sealed, STREAM_NEVER, -1, &s, &e), "connect", &e);
	for (int i = 0; i < rounds; i++) {
		uint64_t start = now_us();

		check(memory_send(snapshot, &memory_eager, s, &stats, &e), "send", &e);
		check(stream_recv_msg(s, 1, NULL, 0, NULL, &e), "answer", &e);
		us[i] = now_us() - start;
	}
	stream_free(s);
	remote_done(&r);
	memory_source_free(snapshot);
	(void)close(proc);
	end_process(pid);
	(void)waitpid(target, NULL, 0);
}

/* One hot buffer to another, as iperf3 does. */
static void measure_wire(size_t bytes, int rounds, uint64_t *us)
{
	static char buffer[128 << 10];
	struct err e = { 0 };
	struct stream *s;
	uint16_t port = 0;
	int listener = stream_listen("127.0.0.1", &port, &e);
	pid_t pid;

	check(listener, "listen", &e);
	pid = fork();
	if (!pid) {
		check(stream_accept(listener, key, false, STREAM_NEVER, -1, &s, &e), "accept", &e);
		for (int i = 0; i < rounds; i++) {
			for (size_t left = bytes; left;) {
				ssize_t n = recv(stream_fd(s), buffer, MIN(left, sizeof buffer), 0);

				if (n <= 0)
					_exit(1);
				left -= (size_t)n;
			}
			check(stream_send_msg(s, 1, NULL, &e), "answer", &e);
		}
		_exit(0);
	}
	(void)close(listener);
	check(stream_connect("127.0.0.1", port, key, false, STREAM_NEVER, -1, &s, &e), "connect", &e);
	for (int i = 0; i < rounds; i++) {
		uint64_t start = now_us();

		for (size_t left = bytes; left; left -= MIN(left, sizeof buffer)) {
			check(stream_write(s, buffer, MIN(left, sizeof buffer), &e), "write", &e);
			check(stream_flush(s, &e), "write", &e);
		}
		check(stream_recv_msg(s, 1, NULL, 0, NULL, &e), "answer", &e);
		us[i] = now_us() - start;
	}
	stream_free(s);
	(void)waitpid(pid, NULL, 0);
}

static void measure_cipher(size_t bytes, int rounds, uint64_t *us)
{
	static uint8_t buffer[(256 << 10) + SEAL_TAG_LEN];
	struct seal *seal = seal_new(seal_choose(seal_supported()), key);

	for (int i = 0; i < rounds; i++) {
		uint64_t start = now_us();

		for (size_t done = 0; done < bytes; done += 256 << 10)
			check(seal_box(seal, buffer, 256 << 10, "head", 4), "seal", NULL);
		us[i] = now_us() - start;
	}
	seal_free(seal);
}

static void run(size_t mib, int rounds)
{
	uint64_t us[ROUNDS_MAX];
	size_t bytes = mib << 20;

	measure_wire(bytes, rounds, us);
	report("wire", bytes, us, rounds);
	measure(bytes, false, rounds, us);
	report("plain", bytes, us, rounds);
	measure_cipher(bytes, rounds, us);
	report(seal_name(seal_choose(seal_supported())), bytes, us, rounds);
	measure(bytes, true, rounds, us);
	report("sealed", bytes, us, rounds);
}

int main(int argc, char **argv)
{
	int rounds = 5, c;

	(void)signal(SIGPIPE, SIG_IGN);
	while ((c = getopt(argc, argv, "n:")) >= 0) {
		if (c != 'n') {
			fprintf(stderr, "usage: memory [-n ROUNDS] [MIB...]\n");
			return 2;
		}
		rounds = MIN(MAX(atoi(optarg), 1), ROUNDS_MAX);
	}
	if (optind == argc)
		run(64, rounds);
	for (int i = optind; i < argc; i++)
		run((size_t)MAX(atoi(argv[i]), 1), rounds);
	return 0;
}
