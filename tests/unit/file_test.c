/* SPDX-License-Identifier: Apache-2.0 */
/* The table of open files, looked at in this very process, and contents carried between two halves of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/file.h"
#include "state/file_table.h"
#include "state/file_target.h"

struct fixture {
	char dir[64];
	struct state_source s;
	struct problems problems;
	Godwit__Ckpt__Job *job;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof *f);

	(void)snprintf(f->dir, sizeof f->dir, "/tmp/godwit-file-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->s.pid = f->s.vpid = getpid();
	f->s.proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->s.pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	f->s.problems = &f->problems;
	f->job = xmalloc(sizeof *f->job);
	godwit__ckpt__job__init(f->job);
	f->job->processes = xcalloc(1, sizeof(*f->job->processes));
	f->job->n_processes = 1;
	f->job->processes[0] = xmalloc(sizeof(**f->job->processes));
	godwit__ckpt__process__init(f->job->processes[0]);
	f->s.job = f->job;
	f->s.process = f->job->processes[0];
	assert_true(f->s.proc >= 0 && f->s.pidfd >= 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *command = xasprintf("rm -rf %s", f->dir);

	file_source_done(&f->s);
	godwit__ckpt__job__free_unpacked(f->job, NULL);
	problems_done(&f->problems);
	(void)close(f->s.proc);
	(void)close(f->s.pidfd);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static int open_in(const struct fixture *f, const char *name, int flags)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", f->dir, name);
	int fd = open(path, flags | O_CLOEXEC, 0640);

	assert_true(fd >= 0);
	return fd;
}

static struct fd_seen *seen_of(const struct fixture *f, int fd)
{
	for (size_t i = 0; i < f->s.files->n_fds; i++)
		if (f->s.files->fds[i].fd == fd)
			return &f->s.files->fds[i];
	return NULL;
}

static void look(struct fixture *f)
{
	struct err e = { 0 };

	if (file_table_look(&f->s, false, &e) < 0)
		fail_msg("%s", err_text(&e));
}

static void sharers_are_one_description(void **state)
{
	struct fixture *f = *state;
	int a = open_in(f, "a", O_RDWR | O_CREAT), b = open_in(f, "a", O_RDWR), c = dup(a);
	uint32_t id, before[2];

	assert_int_equal(write(a, "12345", 5), 5);
	look(f);
	assert_ptr_equal(seen_of(f, a)->entry, seen_of(f, c)->entry);
	assert_ptr_not_equal(seen_of(f, a)->entry, seen_of(f, b)->entry);
	assert_int_equal(seen_of(f, c)->entry->m->pos, 5);
	assert_int_equal(seen_of(f, b)->entry->m->pos, 0);
	assert_true(seen_of(f, a)->entry->m->writes);
	before[0] = seen_of(f, a)->entry->m->id;
	before[1] = seen_of(f, b)->entry->m->id;
	/* Ids outlive the next look, also when who shares with whom has changed (whose it becomes is any order's
	 * choice). */
	(void)close(a);
	assert_int_equal(dup2(b, a), a);
	look(f);
	assert_ptr_equal(seen_of(f, a)->entry, seen_of(f, b)->entry);
	id = seen_of(f, a)->entry->m->id;
	assert_true(id == before[0] || id == before[1]);
	assert_int_not_equal(seen_of(f, c)->entry->m->id, id);
	(void)close(a);
	(void)close(b);
	(void)close(c);
}

static void names_that_are_gone(void **state)
{
	struct fixture *f = *state;
	int gone = open_in(f, "gone", O_RDWR | O_CREAT), odd = open_in(f, "odd (deleted)", O_RDWR | O_CREAT);
	_cleanup_free_ char *path = xasprintf("%s/gone", f->dir);

	assert_int_equal(unlink(path), 0);
	look(f);
	assert_true(seen_of(f, gone)->entry->m->deleted);
	assert_string_equal(seen_of(f, gone)->entry->m->path, path);
	assert_false(seen_of(f, odd)->entry->m->deleted);
	assert_non_null(strstr(seen_of(f, odd)->entry->m->path, "odd (deleted)"));
	(void)close(gone);
	(void)close(odd);
}

static const char *why(const struct fixture *f, int fd)
{
	const char *text = seen_of(f, fd)->entry->why;

	return text ? text : "";
}

static void refusals_name_the_kind(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(80) };
	int udp = socket(AF_INET, SOCK_DGRAM, 0), poll_fd = epoll_create1(0), area = memfd_create("area", 0);
	int tcp = socket(AF_INET, SOCK_STREAM, 0), pair[2], net = open("/proc/self/ns/net", O_RDONLY);

	(void)inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
	assert_int_equal(connect(udp, (struct sockaddr *)&at, sizeof at), 0);
	at.sin_port = 0;
	assert_int_equal(bind(tcp, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(tcp, 1), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	look(f);
	assert_non_null(strstr(why(f, udp), "UDP socket talking to 127.0.0.1:80"));
	assert_non_null(strstr(why(f, tcp), "TCP socket listening on 127.0.0.1:"));
	assert_non_null(strstr(why(f, poll_fd), "an epoll instance"));
	assert_non_null(strstr(why(f, area), "a memfd"));
	assert_non_null(strstr(why(f, pair[0]), "unix stream socket to process"));
	assert_non_null(strstr(why(f, net), "a handle of a namespace"));
	for (size_t i = 0; i < 6; i++)
		(void)close((int[]) { udp, poll_fd, area, tcp, pair[0], net }[i]);
	(void)close(pair[1]);
}

static void anonymous_inodes_are_told_apart(void **state)
{
	struct fixture *f = *state;
	int fd = eventfd(7, EFD_SEMAPHORE), other;
	uint32_t id;

	look(f);
	assert_int_equal(seen_of(f, fd)->entry->m->kind, GODWIT__CKPT__OPEN_FILE__KIND__EVENTFD);
	assert_int_equal(seen_of(f, fd)->entry->m->counter, 7);
	id = seen_of(f, fd)->entry->m->id;
	look(f);
	assert_int_equal(seen_of(f, fd)->entry->m->id, id);
	/* The same number, device and inode, and yet another thing. */
	(void)close(fd);
	other = epoll_create1(0);
	if (other != fd)
		assert_int_equal(dup2(other, fd), fd);
	look(f);
	assert_non_null(seen_of(f, fd)->entry->why);
	(void)close(fd);
	if (other != fd)
		(void)close(other);
}

static void pipes_are_copied_and_stay_full(void **state)
{
	struct fixture *f = *state;
	const Godwit__Ckpt__Pipe *m = NULL;
	struct err e = { 0 };
	int ends[2];
	char buf[8] = "";

	assert_int_equal(pipe2(ends, O_DIRECT), 0);
	assert_int_equal(write(ends[1], "ab", 2) + write(ends[1], "cde", 3), 5);
	look(f);
	assert_int_equal(pipe_check_ends(&f->s, true, &e), 0);
	file_table_emit(&f->s);
	assert_int_equal(pipe_peek_all(&f->s, &e), 0);
	for (size_t i = 0; i < f->job->n_pipes; i++) /* standard output may be one as well */
		if (f->job->pipes[i]->id == seen_of(f, ends[0])->entry->m->pipe)
			m = f->job->pipes[i];
	assert_non_null(m);
	assert_true(m->packets);
	assert_int_equal(m->content.len, 5);
	assert_memory_equal(m->content.data, "abcde", 5);
	assert_int_equal(m->n_packet_sizes, 2);
	assert_int_equal(m->packet_sizes[0], 2);
	assert_int_equal(read(ends[0], buf, sizeof buf), 2);
	assert_memory_equal(buf, "ab", 2);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void half_a_pipe(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };
	int ends[2], ours[2];
	pid_t child;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(pipe2(ours, O_CLOEXEC), 0);
	child = fork();
	if (!child) {
		char c;

		(void)close(ours[1]);
		_exit(read(ours[0], &c, 1) != 0); /* holds the writing end until the parent is through */
	}
	(void)close(ends[1]);
	(void)close(ours[0]);
	look(f);
	assert_int_equal(pipe_check_ends(&f->s, false, &e), 0);
	assert_non_null(strstr(why(f, ends[0]), "outside the job"));
	(void)close(ours[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	/* A new pipe whose writer is gone for good may move. */
	(void)close(ends[0]);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	(void)close(ends[1]);
	look(f);
	assert_int_equal(pipe_check_ends(&f->s, false, &e), 0);
	assert_string_equal(why(f, ends[0]), "");
	(void)close(ends[0]);
}

/* --- carrying --- */

static int io_send(void *ctx, const void *buf, size_t len, struct err *e)
{
	int r = fd_write_full(*(int *)ctx, buf, len);

	return r < 0 ? err_code(e, r, "send") : 0;
}

static int io_recv(void *ctx, void *buf, size_t len, struct err *e)
{
	int r = fd_read_full(*(int *)ctx, buf, len);

	return r < 0 ? err_code(e, r, "recv") : 0;
}

/* The destination sees the file's other version, as if it were another host's. */
static void change_name_to_other(struct fixture *f, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/a", f->dir), *other = xasprintf("%s/other", f->dir);
	int fd = open_in(f, "other", O_RDWR | O_CREAT);

	assert_int_equal(write(fd, text, strlen(text)), (int)strlen(text));
	(void)close(fd);
	assert_int_equal(rename(other, path), 0);
}

struct carry {
	const char *there;	 /* what the destination has under the name; NULL: the very same file */
	bool older;		 /* ... and it is the file's own older version, left by godwit */
	bool carry_written;	 /* --carry */
	const char *expected;	 /* there, in the end; NULL: refused */
	int how;		 /* in which way it came there */
	void (*between)(int fd); /* before the freeze */
	int fetched[2]; /* the destination is through with its first half (both halves' notes are in one /run here)
			 */
};

/* The destination's half runs in a child, which says by its status whether all was well. */
static int destination(struct fixture *f, int sock, uint32_t id, struct carry *c)
{
	struct state_target d = { .proc = -1,
				  .pidfd = -1,
				  .job = f->job,
				  .process = f->s.process,
				  .carry = c->carry_written,
				  .scratch = f->dir,
				  .problems = &f->problems };
	struct file_io io = { .ctx = &sock, .send = io_send, .recv = io_recv };
	struct err e = { 0 };
	char buf[64] = "";
	int fd;

	if (file_carry_fetch(&d, &io, &e) < 0 || write(c->fetched[1], "f", 1) != 1 ||
	    file_carry_pull(&d, &io, &e) < 0) {
		if (c->expected)
			(void)fprintf(stderr, "%s\n", err_text(&e));
		return c->expected ? 1 : 0;
	}
	fd = file_target_fd(&d, id, &e);
	if (fd < 0 || pread(fd, buf, sizeof buf - 1, 0) < 0 || !c->expected || strcmp(buf, c->expected) != 0) {
		(void)fprintf(stderr, "'%s', expected '%s': %s\n", buf, c->expected, err_text(&e));
		return 2;
	}
	if ((int)d.files->homes[file_targets_find(d.files, id)->home - 1].how != c->how)
		return 3;
	file_target_done(&d);
	return 0;
}

static void carry(struct fixture *f, int fd, struct carry *c)
{
	int pair[2], status;
	struct file_io io = { .ctx = &pair[0], .send = io_send, .recv = io_recv };
	struct file_entry *seen_entry;
	struct err e = { 0 };
	struct stat st;
	uint32_t id;
	pid_t child;

	f->s.carry = c->carry_written;
	look(f);
	file_lineage_give(&f->s);
	seen_entry = seen_of(f, fd)->entry;
	id = seen_entry->m->id;
	/* Only the file in question: the test's own descriptors are not the destination's business. */
	for (size_t i = 0; i < f->s.files->n_entries; i++)
		f->s.files->entries[i]->seen = f->s.files->entries[i]->m->id == id;
	f->s.files->n_fds = 0;
	file_table_emit(&f->s);
	assert_int_equal(f->job->n_files, 1);
	if (c->there)
		change_name_to_other(f, c->there);
	if (c->older) {
		assert_int_equal(stat(seen_entry->m->path, &st), 0);
		file_lineage_note(seen_entry->m, &st);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe2(c->fetched, O_CLOEXEC), 0);
	child = fork();
	if (!child) {
		(void)close(pair[0]);
		_exit(destination(f, pair[1], id, c));
	}
	(void)close(pair[1]);
	(void)close(c->fetched[1]);
	status = file_carry_serve(&f->s, &io, &e);
	(void)!read(c->fetched[0], &(char) { 0 }, 1);
	(void)close(c->fetched[0]);
	if (status == 0 && c->between)
		c->between(fd);
	if (status == 0)
		status = file_carry_push(&f->s, &io, &e);
	if (c->expected)
		assert_int_equal(status, 0);
	(void)close(pair[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void same_inode_is_the_same(void **state)
{
	struct fixture *f = *state;
	int fd = open_in(f, "a", O_RDWR | O_CREAT), again;

	assert_int_equal(write(fd, "hello", 5), 5);
	again = open_in(f, "a", O_RDONLY);
	(void)close(fd);
	carry(f, again, &(struct carry) { .expected = "hello", .how = FILE_HOW_SAME });
	(void)close(again);
}

static void append_text(int fd)
{
	assert_int_equal(pwrite(fd, " world", 6, 5), 6);
}

static void deleted_files_are_carried_and_corrected(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/a", f->dir);
	int fd = open_in(f, "a", O_RDWR | O_CREAT);

	assert_int_equal(write(fd, "hello", 5), 5);
	assert_int_equal(unlink(path), 0);
	carry(f, fd, &(struct carry) { .expected = "hello", .how = FILE_HOW_CARRIED });
	carry(f, fd,
	      &(struct carry) { .expected = "hello world", .how = FILE_HOW_CARRIED, .between = append_text });
	(void)close(fd);
}

static void one_byte_changed_is_carried(void **state)
{
	struct fixture *f = *state;
	int fd = open_in(f, "a", O_RDWR | O_CREAT), reads = open_in(f, "a", O_RDONLY);

	assert_int_equal(write(fd, "hello", 5), 5);
	(void)close(fd);
	carry(f, reads, &(struct carry) { .there = "hallo", .expected = "hello", .how = FILE_HOW_CARRIED });
	(void)close(reads);
}

static void equal_content_is_not_carried(void **state)
{
	struct fixture *f = *state;
	int fd = open_in(f, "a", O_RDWR | O_CREAT), reads = open_in(f, "a", O_RDONLY);

	assert_int_equal(write(fd, "hello", 5), 5);
	(void)close(fd);
	carry(f, reads, &(struct carry) { .there = "hello", .expected = "hello", .how = FILE_HOW_SAME });
	(void)close(reads);
}

static void a_differing_file_is_not_overwritten(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/a", f->dir);
	int fd = open_in(f, "a", O_RDWR | O_CREAT);
	char buf[16] = "";

	assert_int_equal(write(fd, "hello", 5), 5);
	carry(f, fd, &(struct carry) { .there = "other", .carry_written = true });
	(void)close(fd);
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, buf, sizeof buf), 5);
	assert_string_equal(buf, "other");
	(void)close(fd);
}

/* Needs /run/godwit, where the notes are. */
static void its_own_older_version_is_replaced(void **state)
{
	struct fixture *f = *state;
	int fd = open_in(f, "a", O_RDWR | O_CREAT);

	if (geteuid() != 0)
		skip();
	assert_int_equal(write(fd, "hello", 5), 5);
	carry(f, fd,
	      &(struct carry) { .there = "older",
				.older = true,
				.carry_written = true,
				.expected = "hello",
				.how = FILE_HOW_PLACED });
	(void)close(fd);
}

static void written_files_need_carry(void **state)
{
	struct fixture *f = *state;
	int fd = open_in(f, "a", O_RDWR | O_CREAT);

	assert_int_equal(write(fd, "hello", 5), 5);
	carry(f, fd, &(struct carry) { .there = "hello" });
	(void)close(fd);
}

/* --- texts of the kernel --- */

static void fdinfo_texts(void **state)
{
	struct fdinfo info;

	(void)state;
	assert_int_equal(
		file_fdinfo_parse("pos:\t0\nflags:\t02100002\nmnt_id:\t16\neventfd-count:               2a\n"
				  "eventfd-id: 3\neventfd-semaphore: 1\n",
				  &info),
		0);
	assert_true(info.eventfd && info.semaphore && (info.flags & O_CLOEXEC));
	assert_int_equal(info.eventfd_count, 42);
	assert_int_equal(file_fdinfo_parse("pos:\t0\nflags:\t0100000\n", &info), 0);
	assert_false(info.eventfd);
}

static void lock_texts(void **state)
{
	struct lock_seen l;
	uint64_t ino;

	(void)state;
	assert_int_equal(file_lock_parse("1: POSIX  ADVISORY  WRITE 4805 fe:00:10953396 10 19\n", &l, &ino), 0);
	assert_true(l.kind == GODWIT__CKPT__FILE_LOCK__KIND__POSIX && l.write && ino == 10953396);
	assert_true(l.start == 10 && l.len == 10);
	assert_int_equal(file_lock_parse("2: FLOCK  ADVISORY  READ 4805 fe:00:7 0 EOF", &l, &ino), 0);
	assert_true(l.kind == GODWIT__CKPT__FILE_LOCK__KIND__FLOCK && !l.write && l.len == 0);
	assert_int_equal(file_lock_parse("1: LEASE  ACTIVE    WRITE 4589 fe:00:10953396 0 EOF", &l, &ino), 0);
	assert_int_equal(l.kind, GODWIT__CKPT__FILE_LOCK__KIND__NONE);
	assert_int_equal(file_lock_parse("pos: 0", &l, &ino), -EBADMSG);
}

static void locks_belong_to_who_may_set_them(void **state)
{
	struct fixture *f = *state;
	int writes = open_in(f, "a", O_RDWR | O_CREAT), reads = open_in(f, "a", O_RDONLY);
	struct flock l = { .l_type = F_WRLCK, .l_start = 3, .l_len = 4 };
	struct err e = { 0 };

	look(f); /* first: it closes copies of all descriptors, and here they are the owner's own */
	assert_int_equal(fcntl(writes, F_SETLK, &l), 0);
	assert_int_equal(file_locks_collect(&f->s, &e), 0);
	assert_int_equal(seen_of(f, writes)->entry->m->n_locks, 1);
	assert_int_equal(seen_of(f, reads)->entry->m->n_locks, 0);
	assert_int_equal(seen_of(f, writes)->entry->m->locks[0]->start, 3);
	assert_int_equal(file_may_freeze(&f->s, true, &e), -EAGAIN);
	(void)close(reads); /* releases it, as POSIX wants */
	assert_int_equal(file_may_freeze(&f->s, true, &e), 0);
	(void)close(writes);
}

static void paths_of_the_other_side(void **state)
{
	(void)state;
	assert_true(file_path_is_sane("/a/b..c"));
	assert_false(file_path_is_sane("a/b"));
	assert_false(file_path_is_sane("/a/../b"));
	assert_false(file_path_is_sane(""));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sharers_are_one_description),
		TEST(names_that_are_gone),
		TEST(refusals_name_the_kind),
		TEST(anonymous_inodes_are_told_apart),
		TEST(pipes_are_copied_and_stay_full),
		TEST(half_a_pipe),
		TEST(same_inode_is_the_same),
		TEST(deleted_files_are_carried_and_corrected),
		TEST(one_byte_changed_is_carried),
		TEST(equal_content_is_not_carried),
		TEST(a_differing_file_is_not_overwritten),
		TEST(written_files_need_carry),
		TEST(its_own_older_version_is_replaced),
		TEST(locks_belong_to_who_may_set_them),
		cmocka_unit_test(lock_texts),
		cmocka_unit_test(fdinfo_texts),
		cmocka_unit_test(paths_of_the_other_side),
	};

	(void)signal(SIGPIPE, SIG_IGN); /* a destination that refuses is gone */
	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
