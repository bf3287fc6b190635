/* SPDX-License-Identifier: Apache-2.0 */
#include "image/cell.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <linux/mount.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

#define NOBODY 65534u
#define MEMORY_MAX ((rlim_t)6 << 30)
#define STATUS_CANNOT 99

/* --- inside --- */

/* A file system that is mounted nowhere: nobody else can reach it, and it goes when the last process in it does.
 * No directory has to be made for it, and none can be left behind. */
static int empty_root(struct err *e)
{
	_cleanup_fd_ int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), root = -EBADF;

	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_errno(e, "cannot make an empty root directory");
	root = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC,
			    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (root < 0 || fchdir(root) < 0 || chroot(".") < 0)
		return err_errno(e, "cannot enter an empty root directory");
	return 0;
}

static int leave_root(struct err *e)
{
	int err = empty_root(e);

	if (err < 0)
		return err;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return err_errno(e, "cannot become nobody");
	return 0;
}

static int by_number(const void *pa, const void *pb)
{
	const int *a = pa, *b = pb;

	return *a < *b ? -1 : *a > *b;
}

/* Everything but what is needed. */
static void close_others(int sock, const int *keep, size_t n_keep)
{
	_cleanup_free_ int *stay = xcalloc(n_keep + 1, sizeof *stay);
	unsigned from = 0;

	for (size_t i = 0; i < n_keep; i++)
		stay[i] = keep[i];
	stay[n_keep] = sock;
	qsort(stay, n_keep + 1, sizeof *stay, by_number);
	for (size_t i = 0; i <= n_keep; i++) {
		if ((unsigned)stay[i] > from)
			(void)syscall(SYS_close_range, from, (unsigned)stay[i] - 1, 0);
		from = (unsigned)stay[i] + 1;
	}
	(void)syscall(SYS_close_range, from, ~0u, 0);
}

static int set_limits(struct err *e)
{
	static const struct {
		__rlimit_resource_t which;
		rlim_t most;
	} limits[] = {
		{ RLIMIT_CORE, 0 },	   { RLIMIT_NPROC, 0 },	 { RLIMIT_FSIZE, 0 },
		{ RLIMIT_MSGQUEUE, 0 },	   { RLIMIT_NOFILE, 0 }, { RLIMIT_SIGPENDING, 0 },
#ifndef __SANITIZE_ADDRESS__
		{ RLIMIT_AS, MEMORY_MAX },
#endif
	};

	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		struct rlimit l = { limits[i].most, limits[i].most }, now;

		if (getrlimit(limits[i].which, &now) == 0 && now.rlim_max < l.rlim_max)
			continue;
		if (setrlimit(limits[i].which, &l) < 0)
			return err_errno(e, "cannot limit it");
	}
	return 0;
}

#ifndef __SANITIZE_ADDRESS__
static const int allowed[] = {
	SCMP_SYS(read),		SCMP_SYS(write),
	SCMP_SYS(pread64),	SCMP_SYS(lseek),
	SCMP_SYS(munmap),	SCMP_SYS(mremap),
	SCMP_SYS(madvise),	SCMP_SYS(brk),
	SCMP_SYS(futex),	SCMP_SYS(clock_gettime),
	SCMP_SYS(getrandom),	SCMP_SYS(exit),
	SCMP_SYS(exit_group),	SCMP_SYS(restart_syscall),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sysinfo), /* qsort() asks how much memory there is */
};
/* What it reads is never a program. */
static const int mapping[] = { SCMP_SYS(mmap), SCMP_SYS(mprotect) };

static int filter(struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int err = ctx ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < ARRAY_LEN(allowed); i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; !err && i < ARRAY_LEN(mapping); i++)
		err = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, mapping[i], 1,
				       SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	if (!err)
		err = seccomp_load(ctx);
	seccomp_release(ctx);
	return err ? err_code(e, err, "seccomp") : 0;
}
#endif

int cell_enter(int sock, const int *keep, size_t n_keep, struct err *e)
{
	pid_t parent = getppid();
	int err;

	close_others(sock, keep, n_keep);
	capng_clear(CAPNG_SELECT_BOTH);
	if (geteuid() == 0) {
		(void)capng_apply(CAPNG_SELECT_BOUNDS);
		err = leave_root(e);
		if (err < 0)
			return err;
	}
	capng_clear(CAPNG_SELECT_BOTH);
	(void)capng_apply(CAPNG_SELECT_CAPS);
	/* Not before the ids: a change of them takes the death signal away. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_errno(e, "prctl");
	if (getppid() != parent)
		return err_set(e, -ESRCH, "its maker is gone");
	err = set_limits(e);
#ifdef __SANITIZE_ADDRESS__
	return err;
#else
	return err ? err : filter(e);
#endif
}

/* --- outside --- */

static void __attribute__((noreturn)) live(int sock, const int *keep, size_t n_keep, cell_fn *fn, void *arg)
{
	struct err e = { 0 };

	if (cell_enter(sock, keep, n_keep, &e) < 0) {
		cell_answer(sock, &e, NULL, 0);
		_exit(STATUS_CANNOT);
	}
	fn(sock, arg);
	_exit(0);
}

int cell_open(struct cell *c, const int *keep, size_t n_keep, cell_fn *fn, void *arg, struct err *e)
{
	struct timeval patience = { .tv_sec = CELL_PATIENCE_S };
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, "cannot make a socket pair");
	(void)setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	(void)setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	pid = fork();
	if (!pid)
		live(pair[1], keep, n_keep, fn, arg);
	(void)close(pair[1]);
	if (pid < 0) {
		(void)err_errno(e, "cannot make a process to decode in");
		(void)close(pair[0]);
		return e ? e->code : -EAGAIN;
	}
	*c = (struct cell) { pid, pair[0] };
	return 0;
}

void cell_close(struct cell *c)
{
	if (!c->pid)
		return;
	(void)close(c->sock);
	(void)kill(c->pid, SIGKILL);
	while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		;
	*c = (struct cell) { 0 };
}

static int failed(ssize_t n, struct err *e)
{
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return err_set(e, -ETIMEDOUT, "the process that decodes does not answer");
	if (n < 0 && errno != EPIPE && errno != ECONNRESET)
		return err_errno(e, "talking to the process that decodes");
	return err_set(e, -EBADMSG, "the process that decodes died of it");
}

static int put(const struct cell *c, const void *buf, size_t len, struct err *e)
{
	const char *from = buf;

	while (len) {
		ssize_t n = send(c->sock, from, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return failed(n, e);
		from += n;
		len -= (size_t)n;
	}
	return 0;
}

static int get(const struct cell *c, void *buf, size_t len, struct err *e)
{
	char *to = buf;

	while (len) {
		ssize_t n = recv(c->sock, to, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return failed(n, e);
		to += n;
		len -= (size_t)n;
	}
	return 0;
}

static int refused(const struct cell_head *h, const uint8_t *text, struct err *e)
{
	char clean[ERR_TEXT_MAX];
	size_t n = MIN(h->len, sizeof clean - 1);

	for (size_t i = 0; i < n; i++)
		clean[i] = text[i] < ' ' || text[i] == 127 ? '?' : (char)text[i];
	clean[n] = '\0';
	return err_set(e, h->code < 0 && h->code > -4096 ? h->code : -EBADMSG, "%s", clean);
}

int cell_ask(const struct cell *c, const struct cell_head *ask, const void *bytes, size_t max, uint8_t **ret,
	     size_t *ret_len, struct err *e)
{
	_cleanup_free_ uint8_t *answer = NULL;
	struct cell_head head;
	struct err said = { 0 };
	int err = c->pid ? put(c, ask, sizeof *ask, &said)
			 : err_set(&said, -EBADMSG, "there is no process to decode in");

	if (!err)
		err = put(c, bytes, ask->len, &said);
	/* It may have said why before it went. */
	if (get(c, &head, sizeof head, e) < 0)
		return err ? err_set(e, err, "%s", said.text) : e->code;
	if (head.len > (head.code ? ERR_TEXT_MAX : max))
		return err_set(e, -EBADMSG, "the process that decodes answers nonsense");
	answer = xmalloc(head.len + 1);
	err = get(c, answer, head.len, e);
	if (!err && head.code)
		err = refused(&head, answer, e);
	if (err < 0)
		return err;
	*ret_len = head.len;
	*ret = steal_ptr(&answer);
	return 0;
}

/* --- inside, at work --- */

bool cell_next(int sock, size_t max, struct cell_head *ret, uint8_t **ret_bytes)
{
	uint8_t *bytes;

	if (fd_read_full(sock, ret, sizeof *ret) < 0 || ret->len > max)
		return false;
	bytes = xmalloc(ret->len + 1);
	if (fd_read_full(sock, bytes, ret->len) < 0) {
		free(bytes);
		return false;
	}
	*ret_bytes = bytes;
	return true;
}

void cell_answer(int sock, const struct err *why, const void *bytes, size_t len)
{
	struct cell_head head = { .code = why->code, .len = why->code ? strlen(err_text(why)) : len };

	if (why->code)
		bytes = err_text(why);
	if (fd_write_full(sock, &head, sizeof head) < 0 || fd_write_full(sock, bytes, head.len) < 0)
		_exit(0);
}
