/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dieat source|destination, in the place of a mover: runs the mover under ptrace and kills it just before its k-th
 * system call, counted from the first message that it got.
 *
 * The file $DIEAT_STATE holds "K STRIDE SIDE KILL|STOP". In attempts that are to be disturbed (GODWIT_DIE_AT is
 * set) that side's mover dies before its K-th call, and the file then says K + STRIDE; once a mover has outlived
 * its K it says -1. STOP: it is stopped instead, for ever as far as anyone can tell, and killed after HANG_MS.
 *
 * Before that, and in every attempt of a source's mover, the job is looked at as soon as its pid is known: what
 * was seen before a disturbed attempt must be seen again after it. $DIEAT_LOG gets a line for each death ("K SIDE
 * STAGE CALL died"), and "BAD why" for each trace that was left.
 *
 * A tracer may itself be traced; a mover that dies in the stop at the entry of a call has not made that call.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "mover.pb-c.h"

#include "job_look.h"

#define CONTROL_FD 3
#define PACKET_MAX (192u << 10)
#define HANG_MS 3000
#define FRAME_PREPARED 2 /* src/mover/mover.h */

#define KIND(x) GODWIT__MOVER__MOVER_MESSAGE__KIND_##x

struct dieat {
	const char *side, *state_path, *log_path;
	char mover[PATH_MAX];
	bool attempt;	/* this attempt is to be disturbed, on whichever side */
	bool disturbed; /* on this one */
	bool stop;
	long k, stride;
	pid_t pid;
	long count;
	bool counting, looked;
	const char *stage;
};

static void __attribute__((noreturn)) give_up(const char *what)
{
	fprintf(stderr, "dieat: %s: %s\n", what, strerror(errno));
	_exit(125);
}

static void __attribute__((format(printf, 2, 3))) note(const struct dieat *d, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n, fd = open(d->log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof line - 1, fmt, ap);
	va_end(ap);
	n = MIN(n, (int)sizeof line - 2);
	line[n] = '\n';
	if (fd < 0 || write(fd, line, (size_t)n + 1) < 0)
		give_up(d->log_path);
	(void)close(fd);
}

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || fd_write_full(fd, text, strlen(text)) < 0)
		give_up(path);
	(void)close(fd);
}

static void look_at(struct dieat *d, pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("%s.seen", d->state_path);
	_cleanup_free_ char *trace = job_look_again(path, pid, d->attempt);

	d->looked = true;
	if (trace)
		note(d, "BAD after the death before %ld: %s", d->k - d->stride, trace);
}

/* --- what the mover is about --- */

static void see_message(struct dieat *d, const uint8_t *bytes, size_t len)
{
	static const struct {
		int kind;
		const char *stage;
	} stages[] = { { KIND(CHECK_SOURCE), "check" }, { KIND(CHECK_DESTINATION), "check" },
		       { KIND(LISTEN), "listen" },	{ KIND(CONNECT), "prepare" },
		       { KIND(RESTORE), "prepare" },	{ KIND(STUN), "stun" },
		       { KIND(MOVE), "move" },		{ KIND(FREEZE), "commit" },
		       { KIND(FINISH), "delete" },	{ KIND(ROLLBACK), "rollback" } };
	Godwit__Mover__MoverMessage *msg = godwit__mover__mover_message__unpack(NULL, len, bytes);

	if (!msg)
		return;
	for (size_t i = 0; i < ARRAY_LEN(stages); i++)
		if (stages[i].kind == (int)msg->kind_case)
			d->stage = stages[i].stage;
	d->counting = true;
	if ((int)msg->kind_case == KIND(CHECK_SOURCE) && !d->looked)
		look_at(d, (pid_t)msg->check_source->leader);
	godwit__mover__mover_message__free_unpacked(msg, NULL);
}

static bool peek(pid_t pid, uint64_t at, void *to, size_t len)
{
	struct iovec here = { to, len }, there = { (void *)(uintptr_t)at, len };

	return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

static void see_exit(struct dieat *d, const struct user_regs_struct *r)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct msghdr msg;
	struct iovec iov;

	if (r->orig_rax != SYS_recvmsg || r->rdi != CONTROL_FD || (int64_t)r->rax <= 0 || r->rax > PACKET_MAX)
		return;
	bytes = xmalloc(r->rax);
	if (peek(d->pid, r->rsi, &msg, sizeof msg) &&
	    peek(d->pid, (uint64_t)(uintptr_t)msg.msg_iov, &iov, sizeof iov) &&
	    peek(d->pid, (uint64_t)(uintptr_t)iov.iov_base, bytes, r->rax))
		see_message(d, bytes, r->rax);
}

/* Nobody asks the destination to move; it begins once it has said that it is prepared. */
static void see_entry(struct dieat *d, const struct user_regs_struct *r)
{
	uint32_t head[2];

	if (strcmp(d->stage, "prepare") != 0 || strcmp(d->side, "destination") != 0 || r->rdx != sizeof head)
		return;
	if (r->orig_rax != SYS_write && r->orig_rax != SYS_sendto)
		return;
	if (peek(d->pid, r->rsi, head, sizeof head) && head[0] == FRAME_PREPARED && !head[1])
		d->stage = "move";
}

/* --- the tracer --- */

static void keep_state(const struct dieat *d, long k)
{
	_cleanup_free_ char *text = xasprintf("%ld %ld %s %s\n", k, d->stride, d->side, d->stop ? "STOP" : "KILL");

	write_text(d->state_path, text);
}

static void die_now(struct dieat *d, long nr)
{
	note(d, "%ld %s %s call %ld died", d->k, d->side, d->stage, nr);
	keep_state(d, d->k + d->stride);
	if (d->stop)
		(void)usleep(HANG_MS * 1000);
	(void)kill(d->pid, SIGKILL);
}

static void at_call(struct dieat *d)
{
	struct __ptrace_syscall_info info;
	struct user_regs_struct r;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, d->pid, sizeof info, &info) < 0 ||
	    ptrace(PTRACE_GETREGS, d->pid, 0, &r) < 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
		see_exit(d, &r);
		return;
	}
	see_entry(d, &r);
	if (d->counting && d->count++ == d->k && d->disturbed)
		die_now(d, (long)r.orig_rax);
}

static int run_traced(struct dieat *d)
{
	int status;

	for (;;) {
		int sig = 0;

		if (waitpid(d->pid, &status, __WALL) < 0)
			give_up("waitpid");
		if (!WIFSTOPPED(status))
			break;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80))
			at_call(d);
		else if (!(status >> 16))
			sig = WSTOPSIG(status);
		if (d->looked && !d->disturbed) {
			(void)ptrace(PTRACE_DETACH, d->pid, 0, sig);
			(void)waitpid(d->pid, &status, 0);
			break;
		}
		(void)ptrace(PTRACE_SYSCALL, d->pid, 0, sig);
	}
	if (d->disturbed && d->count <= d->k && strcmp(d->stage, "delete") != 0) {
		note(d, "%ld %s %s failed by itself", d->k, d->side, d->stage);
	} else if (d->disturbed && d->count <= d->k) {
		note(d, "%ld %s end %ld calls lived", d->k, d->side, d->count);
		keep_state(d, -1);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}

static void start(struct dieat *d)
{
	int go[2];
	char byte;

	if (pipe2(go, O_CLOEXEC) < 0)
		give_up("pipe");
	d->pid = fork();
	if (d->pid < 0)
		give_up("fork");
	if (!d->pid) {
		if (read(go[0], &byte, 1) == 1)
			(void)execl(d->mover, "mover", d->side, NULL);
		give_up(d->mover);
	}
	(void)close(CONTROL_FD); /* so that the mover's death is seen at the other end */
	if (ptrace(PTRACE_SEIZE, d->pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) < 0)
		give_up("PTRACE_SEIZE");
	(void)ptrace(PTRACE_INTERRUPT, d->pid, 0, 0);
	if (write(go[1], "g", 1) != 1)
		give_up("pipe");
	(void)close(go[0]);
	(void)close(go[1]);
}

static void find_mover(struct dieat *d)
{
	ssize_t n = readlink("/proc/self/exe", d->mover, sizeof d->mover - 1);
	char *cut;

	if (n < 0)
		give_up("/proc/self/exe");
	d->mover[n] = '\0';
	cut = strstr(d->mover, "/tests/lab/tools/");
	if (!cut)
		give_up(d->mover);
	(void)strcpy(cut, "/bin/mover");
}

int main(int argc, char **argv)
{
	static struct dieat d = { .stage = "start", .k = -1 };
	_cleanup_free_ char *text = NULL;
	char side[16] = "", how[8] = "";

	d.state_path = getenv("DIEAT_STATE");
	d.log_path = getenv("DIEAT_LOG");
	if (argc != 2 || !d.state_path || !d.log_path) {
		fprintf(stderr, "usage: DIEAT_STATE=FILE DIEAT_LOG=FILE dieat source|destination\n");
		return 2;
	}
	d.side = argv[1];
	find_mover(&d);
	if (fd_slurp(-1, d.state_path, 4096, &text) < 0 ||
	    sscanf(text, "%ld %ld %15s %7s", &d.k, &d.stride, side, how) != 4)
		give_up(d.state_path);
	d.stop = !strcmp(how, "STOP");
	d.disturbed = getenv("GODWIT_DIE_AT") && d.k >= 0 && !strcmp(side, d.side);
	d.attempt = getenv("GODWIT_DIE_AT") != NULL;
	d.disturbed = d.attempt && d.k >= 0 && !strcmp(side, d.side);
	(void)unsetenv("GODWIT_DIE_AT");
	if (!d.disturbed && strcmp(d.side, "source") != 0) {
		(void)execl(d.mover, "mover", d.side, NULL);
		give_up(d.mover);
	}
	start(&d);
	return run_traced(&d);
}
