/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hop [-n MOVES] [-i MS] [--sealed] [--no-ready] [--cancel] [--die WHERE] [--mover PATH] [-v] -- PROGRAM ARG...
 *
 * Plays both process servers and the shepherds of a migration on one machine, so that the engine can be tested
 * without them: runs PROGRAM in a container of its own, waits for "ready" on its output, moves it MOVES times
 * into a new container, says "go", passes output and exit status on. -v: a line of JSON a move.
 * --no-ready: the program neither says ready nor listens. --cancel: every second attempt is rolled back before the
 * commit. --die: the same with GODWIT_DIE_AT in the movers' environment. -i: pause between moves. Exits as the
 * program; 125: a move failed; 3: refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "mover.pb-c.h"

#define AGENT_SOCKET 900
#define KEY_LEN 32

typedef Godwit__Mover__MoverMessage msg_t;
#define KIND(x) GODWIT__MOVER__MOVER_MESSAGE__KIND_##x

struct container {
	pid_t shepherd, job; /* in our namespace */
	char *cgroup;	     /* holds shepherd/ and job/ */
	int agent_sock;
};

struct mover {
	pid_t pid;
	int control;
};

struct hop {
	char root[PATH_MAX], bin[PATH_MAX];
	char **argv;
	int moves, pause_ms, serial;
	bool sealed, no_ready, cancel, verbose;
	char *die;		   /* STAGE:SIDE */
	char *mover;		   /* instead of ours */
	bool undisturbed;	   /* this attempt */
	int in[2], out[2], err[2]; /* the job's standard streams: [0] reads */
	int64_t mono_s, mono_ns, boot_s, boot_ns;
	pid_t vpid;
	struct container c;
};

static void __attribute__((noreturn, format(printf, 2, 3))) die(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "hop: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(status);
}

#define must(x)                                                                                                   \
	({                                                                                                        \
		long must_r = (long)(x);                                                                          \
		if (must_r < 0)                                                                                   \
			die(125, "%s:%d: %s: %s", __FILE__, __LINE__, #x, strerror(errno));                       \
		must_r;                                                                                           \
	})

/* --- containers --- */

static void find_cgroup_root(struct hop *h)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];

	if (fd_slurp(-1, "/proc/self/mountinfo", 1 << 20, &text) < 0)
		die(125, "no mountinfo");
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (strstr(line, " - cgroup2 ") && sscanf(line, "%*s %*s %*s %*s %4000s", path) == 1) {
			(void)snprintf(h->root, sizeof h->root, "%.4000s/hop-XXXXXX", path);
			if (!mkdtemp(h->root))
				die(125, "%s: %s", h->root, strerror(errno));
			return;
		}
	die(125, "no cgroup2 is mounted");
}

static int open_dir(const char *base, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", base, name);

	(void)mkdir(path, 0755);
	return (int)must(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static void remove_cgroup(const char *path)
{
	_cleanup_free_ char *shepherd = xasprintf("%s/shepherd", path), *job = xasprintf("%s/job", path),
			    *kill = xasprintf("%s/cgroup.kill", path);

	(void)!fd_write_file(-1, kill, "1");
	for (int i = 0; i < 2000; i++) {
		(void)rmdir(job);
		(void)rmdir(shepherd);
		if (rmdir(path) == 0 || errno == ENOENT)
			return;
		usleep(1000);
	}
}

static void streams_to_012(struct hop *h)
{
	must(dup2(h->in[0], 0));
	must(dup2(h->out[1], 1));
	must(dup2(h->err[1], 2));
}

static void __attribute__((noreturn)) be_blank(int agent)
{
	sigset_t all;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	(void)setsid();
	if (agent != AGENT_SOCKET)
		must(dup2(agent, AGENT_SOCKET));
	(void)close_range(0, AGENT_SOCKET - 1, 0);
	(void)close_range(AGENT_SOCKET + 1, ~0u, 0);
	must(write(AGENT_SOCKET, "b", 1)); /* the socket is where it was said to be: it may be stopped */
	for (;;)
		(void)syscall(SYS_pause);
}

static void __attribute__((noreturn)) be_program(struct hop *h)
{
	streams_to_012(h);
	(void)setsid();
	(void)close_range(3, ~0u, 0);
	(void)execvp(h->argv[0], h->argv);
	_exit(127);
}

/* PID 1 of a container. With an agent socket its child is a blank, else the program. Ends as its child ends. */
static void __attribute__((noreturn)) be_shepherd(struct hop *h, int job_cgroup, int agent, int said)
{
	pid_t tid = h->vpid;
	struct clone_args args = { .flags = CLONE_INTO_CGROUP,
				   .exit_signal = SIGCHLD,
				   .cgroup = (uint64_t)job_cgroup };
	int status;
	long pid;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(mount("proc", "/proc", "proc", 0, NULL));
	if (agent >= 0) {
		char text[128];

		(void)snprintf(text, sizeof text, "monotonic %lld %lld\nboottime %lld %lld\n",
			       (long long)h->mono_s, (long long)h->mono_ns, (long long)h->boot_s,
			       (long long)h->boot_ns);
		must(unshare(CLONE_NEWTIME));
		errno = -fd_write_file(-1, "/proc/self/timens_offsets", text);
		must(-errno);
		args.set_tid = (uint64_t)(uintptr_t)&tid;
		args.set_tid_size = 1;
	} else {
		must(unshare(CLONE_NEWTIME));
		/* So that the leader is not always 2. */
		for (int i = 0; i < 40; i++)
			if (!fork())
				_exit(0);
		while (wait(NULL) > 0)
			;
	}
	pid = must(syscall(SYS_clone3, &args, sizeof args));
	if (!pid && agent >= 0)
		be_blank(agent);
	if (!pid)
		be_program(h);
	(void)close_range(0, (unsigned)said - 1, 0);
	must(write(said, &pid, sizeof pid));
	for (;;) {
		pid_t got = waitpid(-1, &status, 0);

		if (got == pid || (got < 0 && errno == ECHILD))
			break;
	}
	(void)!write(said, &status, sizeof status);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static pid_t first_child(pid_t parent)
{
	char path[64];
	_cleanup_free_ char *text = NULL;

	(void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", parent, parent);
	return fd_slurp(-1, path, 4096, &text) > 0 ? atoi(text) : 0;
}

/* `blank`: the child is a blank with the job's pid; else it is the program. */
static void make_container(struct hop *h, struct container *c, bool blank)
{
	struct clone_args args = { .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_INTO_CGROUP,
				   .exit_signal = SIGCHLD };
	int pair[2] = { -1, -1 }, said[2], job, shepherd;
	pid_t vpid = 0;

	c->cgroup = xasprintf("%s/%d", h->root, h->serial++);
	must(mkdir(c->cgroup, 0755));
	job = open_dir(c->cgroup, "job");
	shepherd = open_dir(c->cgroup, "shepherd");
	if (blank)
		must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	must(pipe2(said, O_CLOEXEC));
	args.cgroup = (uint64_t)shepherd;
	c->shepherd = (pid_t)must(syscall(SYS_clone3, &args, sizeof args));
	if (!c->shepherd)
		be_shepherd(h, job, pair[1], said[1]);
	(void)close(job);
	(void)close(shepherd);
	(void)close(pair[1]);
	(void)close(said[1]);
	c->agent_sock = pair[0];
	if (fd_read_full(said[0], &vpid, sizeof vpid) < 0)
		die(125, "the container did not come up");
	if (blank)
		must(read(c->agent_sock, &(char) { 0 }, 1));
	h->vpid = vpid;
	c->job = first_child(c->shepherd);
	(void)close(said[0]);
	/* A program, unlike a blank, may have ended already. */
	if (!c->job && blank)
		die(125, "the container has no child");
}

/* --- movers --- */

static void start_mover(struct hop *h, struct mover *m, const char *side)
{
	_cleanup_free_ char *path = h->mover ? xstrdup(h->mover) : xasprintf("%.4000s/mover", h->bin);
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
	m->pid = (pid_t)must(fork());
	if (!m->pid) {
		if (h->die && h->undisturbed)
			(void)unsetenv("GODWIT_DIE_AT");
		else if (h->die)
			(void)setenv("GODWIT_DIE_AT", h->die, 1);
		must(dup2(pair[1], 3));
		(void)execl(path, "mover", side, NULL);
		die(125, "%s: %s", path, strerror(errno));
	}
	(void)close(pair[1]);
	m->control = pair[0];
}

static void say(const struct mover *m, int kind, void *body, const int *fds, size_t n_fds)
{
	msg_t msg = GODWIT__MOVER__MOVER_MESSAGE__INIT;
	_cleanup_free_ uint8_t *buf = NULL;
	size_t len;
	int err;

	msg.kind_case = (Godwit__Mover__MoverMessage__KindCase)kind;
	msg.check_source = body;
	len = godwit__mover__mover_message__get_packed_size(&msg);
	buf = xmalloc(len);
	(void)godwit__mover__mover_message__pack(&msg, buf);
	err = fd_msg_send(m->control, buf, len, fds, n_fds);
	if (err < 0)
		fprintf(stderr, "hop: a mover is gone: %s\n", strerror(-err));
}

/* The answer, or NULL when the mover failed (with its words printed) or died. */
static msg_t *hear(const struct mover *m, int kind)
{
	static uint8_t buf[256 << 10];
	ssize_t n = fd_msg_recv(m->control, buf, sizeof buf, NULL, 0, NULL);
	msg_t *msg = n > 0 ? godwit__mover__mover_message__unpack(NULL, (size_t)n, buf) : NULL;

	if (msg && msg->kind_case == KIND(PROGRESS)) { /* which is for people */
		godwit__mover__mover_message__free_unpacked(msg, NULL);
		return hear(m, kind);
	}
	if (!msg) {
		fprintf(stderr, "hop: a mover died\n");
		return NULL;
	}
	if ((int)msg->kind_case == kind)
		return msg;
	if (msg->kind_case == KIND(FAILED))
		fprintf(stderr, "hop: failed: %s\n", msg->failed->text);
	else
		fprintf(stderr, "hop: expected message %d, got %d\n", kind, (int)msg->kind_case);
	godwit__mover__mover_message__free_unpacked(msg, NULL);
	return NULL;
}

static void drop(msg_t *msg)
{
	godwit__mover__mover_message__free_unpacked(msg, NULL); /* NULL-safe */
}

static void end_mover(struct mover *m)
{
	(void)close(m->control);
	(void)waitpid(m->pid, NULL, 0);
}

struct move {
	struct hop *h;
	struct mover s, d;
	struct container to;
	uint8_t key[KEY_LEN];
	Godwit__Mover__Stream stream[3], *streams[3];
	uint64_t start_us, stopped_us, end_us, prepared_us;
	msg_t *checked, *ready, *stunned;
};

static void stream_init(Godwit__Mover__Stream *s, int fd, Godwit__Mover__Stream__Kind kind, uint32_t index)
{
	struct stat st;

	must(fstat(fd, &st));
	godwit__mover__stream__init(s);
	s->kind = kind;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	s->index = index;
}

static void name_streams(struct move *mv)
{
	stream_init(&mv->stream[0], mv->h->in[0], GODWIT__MOVER__STREAM__KIND__PIPE_READ, 0);
	stream_init(&mv->stream[1], mv->h->out[1], GODWIT__MOVER__STREAM__KIND__PIPE_WRITE, 1);
	stream_init(&mv->stream[2], mv->h->err[1], GODWIT__MOVER__STREAM__KIND__PIPE_WRITE, 2);
	for (int i = 0; i < 3; i++)
		mv->streams[i] = &mv->stream[i];
}

static bool print_problems(const Godwit__Mover__Checked *c)
{
	for (size_t i = 0; i < c->n_problems; i++)
		fprintf(stderr, "hop: refused: pid %d fd %d %s: %s (%s)\n", c->problems[i]->pid,
			c->problems[i]->fd, c->problems[i]->object, c->problems[i]->reason, c->problems[i]->help);
	return c->n_problems != 0;
}

static bool check(struct move *mv)
{
	Godwit__Mover__CheckSource cs = GODWIT__MOVER__CHECK_SOURCE__INIT;
	Godwit__Mover__CheckDestination cd = GODWIT__MOVER__CHECK_DESTINATION__INIT;
	msg_t *answer;

	cs.migration = cd.migration = (char *)(uintptr_t) "hop";
	cs.job = cd.job = (char *)(uintptr_t) "hop";
	cs.leader = mv->h->c.job;
	cs.streams = mv->streams;
	cs.n_streams = 3;
	say(&mv->s, KIND(CHECK_SOURCE), &cs, NULL, 0);
	mv->checked = hear(&mv->s, KIND(CHECKED));
	if (!mv->checked)
		return false;
	if (print_problems(mv->checked->checked))
		exit(3);
	cd.requirements = mv->checked->checked->requirements;
	cd.scratch = (char *)(uintptr_t) "/tmp";
	say(&mv->d, KIND(CHECK_DESTINATION), &cd, NULL, 0);
	answer = hear(&mv->d, KIND(CHECKED));
	if (!answer)
		return false;
	if (print_problems(answer->checked))
		exit(3);
	drop(answer);
	return true;
}

/* On one machine all hosts' clocks are the same, so the job's offsets stay. */
static void keep_clocks(struct hop *h)
{
	char path[64];
	_cleanup_free_ char *text = NULL;

	(void)snprintf(path, sizeof path, "/proc/%d/timens_offsets", h->c.job);
	if (fd_slurp(-1, path, 4096, &text) < 0 || sscanf(text, "monotonic %ld %ld boottime %ld %ld", &h->mono_s,
							  &h->mono_ns, &h->boot_s, &h->boot_ns) != 4)
		die(125, "no clock offsets");
}

static bool prepare(struct move *mv)
{
	struct hop *h = mv->h;
	Godwit__Mover__Listen listen = GODWIT__MOVER__LISTEN__INIT;
	Godwit__Mover__Restore restore = GODWIT__MOVER__RESTORE__INIT;
	Godwit__Mover__Connect connect = GODWIT__MOVER__CONNECT__INIT;
	char address[] = "127.0.0.1", *cgroup;
	int fds[4] = { 0, h->in[0], h->out[1], h->err[1] };
	msg_t *answer;

	keep_clocks(h);
	make_container(h, &mv->to, true);
	listen.address = connect.address = address;
	listen.key = connect.key = (ProtobufCBinaryData) { KEY_LEN, mv->key };
	listen.sealed = connect.sealed = h->sealed;
	say(&mv->d, KIND(LISTEN), &listen, NULL, 0);
	answer = hear(&mv->d, KIND(LISTENING));
	if (!answer)
		return false;
	connect.port = answer->listening->port;
	drop(answer);
	fds[0] = mv->to.agent_sock;
	cgroup = xasprintf("%s/job", mv->to.cgroup);
	restore.cgroup = cgroup;
	restore.shepherd = mv->to.shepherd;
	restore.blank = mv->to.job;
	restore.agent_socket = AGENT_SOCKET;
	restore.streams = mv->streams;
	restore.n_streams = 3;
	say(&mv->d, KIND(RESTORE), &restore, fds, 4);
	free(cgroup);
	say(&mv->s, KIND(CONNECT), &connect, NULL, 0);
	answer = hear(&mv->s, KIND(PREPARED));
	drop(answer);
	mv->prepared_us = now_us();
	return answer != NULL;
}

static bool move(struct move *mv)
{
	Godwit__Mover__Stun stun = GODWIT__MOVER__STUN__INIT;
	Godwit__Mover__Move go = GODWIT__MOVER__MOVE__INIT;

	say(&mv->s, KIND(STUN), &stun, NULL, 0);
	mv->stunned = hear(&mv->s, KIND(STUNNED));
	if (!mv->stunned)
		return false;
	mv->stopped_us = mv->stunned->stunned->at_us;
	say(&mv->s, KIND(MOVE), &go, NULL, 0);
	mv->ready = hear(&mv->s, KIND(READY));
	return mv->ready != NULL;
}

static void send_late(const struct move *mv, const Godwit__Mover__Frozen *f)
{
	for (size_t i = 0; i < f->n_signals; i++) {
		siginfo_t info;

		memcpy(&info, f->signals[i]->siginfo.data, sizeof info);
		if (f->signals[i]->tid)
			(void)syscall(SYS_tgkill, mv->to.job, mv->to.job, info.si_signo);
		else
			(void)kill(mv->to.job, info.si_signo);
	}
}

static bool commit(struct move *mv)
{
	Godwit__Mover__Freeze freeze = GODWIT__MOVER__FREEZE__INIT;
	_cleanup_free_ char *from = xasprintf("%s/job", mv->h->c.cgroup),
			    *to = xasprintf("%s/job/cgroup.freeze", mv->to.cgroup);
	msg_t *answer;

	freeze.cgroup = from;
	say(&mv->s, KIND(FREEZE), &freeze, NULL, 0);
	answer = hear(&mv->s, KIND(FROZEN));
	if (!answer)
		return false;
	send_late(mv, answer->frozen);
	drop(answer);
	errno = -fd_write_file(-1, to, "0");
	must(-errno);
	mv->end_us = now_us();
	return true;
}

static void leave(struct container *c)
{
	remove_cgroup(c->cgroup);
	(void)waitpid(c->shepherd, NULL, 0);
	free(c->cgroup);
	if (c->agent_sock >= 0)
		(void)close(c->agent_sock);
}

static void report(const struct move *mv, int number)
{
	const Godwit__Mover__Ready *r = mv->ready->ready;

	fprintf(stderr,
		"{\"move\":%d,\"freeze_us\":%lu,\"total_us\":%lu,\"prepare_us\":%lu,\"bytes\":%lu,\"pages\":%lu,"
		"\"stages\":[",
		number, mv->end_us - mv->stopped_us, mv->end_us - mv->start_us, mv->prepared_us - mv->start_us,
		r->bytes, r->pages);
	for (size_t i = 0; i < r->n_timings; i++)
		fprintf(stderr, "%s{\"name\":\"%s\",\"us\":%lu}", i ? "," : "", r->timings[i]->name,
			r->timings[i]->us);
	fprintf(stderr, "]}\n");
}

static void roll_back(struct move *mv)
{
	Godwit__Mover__Rollback back = GODWIT__MOVER__ROLLBACK__INIT;

	say(&mv->s, KIND(ROLLBACK), &back, NULL, 0);
	drop(hear(&mv->s, KIND(UNDONE)));
	say(&mv->d, KIND(ROLLBACK), &back, NULL, 0);
}

static bool attempt(struct move *mv, bool cancel)
{
	if (!check(mv) || !prepare(mv) || !move(mv))
		return false;
	if (!cancel)
		return commit(mv);
	roll_back(mv);
	return false;
}

/* What procd does when an attempt has failed, whoever died: the source's cgroup may be frozen already. */
static void undo(struct hop *h)
{
	Godwit__Mover__Tidy tidy = GODWIT__MOVER__TIDY__INIT;
	struct mover m;
	_cleanup_free_ char *path = xasprintf("%s/job/cgroup.freeze", h->c.cgroup);

	(void)!fd_write_file(-1, path, "0");
	tidy.leader = h->c.job;
	h->undisturbed = true;
	start_mover(h, &m, "source");
	say(&m, KIND(TIDY), &tidy, NULL, 0);
	end_mover(&m);
}

/* Returns false if the job is where it was. */
static bool move_once(struct hop *h, int number, bool disturbed)
{
	struct move mv = { .h = h, .start_us = now_us() };
	Godwit__Mover__Finish finish = GODWIT__MOVER__FINISH__INIT;
	bool moved;

	h->undisturbed = !disturbed;
	must(getrandom(mv.key, sizeof mv.key, 0));
	name_streams(&mv);
	start_mover(h, &mv.s, "source");
	start_mover(h, &mv.d, "destination");
	moved = attempt(&mv, disturbed && h->cancel);
	if (moved && h->verbose)
		report(&mv, number);
	if (moved) {
		say(&mv.s, KIND(FINISH), &finish, NULL, 0);
		drop(hear(&mv.d, KIND(READY))); /* it has told the other mover first */
		say(&mv.d, KIND(FINISH), &finish, NULL, 0);
	}
	end_mover(&mv.s);
	end_mover(&mv.d);
	if (!moved)
		undo(h);
	if (moved || mv.to.cgroup)
		leave(moved ? &h->c : &mv.to);
	if (moved)
		h->c = mv.to;
	drop(mv.checked);
	drop(mv.stunned);
	drop(mv.ready);
	return moved;
}

/* --- the program's streams --- */

static bool pump(int from, int to)
{
	char buf[65536];
	ssize_t n = read(from, buf, sizeof buf);

	return n > 0 && fd_write_full(to, buf, (size_t)n) == 0;
}

/* Passes output on for so long, or, -1, until the shepherd has gone and all is read. */
static void pass_output(struct hop *h, int ms)
{
	struct pollfd p[2] = { { .fd = h->out[0], .events = POLLIN }, { .fd = h->err[0], .events = POLLIN } };
	uint64_t end = now_us() + (uint64_t)ms * 1000;

	for (;;) {
		int wait_ms = ms < 0 ? -1 : (int)((int64_t)(end - now_us()) / 1000);

		if (ms >= 0 && wait_ms <= 0)
			return;
		if (poll(p, 2, wait_ms) < 0)
			continue;
		for (int i = 0; i < 2; i++)
			if (p[i].revents && !pump(p[i].fd, i + 1))
				p[i].fd = -1;
		if (p[0].fd < 0 && p[1].fd < 0)
			return;
	}
}

static bool has_ended(const struct hop *h)
{
	siginfo_t info = { 0 };

	if (!h->c.job)
		return true;
	return waitid(P_PID, (id_t)h->c.shepherd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid;
}

/* False at the end, or when the program has ended without a word. */
static bool read_byte(struct hop *h, char *to)
{
	struct pollfd p = { .fd = h->out[0], .events = POLLIN };

	while (poll(&p, 1, 100) == 0)
		if (has_ended(h) && poll(&p, 1, 0) == 0)
			return false;
	return read(h->out[0], to, 1) == 1;
}

static void wait_ready(struct hop *h)
{
	char line[4096];
	size_t n = 0;

	while (n < sizeof line - 1 && read_byte(h, line + n)) {
		if (line[n++] != '\n')
			continue;
		(void)!write(1, line, n);
		if (!strncmp(line, "ready", 5))
			return;
		n = 0;
	}
	/* It ended instead: a skip, or a failure to set up. */
}

static int run(struct hop *h)
{
	int status, done = 0;

	make_container(h, &h->c, false);
	if (!h->no_ready)
		wait_ready(h);
	for (int tries = 0; done < h->moves && tries < 4 * h->moves; tries++) {
		bool disturbed = (h->cancel || h->die) && tries % 2 == 0;

		if (h->pause_ms)
			pass_output(h, h->pause_ms);
		if (has_ended(h))
			break;
		if (move_once(h, done + 1, disturbed))
			done++;
		else if (!disturbed)
			return 125;
	}
	if (!h->no_ready && write(h->in[1], "go\n", 3) != 3)
		fprintf(stderr, "hop: cannot say go\n");
	(void)close(h->in[1]);
	(void)close(h->in[0]);
	(void)close(h->out[1]);
	(void)close(h->err[1]);
	pass_output(h, -1);
	must(waitpid(h->c.shepherd, &status, 0));
	if (h->verbose)
		fprintf(stderr, "{\"moves\":%d,\"status\":%d}\n", done,
			WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}

static void parse(struct hop *h, int argc, char **argv)
{
	static const struct option options[] = {
		{ "sealed", no_argument, NULL, 's' },	   { "no-ready", no_argument, NULL, 'r' },
		{ "cancel", no_argument, NULL, 'c' },	   { "die", required_argument, NULL, 'd' },
		{ "mover", required_argument, NULL, 'm' }, { 0 }
	};
	int c;

	while ((c = getopt_long(argc, argv, "+n:i:v", options, NULL)) != -1) {
		switch (c) {
		case 'n':
			h->moves = atoi(optarg);
			break;
		case 'i':
			h->pause_ms = atoi(optarg);
			break;
		case 's':
			h->sealed = true;
			break;
		case 'r':
			h->no_ready = true;
			break;
		case 'c':
			h->cancel = true;
			break;
		case 'd':
			h->die = optarg;
			break;
		case 'm':
			h->mover = optarg;
			break;
		case 'v':
			h->verbose = true;
			break;
		default:
			exit(2);
		}
	}
	if (optind == argc)
		die(2, "usage: hop [-n MOVES] [-i MS] [--sealed] [--no-ready] [--cancel] [-v] -- PROGRAM ARG...");
	h->argv = argv + optind;
}

static void find_bin(struct hop *h)
{
	char *cut;
	ssize_t n = readlink("/proc/self/exe", h->bin, sizeof h->bin - 1);

	if (n < 0)
		die(125, "no /proc");
	h->bin[n] = '\0';
	cut = strstr(h->bin, "/tests/lab/tools/");
	if (!cut)
		die(125, "%s is not below a build directory", h->bin);
	(void)strcpy(cut, "/bin");
}

static volatile sig_atomic_t worker;

static void end_worker(int sig)
{
	(void)kill((pid_t)worker, sig);
}

/* Whatever becomes of the worker, nothing of its containers stays. */
static int clean_up_after(struct hop *h, pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	for (int i = 0; i < h->serial; i++) {
		_cleanup_free_ char *path = xasprintf("%s/%d", h->root, i);

		remove_cgroup(path);
	}
	if (rmdir(h->root) < 0)
		die(125, "%s stays: %s", h->root, strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}

int main(int argc, char **argv)
{
	static struct hop h = { .moves = 1 };

	parse(&h, argc, argv);
	find_bin(&h);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)mkdir("/run/godwit", 0755); /* procd's; the mover keeps what it has learned of the kernel there */
	find_cgroup_root(&h);
	must(pipe2(h.in, O_CLOEXEC));
	must(pipe2(h.out, O_CLOEXEC));
	must(pipe2(h.err, O_CLOEXEC));
	(void)signal(SIGTERM, end_worker);
	(void)signal(SIGINT, end_worker);
	worker = (sig_atomic_t)must(fork());
	if (!worker) {
		(void)signal(SIGTERM, SIG_DFL);
		(void)signal(SIGINT, SIG_DFL);
		return run(&h);
	}
	for (int i = 0; i < 2; i++) {
		(void)close(h.in[i]);
		(void)close(h.out[i]);
		(void)close(h.err[i]);
	}
	h.serial = 4 * h.moves + 1;
	return clean_up_after(&h, (pid_t)worker);
}
