/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_BASE_FD_H
#define GW_BASE_FD_H

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* Closes *fd if it is open and leaves -EBADF in it. errno survives. */
void fd_close(int *fd);
#define _cleanup_fd_ __attribute__((cleanup(fd_close)))

static inline int steal_fd(int *fd)
{
	int out = *fd;

	*fd = -EBADF;
	return out;
}

/* The whole buffer or an error; a peer's close in the middle is -EPIPE (write) or -ENODATA (read). */
int fd_read_full(int fd, void *buf, size_t len) must_check;
int fd_write_full(int fd, const void *buf, size_t len) must_check;

/* Reads a file of at most `max` bytes (procfs included) into a NUL-terminated heap buffer. Returns its length or
 * -errno. */
ssize_t fd_slurp(int dirfd, const char *path, size_t max, char **ret_text) must_check;

/* Writes a short string in one write(), as cgroup and procfs files want it. */
int fd_write_file(int dirfd, const char *path, const char *text) must_check;

int fd_set_nonblock(int fd, int on) must_check;

#define FD_MSG_FDS_MAX 64

/* One datagram on a SOCK_SEQPACKET socket, with descriptors. Received descriptors are O_CLOEXEC and the caller's;
 * more of them than `max_fds`, or a truncated message, is -EMSGSIZE and none is kept. fd_msg_recv returns the
 * length, 0 at end. */
int fd_msg_send(int sock, const void *buf, size_t len, const int *fds, size_t n_fds) must_check;
ssize_t fd_msg_recv(int sock, void *buf, size_t len, int *fds, size_t max_fds, size_t *ret_n_fds) must_check;

#endif
