/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/fd.h"
#include "base/util.h"
#include "inject/internal.h"

/* What recvmsg needs over there; the kernel's own layout, with addresses over there. */
struct landing {
	struct msghdr msg;
	struct iovec iov;
	char byte;
	char control[CMSG_SPACE(FD_MSG_FDS_MAX * sizeof(int))] __attribute__((aligned(8)));
};

raddr_t remote_batch_addr(const struct remote *r, uint32_t offset)
{
	return (raddr_t) { r->link->data + offsetof(struct agent_data, data) + offset };
}

static int take_numbers(const struct landing *l, size_t n, int *ret_there, struct err *e)
{
	const struct cmsghdr *c = (const struct cmsghdr *)l->control;

	if (l->msg.msg_controllen < CMSG_LEN(n * sizeof(int)) || c->cmsg_level != SOL_SOCKET ||
	    c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(n * sizeof(int)))
		return err_set(e, -EIO, "%zu descriptors were handed over, not all arrived", n);
	memcpy(ret_there, CMSG_DATA(c), n * sizeof(int));
	return 0;
}

static int put_some(struct remote *r, struct remote_thread *t, struct batch *b, int sock, int sock_there,
		    const int *fds, size_t n, int *ret_there, struct err *e)
{
	struct landing *l;
	uint32_t at;
	int err;

	batch_init(b);
	at = batch_room(b, sizeof *l);
	l = batch_at(b, at);
	l->msg.msg_iov = (struct iovec *)(uintptr_t)remote_batch_addr(r, at + offsetof(struct landing, iov)).a;
	l->msg.msg_iovlen = 1;
	l->msg.msg_control = (void *)(uintptr_t)remote_batch_addr(r, at + offsetof(struct landing, control)).a;
	l->msg.msg_controllen = sizeof l->control;
	l->iov.iov_base = (void *)(uintptr_t)remote_batch_addr(r, at + offsetof(struct landing, byte)).a;
	l->iov.iov_len = 1;
	batch_call(b, "receiving descriptors", SYS_recvmsg, bval((uint64_t)sock_there), bdata(at),
		   bval(MSG_CMSG_CLOEXEC | MSG_DONTWAIT));
	err = fd_msg_send(sock, "f", 1, fds, n);
	if (err < 0)
		return err_code(e, err, "handing %zu descriptors over", n);
	err = batch_run(r, t, b, e);
	return err < 0 ? err : take_numbers(l, n, ret_there, e);
}

int remote_put_fds(struct remote *r, struct remote_thread *t, int sock, int sock_there, const int *fds, size_t n,
		   int *ret_there, struct err *e)
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);

	while (n) {
		size_t some = MIN(n, (size_t)FD_MSG_FDS_MAX);
		int err = put_some(r, t, b, sock, sock_there, fds, some, ret_there, e);

		if (err < 0)
			return err;
		fds += some;
		ret_there += some;
		n -= some;
	}
	return 0;
}
