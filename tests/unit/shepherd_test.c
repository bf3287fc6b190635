/* SPDX-License-Identifier: Apache-2.0 */
/* A real shepherd in a real container, with this test in procd's place. Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "procd/container.h"
#include "shepherd.pb-c.h"

#define OP(x) GODWIT__SHEPHERD__REQUEST__OP_##x
#define RELAY(x) GODWIT__PROCD__REQUEST__OP_##x
#define PATIENCE_MS 10000

typedef Godwit__Shepherd__Reply reply;

struct herd {
	struct cgroups cgroups;
	char jobs[64];
	const char *programs;
	int serial;
};

struct job {
	struct herd *h;
	struct container c;
	uint64_t id;
	uint64_t attachment;
	int fds[8];
	size_t n_fds;
};

static int set_up(void **state)
{
	struct herd *h = calloc(1, sizeof *h);
	struct err e = { 0 };
	char name[32];

	*state = h;
	if (geteuid() != 0)
		return 0;
	(void)snprintf(name, sizeof name, "godwit-test-%d", getpid());
	(void)snprintf(h->jobs, sizeof h->jobs, "/tmp/%s", name);
	h->programs = realpath(getenv("BUILD") ? getenv("BUILD") : "build", NULL);
	assert_non_null(h->programs);
	h->programs = xasprintf("%s/bin", h->programs);
	if (mkdir(h->jobs, 0700) < 0 || cgroups_open(&h->cgroups, name, &e) < 0) {
		print_error("%s\n", err_text(&e));
		return -1;
	}
	return 0;
}

static int tear_down(void **state)
{
	struct herd *h = *state;

	if (geteuid() == 0) {
		(void)rmdir(h->jobs);
		(void)rmdir(h->cgroups.path);
	}
	free(h);
	return 0;
}

static void begin(struct job *j, struct herd *h)
{
	struct err e = { 0 };
	char name[16];

	if (geteuid() != 0)
		skip();
	*j = (struct job) { .h = h };
	(void)snprintf(name, sizeof name, "t%d", ++h->serial);
	if (container_create(&j->c, &h->cgroups, h->jobs, name, h->programs, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static void end(struct job *j)
{
	struct pollfd p = { .fd = j->c.pidfd, .events = POLLIN };

	container_kill(&j->c, &j->h->cgroups, false);
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	container_remove(&j->c, &j->h->cgroups);
	for (size_t i = 0; i < j->n_fds; i++)
		(void)close(j->fds[i]);
	assert_int_equal(access(j->c.dir, F_OK), -1);
}

/* The reply to a request; events are dropped. */
static reply *ask(struct job *j, Godwit__Shepherd__Request *q, int fd)
{
	static uint8_t buf[256 << 10];
	uint64_t id = ++j->id;
	size_t len;

	q->id = id;
	len = godwit__shepherd__request__get_packed_size(q);
	(void)godwit__shepherd__request__pack(q, buf);
	assert_int_equal(fd_msg_send(j->c.sock, buf, len, &fd, fd >= 0), 0);
	for (;;) {
		struct pollfd p = { .fd = j->c.sock, .events = POLLIN };
		reply *r;
		ssize_t n;

		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		n = fd_msg_recv(j->c.sock, buf, sizeof buf, j->fds + j->n_fds, 8 - j->n_fds, &len);
		assert_true(n > 0);
		j->n_fds += len;
		r = godwit__shepherd__reply__unpack(NULL, (size_t)n, buf);
		assert_non_null(r);
		if (r->id == id)
			return r;
		godwit__shepherd__reply__free_unpacked(r, NULL);
	}
}

static void drop(reply *r)
{
	godwit__shepherd__reply__free_unpacked(r, NULL);
}

static void ask_ok(struct job *j, Godwit__Shepherd__Request *q)
{
	reply *r = ask(j, q, -1);

	if (r->code)
		fail_msg("%s", r->text);
	drop(r);
}

static reply *relay(struct job *j, Godwit__Procd__Request *q)
{
	Godwit__Shepherd__Request s = GODWIT__SHEPHERD__REQUEST__INIT;
	reply *r;

	s.op_case = OP(RELAY);
	s.relay = q;
	r = ask(j, &s, -1);
	assert_int_equal(r->result_case, GODWIT__SHEPHERD__REPLY__RESULT_RELAY);
	return r;
}

static void start(struct job *j, const char *script, uint64_t log_bytes, bool terminal)
{
	char *argv[] = { (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)script };
	char *env[] = { (char *)(uintptr_t) "PATH=/usr/bin:/bin" };
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Start s = GODWIT__SHEPHERD__START__INIT;
	Godwit__Shepherd__Spec spec = GODWIT__SHEPHERD__SPEC__INIT;
	Godwit__Procd__Exec x = GODWIT__PROCD__EXEC__INIT;
	Godwit__Procd__Terminal t = GODWIT__PROCD__TERMINAL__INIT;
	uint8_t bytes[4096];
	int fd = memfd_create("spec", MFD_CLOEXEC);
	reply *r;

	x.argv = argv;
	x.n_argv = 3;
	x.env = env;
	x.n_env = 1;
	x.cwd = (char *)(uintptr_t) "/";
	x.uid = 65534;
	x.gid = 65534;
	x.log_bytes = log_bytes;
	x.terminal = terminal ? &t : NULL;
	spec.exec = &x;
	assert_int_equal(write(fd, bytes, godwit__shepherd__spec__pack(&spec, bytes)),
			 (int)godwit__shepherd__spec__get_packed_size(&spec));
	q.op_case = OP(START);
	q.start = &s;
	r = ask(j, &q, fd);
	(void)close(fd);
	if (r->code)
		fail_msg("%s", r->text);
	assert_true(r->started->pid > 1);
	drop(r);
}

static void attach(struct job *j)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Attach a = GODWIT__PROCD__ATTACH__INIT;
	reply *r;

	q.op_case = RELAY(ATTACH);
	q.attach = &a;
	r = relay(j, &q);
	j->attachment = r->relay->attached->attachment;
	assert_true(j->attachment != 0);
	drop(r);
}

static Godwit__Procd__StreamState stream_state(struct job *j, uint32_t stream)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Logs l = GODWIT__PROCD__LOGS__INIT;
	Godwit__Procd__StreamState s = { 0 };
	reply *r;

	q.op_case = RELAY(LOGS);
	q.logs = &l;
	r = relay(j, &q);
	for (size_t i = 0; i < r->relay->attached->n_streams; i++)
		if (r->relay->attached->streams[i]->stream == stream)
			s = *r->relay->attached->streams[i];
	drop(r);
	return s;
}

/* Bytes of a stream from an offset; returns how many, or -errno. Sets *ret_eof. */
static ssize_t read_at(struct job *j, uint32_t stream, uint64_t offset, uint64_t attachment, void *buf, size_t max,
		       bool *ret_eof)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Read x = GODWIT__PROCD__READ__INIT;
	ssize_t n;
	reply *r;

	x.stream = stream;
	x.offset = offset;
	x.max = (uint32_t)max;
	x.timeout_ms = 5000;
	x.attachment = attachment;
	q.op_case = RELAY(READ);
	q.read = &x;
	r = relay(j, &q);
	if (r->relay->code) {
		n = r->relay->code;
	} else {
		assert_false(r->relay->again);
		assert_int_equal(r->relay->data->offset, offset);
		n = (ssize_t)r->relay->data->bytes.len;
		memcpy(buf, r->relay->data->bytes.data, (size_t)n);
		*ret_eof = r->relay->data->eof;
	}
	drop(r);
	return n;
}

static uint64_t write_at(struct job *j, uint64_t offset, const char *text, bool last)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Write w = GODWIT__PROCD__WRITE__INIT;
	uint64_t next;
	reply *r;

	w.offset = offset;
	w.bytes.data = (uint8_t *)(uintptr_t)text;
	w.bytes.len = strlen(text);
	w.end = last;
	w.attachment = j->attachment;
	q.op_case = RELAY(WRITE);
	q.write = &w;
	r = relay(j, &q);
	next = r->relay->code ? (uint64_t)r->relay->code : r->relay->written->offset;
	drop(r);
	return next;
}

static int wait_status(struct job *j)
{
	Godwit__Procd__Request q = GODWIT__PROCD__REQUEST__INIT;
	Godwit__Procd__Wait w = GODWIT__PROCD__WAIT__INIT;
	int status;
	reply *r;

	w.timeout_ms = PATIENCE_MS;
	q.op_case = RELAY(WAIT);
	q.wait = &w;
	r = relay(j, &q);
	assert_non_null(r->relay->exited);
	status = r->relay->exited->signal ? 128 + r->relay->exited->signal : r->relay->exited->status;
	drop(r);
	return status;
}

static void expect_text(struct job *j, uint32_t stream, uint64_t offset, const char *text)
{
	char buf[65536];
	size_t have = 0;
	bool eof = false;

	while (have < strlen(text) && !eof) {
		ssize_t n = read_at(j, stream, offset + have, j->attachment, buf + have, sizeof buf - have, &eof);

		assert_true(n >= 0);
		have += (size_t)n;
	}
	assert_int_equal(have, strlen(text));
	assert_memory_equal(buf, text, have);
}

static void output_and_status(void **state)
{
	struct job j;
	bool eof = false;
	char c;

	begin(&j, *state);
	start(&j, "echo out; echo err >&2; id -u; exit 7", 1 << 20, false);
	assert_int_equal(wait_status(&j), 7);
	expect_text(&j, 1, 0, "out\n65534\n");
	expect_text(&j, 2, 0, "err\n");
	assert_int_equal(read_at(&j, 1, 10, 0, &c, 1, &eof), 0);
	assert_true(eof);
	assert_int_equal(wait_status(&j), 7); /* as often as one likes */
	end(&j);
}

static void failing_exec(void **state)
{
	struct job j;

	begin(&j, *state);
	start(&j, "exec /nonexistent/program", 1 << 20, false);
	assert_int_equal(wait_status(&j), 127);
	end(&j);
	begin(&j, *state);
	start(&j, "kill -SEGV $$", 1 << 20, false);
	assert_int_equal(wait_status(&j), 128 + SIGSEGV);
	end(&j);
}

static uint64_t wait_for_end(struct job *j, uint32_t stream, uint64_t at_least)
{
	uint64_t last = 0;

	for (int i = 0; i < 500; i++) {
		last = stream_state(j, stream).end;
		if (last >= at_least)
			break;
		(void)poll(NULL, 0, 10);
	}
	return last;
}

/* An attached front-end that does not read makes the job wait, and then gets every byte. */
static void attached_job_waits(void **state)
{
	static char buf[65536];
	uint64_t offset = 0, reached;
	bool eof = false;
	struct job j;

	begin(&j, *state);
	start(&j, "read go; seq 1 1000000", 100000, false);
	attach(&j);
	assert_int_equal(write_at(&j, 0, "go\n", false), 3);
	reached = wait_for_end(&j, 1, 1 << 20);
	assert_true(reached >= 1 << 20 && reached < (1 << 20) + 2 * 65536);
	for (uint64_t line = 1; !eof;) {
		ssize_t n = read_at(&j, 1, offset, j.attachment, buf, sizeof buf, &eof);
		char want[16];

		assert_true(n >= 0);
		/* Only whole lines are looked at; the rest is asked for again: reading is idempotent. */
		for (ssize_t at = 0; at < n;) {
			int len = snprintf(want, sizeof want, "%llu\n", (unsigned long long)line);

			if (at + len > n)
				break;
			assert_memory_equal(buf + at, want, (size_t)len);
			at += len;
			offset += (uint64_t)len;
			line++;
		}
		eof = eof && line > 1000000;
	}
	assert_int_equal(offset, 6888896);
	assert_int_equal(wait_status(&j), 0);
	end(&j);
}

/* With nobody attached the job runs on and the newest output is kept. */
static void detached_job_runs_on(void **state)
{
	Godwit__Procd__StreamState s;
	bool eof = false;
	struct job j;
	char buf[8];

	begin(&j, *state);
	start(&j, "seq 1 1000000", 200000, false);
	assert_int_equal(wait_status(&j), 0);
	(void)wait_for_end(&j, 1, 6888896);
	s = stream_state(&j, 1);
	assert_int_equal(s.end, 6888896);
	assert_true(s.end - s.start >= 200000 && s.end - s.start < 400000);
	assert_int_equal(read_at(&j, 1, s.end - 8, 0, buf, sizeof buf, &eof), 8);
	assert_memory_equal(buf, "1000000\n", 8);
	assert_true(eof);
	end(&j);
}

static void input_by_offset(void **state)
{
	struct job j;

	begin(&j, *state);
	start(&j, "cat", 1 << 20, false);
	attach(&j);
	assert_int_equal(write_at(&j, 0, "one ", false), 4);
	assert_int_equal(write_at(&j, 0, "one two ", false), 8); /* the answer got lost */
	assert_int_equal(write_at(&j, 4, "two ", false), 8);
	assert_int_equal(write_at(&j, 9, "x", false), (uint64_t)-ERANGE);
	assert_int_equal(write_at(&j, 8, "three", true), 13);
	expect_text(&j, 1, 0, "one two three");
	assert_int_equal(wait_status(&j), 0);
	end(&j);
}

static void second_front_end_takes_over(void **state)
{
	bool eof = false;
	uint64_t first;
	struct job j;
	char buf[8];

	begin(&j, *state);
	start(&j, "echo hello; sleep 100", 1 << 20, false);
	attach(&j);
	first = j.attachment;
	attach(&j);
	assert_int_equal(read_at(&j, 1, 0, first, buf, sizeof buf, &eof), -ESTALE);
	expect_text(&j, 1, 0, "hello\n");
	end(&j);
}

/* --- moving the streams to another shepherd --- */

static void stop_leader(struct job *j)
{
	assert_int_equal(syscall(SYS_pidfd_send_signal, j->fds[0], SIGSTOP, NULL, 0), 0);
	/* Stopped for certain when the kernel says so. */
	for (int i = 0; i < 500; i++) {
		_cleanup_free_ char *text = NULL;
		char path[64], *at;

		(void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", j->fds[0]);
		assert_true(fd_slurp(-1, path, 4096, &text) > 0);
		at = strstr(text, "\nPid:");
		(void)snprintf(path, sizeof path, "/proc/%ld/stat", strtol(at + 5, NULL, 10));
		free(steal_ptr(&text));
		assert_true(fd_slurp(-1, path, 4096, &text) > 0);
		if (strstr(text, ") T "))
			return;
		(void)poll(NULL, 0, 5);
	}
	fail_msg("the job does not stop");
}

static reply *quiesce(struct job *j)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Quiesce x = GODWIT__SHEPHERD__QUIESCE__INIT;
	reply *r;

	q.op_case = OP(QUIESCE);
	q.quiesce = &x;
	r = ask(j, &q, -1);
	if (r->code)
		fail_msg("%s", r->text);
	return r;
}

static void copy_spool(struct job *from, struct job *to, const Godwit__Shepherd__Side *side)
{
	for (uint64_t at = side->start; at < side->end;) {
		Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT, w = GODWIT__SHEPHERD__REQUEST__INIT;
		Godwit__Shepherd__SpoolRead read = GODWIT__SHEPHERD__SPOOL_READ__INIT;
		Godwit__Shepherd__SpoolWrite write = GODWIT__SHEPHERD__SPOOL_WRITE__INIT;
		reply *r;

		read.stream = side->stream;
		read.offset = at;
		read.max = 100000;
		q.op_case = OP(SPOOL_READ);
		q.spool_read = &read;
		r = ask(from, &q, -1);
		assert_int_equal(r->data->offset, at);
		write.stream = side->stream;
		write.offset = at;
		write.bytes = r->data->bytes;
		at += r->data->bytes.len;
		w.op_case = OP(SPOOL_WRITE);
		w.spool_write = &write;
		ask_ok(to, &w);
		ask_ok(to, &w); /* a repeated piece does no harm */
		drop(r);
	}
}

static void make_blank(struct job *to, bool terminal)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Blank b = GODWIT__SHEPHERD__BLANK__INIT;
	Godwit__Mover__Stream s[3], *list[3] = { &s[0], &s[1], &s[2] };
	reply *r;

	for (int i = 0; i < 3; i++) {
		godwit__mover__stream__init(&s[i]);
		s[i].kind = terminal ? GODWIT__MOVER__STREAM__KIND__PTY_SLAVE
			    : i	     ? GODWIT__MOVER__STREAM__KIND__PIPE_WRITE
				     : GODWIT__MOVER__STREAM__KIND__PIPE_READ;
	}
	b.pid = 4711;
	b.streams = list;
	b.n_streams = terminal ? 1 : 3;
	b.uid = 65534;
	b.gid = 65534;
	b.monotonic_offset_ns = 123456789012;
	q.op_case = OP(BLANK);
	q.blank = &b;
	r = ask(to, &q, -1);
	if (r->code)
		fail_msg("%s", r->text);
	assert_int_equal(to->n_fds, terminal ? 3 : 5);
	drop(r);
}

static void import(struct job *from, struct job *to, reply *streams)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Import x = GODWIT__SHEPHERD__IMPORT__INIT;

	for (size_t i = 0; i < streams->streams->n_sides; i++)
		copy_spool(from, to, streams->streams->sides[i]);
	x.streams = streams->streams;
	q.op_case = OP(IMPORT);
	q.import = &x;
	ask_ok(to, &q);
	ask_ok(to, &q); /* repeated */
	to->attachment = from->attachment;
}

/* The job has read "first\n"; the rest of its input lies in the pipe and in the shepherd. */
static void pipes_move(void **state)
{
	char big[100001], buf[200000];
	struct job a, b;
	size_t have = 0;
	reply *r;

	begin(&a, *state);
	begin(&b, *state);
	start(&a, "echo before; read x; echo got $x; read y; echo $y", 1 << 20, false);
	attach(&a);
	expect_text(&a, 1, 0, "before\n");
	stop_leader(&a);
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	assert_int_equal(write_at(&a, 0, "first\n", false), 6);
	assert_int_equal(write_at(&a, 6, big, false), (uint64_t)-EINVAL); /* more than one request may hold */
	big[50000] = '\0';
	assert_int_equal(write_at(&a, 6, big, false), 50006);
	assert_int_equal(write_at(&a, 50006, big, true), 100006);
	r = quiesce(&a);
	make_blank(&b, false);
	import(&a, &b, r);
	drop(r);
	/* What the job finds on its new descriptors: all the input it had not read (it was stopped: everything),
	 * once. */
	while (have < 100006) {
		struct pollfd p = { .fd = b.fds[2], .events = POLLIN };
		ssize_t n;

		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		n = read(b.fds[2], buf + have, sizeof buf - have);
		assert_true(n > 0);
		have += (size_t)n;
	}
	assert_int_equal(have, 100006);
	assert_memory_equal(buf, "first\nxxx", 9);
	assert_int_equal(read(b.fds[2], buf, 1), 0); /* and its end */
	/* And what it writes continues at the old offset. */
	assert_int_equal(write(b.fds[3], "after\n", 6), 6);
	expect_text(&b, 1, 0, "before\nafter\n");
	assert_int_equal(stream_state(&b, 0).end, 100006);
	end(&a);
	end(&b);
}

/* A failed move: the same shepherd goes on as if nothing had been. */
static void quiesce_and_resume(void **state)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Resume x = GODWIT__SHEPHERD__RESUME__INIT;
	struct job a;

	begin(&a, *state);
	start(&a, "stty -echo; echo ready; read x; echo got $x; read y; echo got $y", 1 << 20, true);
	attach(&a);
	expect_text(&a, 1, 0, "ready\r\n");
	stop_leader(&a);
	assert_int_equal(write_at(&a, 0, "one\ntwo", false), 7);
	for (int i = 0; i < 3; i++) {
		drop(quiesce(&a));
		q.op_case = OP(RESUME);
		q.resume = &x;
		ask_ok(&a, &q);
		ask_ok(&a, &q);
	}
	assert_int_equal(syscall(SYS_pidfd_send_signal, a.fds[0], SIGCONT, NULL, 0), 0);
	assert_int_equal(write_at(&a, 7, "!\n", false), 9);
	expect_text(&a, 1, 7, "got one\r\ngot two!\r\n");
	assert_int_equal(wait_status(&a), 0);
	end(&a);
}

/*
 * WRITE is answered when the input is in the spool; it is in the pty after the shepherd's next turn. A QUIESCE
 * that comes earlier finds less in the pty and more in the spool. Waits until something is in the pty.
 */
static reply *quiesce_when_given(struct job *j)
{
	Godwit__Shepherd__Request q = GODWIT__SHEPHERD__REQUEST__INIT;
	Godwit__Shepherd__Resume x = GODWIT__SHEPHERD__RESUME__INIT;

	q.op_case = OP(RESUME);
	q.resume = &x;
	for (;;) {
		reply *r = quiesce(j);

		if (r->streams->sides[0]->unread)
			return r;
		drop(r);
		ask_ok(j, &q);
	}
}

static void terminal_moves(void **state)
{
	struct job a, b;
	char buf[64];
	reply *r;

	begin(&a, *state);
	begin(&b, *state);
	start(&a, "stty -echo; echo ready; read x; sleep 100", 1 << 20, true);
	attach(&a);
	expect_text(&a, 1, 0, "ready\r\n");
	stop_leader(&a);
	assert_int_equal(write_at(&a, 0, "line\nhalf", false), 9);
	r = quiesce_when_given(&a);
	assert_int_equal(r->streams->pty->n_lines, 1);
	assert_int_equal(r->streams->pty->rest.len, 4);
	make_blank(&b, true);
	import(&a, &b, r);
	drop(r);
	assert_int_equal(read(b.fds[2], buf, sizeof buf), 5);
	assert_memory_equal(buf, "line\n", 5);
	assert_int_equal(write_at(&b, 9, " done\n", false), 15);
	assert_int_equal(read(b.fds[2], buf, sizeof buf), 10);
	assert_memory_equal(buf, "half done\n", 10);
	assert_int_equal(write(b.fds[2], "ok", 2), 2);
	expect_text(&b, 1, 0, "ready\r\nok"); /* no echo in between: the settings came along */
	end(&a);
	end(&b);
}

static void read_all_of(int fd, const char *text, size_t len)
{
	_cleanup_free_ char *buf = xmalloc(len);
	size_t have = 0;

	while (have < len) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		n = read(fd, buf + have, len - have);
		assert_true(n > 0);
		have += (size_t)n;
	}
	assert_memory_equal(buf, text, len);
}

/* However much is typed ahead, and however fast: what lies in the pty fits into a line discipline again. */
static void typed_ahead(void **state)
{
	static const char *const modes[] = { "stty raw -echo; echo ready; sleep 100",
					     "stty -echo; echo ready; sleep 100" };
	static char text[40001];

	for (size_t i = 0; i < sizeof text - 1; i++)
		text[i] = i % 2000 == 1999 ? '\n' : 'a' + (char)(i % 26);
	for (size_t mode = 0; mode < ARRAY_LEN(modes); mode++) {
		struct job a, b;
		reply *r;
		size_t n = 0;

		begin(&a, *state);
		begin(&b, *state);
		start(&a, modes[mode], 1 << 20, true);
		attach(&a);
		expect_text(&a, 1, 0, mode ? "ready\r\n" : "ready\n");
		stop_leader(&a);
		assert_int_equal(write_at(&a, 0, text, false), sizeof text - 1);
		r = quiesce_when_given(&a);
		for (size_t i = 0; i < r->streams->pty->n_lines; i++)
			n += r->streams->pty->lines[i]->bytes.len;
		n += r->streams->pty->rest.len;
		assert_true(n > 0 && n < 4095);
		make_blank(&b, true);
		import(&a, &b, r);
		drop(r);
		read_all_of(b.fds[2], text, sizeof text - 1);
		end(&a);
		end(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_and_status),  cmocka_unit_test(failing_exec),
		cmocka_unit_test(attached_job_waits), cmocka_unit_test(detached_job_runs_on),
		cmocka_unit_test(input_by_offset),    cmocka_unit_test(second_front_end_takes_over),
		cmocka_unit_test(pipes_move),	      cmocka_unit_test(quiesce_and_resume),
		cmocka_unit_test(terminal_moves),     cmocka_unit_test(typed_ahead),
	};

	return cmocka_run_group_tests_name("shepherd", tests, set_up, tear_down);
}
