/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of strangers: the cell in which they are decoded, and what is said about bad ones. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lab/tools/hostile_cases.h"
#include "image/cell.h"
#include "image/decode.h"
#include "image/scan.h"
#include "mover.pb-c.h"

/* --- the cell --- */

/* How a child ends that does this in the cell. */
static int in_the_cell(void (*act)(int sock))
{
	int status, pair[2];
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pid = fork();
	if (!pid) {
		struct err e = { 0 };

		if (cell_enter(pair[1], NULL, 0, &e) < 0)
			_exit(99);
		act(pair[1]);
		_exit(0);
	}
	(void)close(pair[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)close(pair[0]);
	return status;
}

static void work(int sock)
{
	char *p = malloc(64 << 20);

	if (!p)
		_exit(1);
	memset(p, 1, 64 << 20);
	free(p);
	_exit(write(sock, "x", 1) != 1);
}

static void open_file(int sock)
{
	(void)sock;
	(void)open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void make_socket(int sock)
{
	(void)sock;
	(void)socket(AF_UNIX, SOCK_DGRAM, 0);
}

static void send_descriptors(int sock)
{
	struct msghdr m = { 0 };

	(void)sendmsg(sock, &m, 0);
}

static void run_a_program(int sock)
{
	(void)sock;
	(void)execl("/bin/true", "true", NULL);
}

static void trace(int sock)
{
	(void)sock;
	(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void become_root(int sock)
{
	(void)sock;
	(void)!setuid(0);
}

static void kill_somebody(int sock)
{
	(void)sock;
	(void)kill(1, 0);
}

static void fork_again(int sock)
{
	(void)sock;
	(void)syscall(SYS_fork);
}

static void map_code(int sock)
{
	(void)sock;
	(void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void make_code(int sock)
{
	static char page[8192] __attribute__((aligned(4096)));

	(void)sock;
	(void)mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void use_memory_of_others(int sock)
{
	(void)sock;
	(void)syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}

static void forbidden_calls_kill(void **state)
{
	static void (*const acts[])(int) = { open_file, make_socket, send_descriptors,	  run_a_program,
					     trace,	become_root, kill_somebody,	  fork_again,
					     map_code,	make_code,   use_memory_of_others };

	(void)state;
#ifdef __SANITIZE_ADDRESS__
	skip();
#endif
	for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
		int status = in_the_cell(acts[i]);

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
	}
	assert_int_equal(in_the_cell(work), 0);
}

/* What of the cell can be seen from outside. */
static void say_status(int sock, void *arg)
{
	struct cell_head h;
	uint8_t *bytes;

	(void)arg;
	while (cell_next(sock, 100, &h, &bytes))
		cell_answer(sock, &(struct err) { 0 }, bytes, h.len);
}

static char *status_of(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/status", pid);
	static char text[8192];
	FILE *f = fopen(path, "re");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	(void)fclose(f);
	return text;
}

static void nothing_is_left_to_it(void **state)
{
	const struct cell_head hello = { .what = 1, .len = 2 };
	struct cell c;
	struct err e = { 0 };
	uint8_t *answer;
	size_t len;
	char *text;

	(void)state;
	if (geteuid())
		skip();
	assert_int_equal(cell_open(&c, NULL, 0, say_status, NULL, &e), 0);
	assert_int_equal(cell_ask(&c, &hello, "hi", 10, &answer, &len, &e), 0);
	assert_int_equal(len, 2);
	free(answer);
	text = status_of(c.pid);
	assert_non_null(strstr(text, "Uid:\t65534\t65534\t65534\t65534"));
	assert_non_null(strstr(text, "Gid:\t65534\t65534\t65534\t65534"));
	assert_non_null(strstr(text, "Groups:\t \n"));
	assert_non_null(strstr(text, "CapPrm:\t0000000000000000"));
	assert_non_null(strstr(text, "CapEff:\t0000000000000000"));
	assert_non_null(strstr(text, "CapBnd:\t0000000000000000"));
	assert_non_null(strstr(text, "NoNewPrivs:\t1"));
#ifndef __SANITIZE_ADDRESS__
	assert_non_null(strstr(text, "Seccomp:\t2"));
#endif
	cell_close(&c);
}

static void sleep_on(int sock, void *arg)
{
	struct cell_head h;
	uint8_t *bytes;

	(void)arg;
	(void)cell_next(sock, 100, &h, &bytes);
	for (;;)
		;
}

#ifndef __SANITIZE_ADDRESS__ /* then nothing is forbidden */
static void drop_dead(int sock, void *arg)
{
	struct cell_head h;
	uint8_t *bytes;

	(void)arg;
	if (cell_next(sock, 100, &h, &bytes))
		(void)open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}
#endif

static void lie(int sock, void *arg)
{
	struct cell_head h;
	uint8_t *bytes;

	(void)arg;
	(void)cell_next(sock, 100, &h, &bytes);
	h = (struct cell_head) { .code = 0, .len = UINT64_MAX };
	(void)!write(sock, &h, sizeof h);
}

static void its_end_is_an_error(void **state)
{
	static const struct {
		cell_fn *fn;
		int code;
		const char *words;
	} all[] = {
		{ sleep_on, -ETIMEDOUT, "does not answer" },
#ifndef __SANITIZE_ADDRESS__
		{ drop_dead, -EBADMSG, "died of it" },
#endif
		{ lie, -EBADMSG, "answers nonsense" },
	};
	const struct cell_head hello = { .what = 1, .len = 2 };
	struct timeval short_time = { .tv_usec = 200000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct err e = { 0 };
		uint8_t *answer;
		struct cell c;
		size_t len;
		pid_t pid;

		assert_int_equal(cell_open(&c, NULL, 0, all[i].fn, NULL, &e), 0);
		pid = c.pid;
		(void)setsockopt(c.sock, SOL_SOCKET, SO_RCVTIMEO, &short_time, sizeof short_time);
		assert_int_equal(cell_ask(&c, &hello, "hi", 10, &answer, &len, &e), all[i].code);
		assert_non_null(strstr(e.text, all[i].words));
		cell_close(&c);
		assert_int_equal(kill(pid, 0), -1);
	}
}

/* --- a proper job --- */

#define HEAP UINT64_C(0x10000000)

static Godwit__Ckpt__Job *proper_job(bool whole)
{
	Godwit__Ckpt__Job *job = xmalloc(sizeof *job);
	Godwit__Ckpt__Process *p = xmalloc(sizeof *p);
	Godwit__Ckpt__Thread *t = xmalloc(sizeof *t);
	struct spoiled s = { .job = job, .p = p };

	godwit__ckpt__job__init(job);
	godwit__ckpt__process__init(p);
	godwit__ckpt__thread__init(t);
	job->processes = grow_list(NULL, 0);
	job->processes[job->n_processes++] = p;
	p->threads = grow_list(NULL, 0);
	p->threads[p->n_threads++] = t;
	p->pid = t->tid = 7;
	p->memory = xmalloc(sizeof *p->memory);
	godwit__ckpt__memory__init(p->memory);
	p->memory->regions = xcalloc(2, sizeof(*p->memory->regions));
	for (unsigned i = 0; i < 2; i++) {
		Godwit__Ckpt__Region *g = xmalloc(sizeof *g);

		godwit__ckpt__region__init(g);
		g->kind = GODWIT__CKPT__REGION__KIND__ANON_PRIVATE;
		g->start = HEAP + i * 0x100000;
		g->end = g->start + 0x4000;
		p->memory->regions[p->memory->n_regions++] = g;
	}
	if (whole) {
		put_bytes(&t->regs, sizeof(struct user_regs_struct));
		t->creds = xmalloc(sizeof *t->creds);
		godwit__ckpt__creds__init(t->creds);
		(void)fs_of(&s);
	}
	return job;
}

static int tell(struct decoder *d, enum decode what, const struct hostile_case *c, struct err *e)
{
	Godwit__Ckpt__Job *proper = proper_job(what == DECODE_CHECKPOINT);
	ProtobufCMessage *m = NULL;
	size_t len;
	_cleanup_free_ uint8_t *bytes = hostile_make(c, proper, &len);
	int err = decoder_take(d, what, bytes, len, &m, e);

	godwit__ckpt__job__free_unpacked(proper, NULL);
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
	return err;
}

static void hostile_messages_are_refused_by_name(void **state)
{
	struct decoder *d = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(decoder_start(&d, &e), 0);
	assert_int_equal(tell(d, DECODE_CHECKPOINT, NULL, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "before the description"));
	assert_int_equal(tell(d, DECODE_DESCRIPTION, NULL, &e), 0);
	assert_int_equal(tell(d, DECODE_CHECKPOINT, NULL, &e), 0);
	for (size_t i = 0; i < ARRAY_LEN(hostile_cases); i++) {
		const struct hostile_case *c = &hostile_cases[i];
		int err = tell(d, c->when == DESCRIBED ? DECODE_DESCRIPTION : DECODE_CHECKPOINT, c, &e);

		if (err != -EBADMSG || !strstr(e.text, c->words))
			fail_msg("%s: %d, %s", c->name, err, err ? e.text : "taken");
	}
	/* It is none the worse for it. */
	assert_int_equal(tell(d, DECODE_CHECKPOINT, NULL, &e), 0);
	decoder_free(d);
}

static void what_nobody_knows_does_not_come_through(void **state)
{
	/* offset = 5 (field 2), and a field 500 with a text. */
	static const uint8_t part[] = { 0x10, 0x05, 0xa2, 0x1f, 0x03, 'a', 'b', 'c' };
	struct err e = { 0 };
	struct decoder *d = NULL;
	ProtobufCMessage *m = NULL;

	(void)state;
	assert_int_equal(decoder_start(&d, &e), 0);
	assert_int_equal(decoder_take(d, DECODE_FILE_PART, part, sizeof part, &m, &e), 0);
	assert_int_equal(((Godwit__Ckpt__FilePart *)m)->offset, 5);
	assert_int_equal(m->n_unknown_fields, 0);
	protobuf_c_message_free_unpacked(m, NULL);
	decoder_free(d);
}

static void only_our_own_writing_is_canonical(void **state)
{
	static const struct {
		uint8_t bytes[8];
		size_t len;
	} all[] = {
		{ { 0x10, 0x85, 0x00 }, 3 },	   /* 5 in two bytes */
		{ { 0x10, 0x05, 0x08, 0x01 }, 4 }, /* 2 before 1 */
		{ { 0xa2, 0x1f, 0x01, 'a' }, 4 },  /* unknown */
	};
	const ProtobufCMessageDescriptor *d = &godwit__ckpt__file_part__descriptor;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		assert_int_equal(message_scan(d, all[i].bytes, all[i].len, SCAN_ROOM, false, &e), 0);
		assert_int_equal(message_scan(d, all[i].bytes, all[i].len, SCAN_ROOM, true, &e), -EBADMSG);
	}
}

/* 2 bytes of message for each 56 of memory and more. */
static void a_flood_of_pieces_is_stopped(void **state)
{
	enum { MANY = 1000000 };
	_cleanup_free_ uint8_t *bytes = xmalloc(2 * MANY);
	struct err e;

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		bytes[2 * i] = 0x22; /* Process.descriptors */
		bytes[2 * i + 1] = 0;
	}
	assert_int_equal(message_scan(&godwit__ckpt__process__descriptor, bytes, 2 * MANY, 32 << 20, false, &e),
			 -EBADMSG);
	assert_non_null(strstr(e.text, "descriptors: more pieces than anyone needs"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forbidden_calls_kill),
		cmocka_unit_test(nothing_is_left_to_it),
		cmocka_unit_test(its_end_is_an_error),
		cmocka_unit_test(hostile_messages_are_refused_by_name),
		cmocka_unit_test(what_nobody_knows_does_not_come_through),
		cmocka_unit_test(only_our_own_writing_is_canonical),
		cmocka_unit_test(a_flood_of_pieces_is_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
