/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to the host's flipd. What flipd holds of them moves from flipd to flipd by way of the process
 * servers (flipd/travel.c); here is the program's end: it is recognised, what lies unread in it is copied once
 * flipd keeps still, and at the destination there is another connection in its place.
 */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/file.h"
#include "state/file_table.h"

#define KIND(k) GODWIT__CKPT__OPEN_FILE__KIND__##k
#define UNREAD_MAX (16u << 20)
#define DIAG_ROOM 4096

bool file_flip_is(const struct state_source *s, int here)
{
	struct sockaddr_un sun = { 0 };
	socklen_t len = sizeof sun, type_len = sizeof(int);
	int type = 0;

	if (!s->flip_socket || !*s->flip_socket || getpeername(here, (struct sockaddr *)&sun, &len) < 0 ||
	    sun.sun_family != AF_UNIX || getsockopt(here, SOL_SOCKET, SO_TYPE, &type, &type_len) < 0)
		return false;
	return type == SOCK_STREAM && strncmp(sun.sun_path, s->flip_socket, sizeof sun.sun_path) == 0;
}

static int on_attribute(const struct nlattr *a, void *data)
{
	uint32_t *ino = data;

	if (mnl_attr_get_type(a) == UNIX_DIAG_PEER && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
		*ino = mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

static int on_socket(const struct nlmsghdr *h, void *data)
{
	return mnl_attr_parse(h, sizeof(struct unix_diag_msg), on_attribute, data);
}

static void fill_question(char *buf, uint32_t inode)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct unix_diag_req *q;

	h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	h->nlmsg_flags = NLM_F_REQUEST;
	h->nlmsg_seq = 1;
	q = mnl_nlmsg_put_extra_header(h, sizeof *q);
	q->sdiag_family = AF_UNIX;
	q->udiag_states = UINT32_MAX;
	q->udiag_ino = inode;
	q->udiag_show = UDIAG_SHOW_PEER;
	memset(q->udiag_cookie, 0xff, sizeof q->udiag_cookie);
}

/* Which socket is at the other end, as the kernel numbers them (unix_diag, since 3.3); 0: none any more. */
static int peer_inode(uint32_t inode, uint32_t *ret)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	char buf[DIAG_ROOM];
	ssize_t n;
	int r = 0;

	if (!nl)
		return -errno;
	fill_question(buf, inode);
	if (mnl_socket_sendto(nl, buf, ((struct nlmsghdr *)buf)->nlmsg_len) < 0 ||
	    (n = mnl_socket_recvfrom(nl, buf, sizeof buf)) < 0 ||
	    mnl_cb_run(buf, (size_t)n, 1, 0, on_socket, ret) < 0)
		r = -errno;
	(void)mnl_socket_close(nl);
	return r;
}

int file_flip_fill(Godwit__Ckpt__OpenFile *m, struct err *e)
{
	uint32_t inode = 0;
	int r = peer_inode((uint32_t)m->ino, &inode);

	if (r < 0)
		return err_code(e, r, "a connection to flipd: its other end cannot be found (sock_diag)");
	m->flip = xmalloc(sizeof *m->flip);
	godwit__ckpt__flip_socket__init(m->flip);
	m->flip->inode = inode;
	if (getrandom(&m->flip->token, sizeof m->flip->token, 0) != sizeof m->flip->token)
		return err_errno(e, "random numbers");
	return 0;
}

bool file_flip_any(const Godwit__Ckpt__Job *job)
{
	for (size_t i = 0; i < job->n_files; i++)
		if (job->files[i]->kind == KIND(FLIP))
			return true;
	return false;
}

static int take_unread(struct state_source *s, Godwit__Ckpt__OpenFile *m, struct err *e)
{
	_cleanup_fd_ int here = file_entry_open(s, s->files->entries[m->id - 1], e);
	int len = 0;
	ssize_t n;

	if (here < 0)
		return here;
	if (ioctl(here, FIONREAD, &len) < 0)
		return err_errno(e, "a connection to flipd");
	if (len <= 0)
		return 0;
	if ((unsigned)len > UNREAD_MAX)
		return err_set(e, -EMSGSIZE, "a connection to flipd: %d bytes lie unread in it", len);
	free(m->flip->unread.data);
	m->flip->unread.data = xmalloc((size_t)len);
	/* Of a stream, MSG_PEEK shows all that is there, not only the first piece. */
	n = recv(here, m->flip->unread.data, (size_t)len, MSG_PEEK | MSG_DONTWAIT);
	m->flip->unread.len = n > 0 ? (size_t)n : 0;
	return n == len ? 0
			: err_set(e, -EIO, "a connection to flipd: %d bytes unread, of which %zd came", len, n);
}

int file_flip_take_unread(struct state_source *s, Godwit__Ckpt__Job *job, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < job->n_files && !r; i++)
		if (job->files[i]->kind == KIND(FLIP) && job->files[i]->flip)
			r = take_unread(s, job->files[i], e);
	return r;
}
