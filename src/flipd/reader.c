/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hosts file can change, and flipd cannot open files any more once it is in its cell. So a child reads it,
 * which does nothing else: no keys in its memory, no sockets but the pair, the same cell with the root directory
 * left as it is. A byte asks; the answer is a length or -errno (4, as the machine has it) and the file. It ends
 * with flipd.
 */
#include "flipd/flipd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/util.h"
#include "lib/keys.h"

#define ANSWER_S 5

static int answer(int fd, const char *path)
{
	_cleanup_free_ char *text = NULL;
	ssize_t n = fd_slurp(AT_FDCWD, path, KEYS_HOSTS_MAX, &text);
	int32_t head = (int32_t)n;
	int r = fd_write_full(fd, &head, sizeof head);

	return r < 0 || n <= 0 ? r : fd_write_full(fd, text, (size_t)n);
}

static _Noreturn void serve(int fd, const char *path)
{
	struct err e = { 0 };
	char ask;

	(void)prctl(PR_SET_NAME, "flipd-hosts");
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	if (dup2(fd, 3) < 0 || close_range(4, ~0u, 0) < 0 || sandbox_enter(NULL, -1, &e) < 0)
		_exit(1);
	while (fd_read_full(3, &ask, 1) == 0 && answer(3, path) == 0)
		;
	_exit(0);
}

int reader_start(const char *etc, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/hosts", etc);
	struct timeval patience = { .tv_sec = ANSWER_S };
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, "socketpair");
	pid = fork();
	if (pid == 0)
		serve(pair[1], path);
	(void)close(pair[1]);
	(void)setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (pid < 0) {
		int err = err_errno(e, "fork");

		(void)close(pair[0]);
		return err;
	}
	return pair[0];
}

int reader_read(int fd, char **ret_text, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int32_t len;
	int r = fd_write_full(fd, "?", 1);

	if (!r)
		r = fd_read_full(fd, &len, sizeof len);
	if (r < 0)
		return err_code(e, r, "whoever reads the hosts file is gone");
	if (len < 0)
		return err_code(e, len, "cannot read the hosts file");
	if ((uint32_t)len > KEYS_HOSTS_MAX)
		return err_set(e, -E2BIG, "the hosts file is too long");
	text = xmalloc((size_t)len + 1);
	r = fd_read_full(fd, text, (size_t)len);
	if (r < 0)
		return err_code(e, r, "cannot read the hosts file");
	text[len] = '\0';
	*ret_text = steal_ptr(&text);
	return 0;
}
