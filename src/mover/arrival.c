/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/arrival.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "lib/frame.h"

#define PATIENCE_S 2

/* To the program it is as if its flipd had ended. */
static int dead_end(struct err *e)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, "socketpair");
	(void)close(pair[1]);
	return pair[0];
}

static int set_patience(int fd, time_t seconds)
{
	struct timeval tv = { .tv_sec = seconds };

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) < 0)
		return -errno;
	return 0;
}

static int say(int fd, const Godwit__Ckpt__FlipSocket *f)
{
	struct frame q = { .type = FRAME_CONN_ARRIVE, .client = f->token, .length = (uint32_t)f->unread.len };
	uint8_t head[FRAME_HDR_LEN];
	int r;

	frame_encode(&q, head);
	r = fd_write_full(fd, head, sizeof head) ?: fd_write_full(fd, f->unread.data, f->unread.len);
	if (!r)
		r = fd_read_full(fd, head, sizeof head);
	if (r < 0)
		return r;
	return frame_decode(&q, head) < 0 || q.type != FRAME_DONE ? -EPROTO : q.status;
}

int arrival_open(const char *socket_path, const Godwit__Ckpt__FlipSocket *f, struct err *e)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	_cleanup_fd_ int fd = -EBADF;
	int r;

	if (!socket_path || !*socket_path)
		return dead_end(e);
	if (strlen(socket_path) >= sizeof sun.sun_path || f->unread.len > GW_MSG_MAX)
		return err_set(e, -EBADMSG, "a connection to flipd cannot be made again");
	strcpy(sun.sun_path, socket_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || set_patience(fd, PATIENCE_S) < 0)
		return err_errno(e, "socket");
	if (connect(fd, (const struct sockaddr *)&sun, sizeof sun) < 0)
		return err_errno(e, "flipd cannot be reached at %s", socket_path);
	r = say(fd, f);
	if (!r)
		r = set_patience(fd, 0);
	return r < 0 ? err_code(e, r, "flipd does not take the job's connection") : steal_fd(&fd);
}
