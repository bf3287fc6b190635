/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_TESTS_MOVER_WATCH_H
#define GW_TESTS_MOVER_WATCH_H

/* Running a mover under ptrace and knowing what it is about, for tools that take a mover's place. A tracer may
 * itself be traced. */

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "mover.pb-c.h"

#define CONTROL_FD 3
#define PACKET_MAX (192u << 10)
#define FRAME_PREPARED 2 /* src/mover/mover.h */

#define KIND(x) GODWIT__MOVER__MOVER_MESSAGE__KIND_##x

struct watched {
	const char *side;
	pid_t pid;
	const char *stage;
};

static inline void __attribute__((noreturn)) give_up(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	_exit(125);
}

static inline bool peek(pid_t pid, uint64_t at, void *to, size_t len)
{
	struct iovec here = { to, len }, there = { (void *)(uintptr_t)at, len };

	return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

/* The first part of what a sendmsg or recvmsg is about; `len`: 0: all of it. To be freed by protobuf. */
static inline Godwit__Mover__MoverMessage *watch_packet(pid_t pid, uint64_t msghdr, size_t len)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct msghdr msg;
	struct iovec iov;

	if (!peek(pid, msghdr, &msg, sizeof msg) || !peek(pid, (uint64_t)(uintptr_t)msg.msg_iov, &iov, sizeof iov))
		return NULL;
	len = len ? len : iov.iov_len;
	if (len > PACKET_MAX)
		return NULL;
	bytes = xmalloc(len);
	if (!peek(pid, (uint64_t)(uintptr_t)iov.iov_base, bytes, len))
		return NULL;
	return godwit__mover__mover_message__unpack(NULL, len, bytes);
}

/* At the exit of a call: the message that came from the process server, if that is what it was. Keeps the stage.
 */
static inline Godwit__Mover__MoverMessage *watch_received(struct watched *w, const struct user_regs_struct *r)
{
	static const struct {
		int kind;
		const char *stage;
	} stages[] = { { KIND(CHECK_SOURCE), "check" }, { KIND(CHECK_DESTINATION), "check" },
		       { KIND(LISTEN), "listen" },	{ KIND(CONNECT), "prepare" },
		       { KIND(RESTORE), "prepare" },	{ KIND(STUN), "stun" },
		       { KIND(MOVE), "move" },		{ KIND(FREEZE), "commit" },
		       { KIND(FINISH), "delete" },	{ KIND(ROLLBACK), "rollback" } };
	Godwit__Mover__MoverMessage *msg;

	if (r->orig_rax != SYS_recvmsg || r->rdi != CONTROL_FD || (int64_t)r->rax <= 0)
		return NULL;
	msg = watch_packet(w->pid, r->rsi, r->rax);
	for (size_t i = 0; msg && i < ARRAY_LEN(stages); i++)
		if (stages[i].kind == (int)msg->kind_case)
			w->stage = stages[i].stage;
	return msg;
}

/* At the entry of a call. Nobody asks the destination to move; it begins once it has said that it is prepared. */
static inline void watch_entry(struct watched *w, const struct user_regs_struct *r)
{
	uint32_t head[2];

	if (strcmp(w->stage, "prepare") != 0 || strcmp(w->side, "destination") != 0 || r->rdx != sizeof head)
		return;
	if (r->orig_rax != SYS_write && r->orig_rax != SYS_sendto)
		return;
	if (peek(w->pid, r->rsi, head, sizeof head) && head[0] == FRAME_PREPARED && !head[1])
		w->stage = "move";
}

static inline void watch_start(struct watched *w, const char *mover)
{
	int go[2];
	char byte;

	if (pipe2(go, O_CLOEXEC) < 0)
		give_up("pipe");
	w->pid = fork();
	if (w->pid < 0)
		give_up("fork");
	if (!w->pid) {
		if (read(go[0], &byte, 1) == 1)
			(void)execl(mover, "mover", w->side, NULL);
		give_up(mover);
	}
	(void)close(CONTROL_FD); /* so that the mover's death is seen at the other end */
	if (ptrace(PTRACE_SEIZE, w->pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) < 0)
		give_up("PTRACE_SEIZE");
	(void)ptrace(PTRACE_INTERRUPT, w->pid, 0, 0);
	if (write(go[1], "g", 1) != 1)
		give_up("pipe");
	(void)close(go[0]);
	(void)close(go[1]);
}

/* Where the mover is, beside us in the build. */
static inline char *watch_find_mover(void)
{
	char path[PATH_MAX], *cut;
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	if (n < 0)
		give_up("/proc/self/exe");
	path[n] = '\0';
	cut = strstr(path, "/tests/lab/tools/");
	if (!cut)
		give_up(path);
	(void)strcpy(cut, "/bin/mover");
	return xstrdup(path);
}

#endif
