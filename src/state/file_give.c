/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors reach the blank over a socket, up to 120 a message, and one batch there receives a message and puts
 * each at its number.
 *
 * Theory of operation. A received descriptor takes the lowest free number, so where they will arrive is known
 * beforehand, if it is known which numbers are taken. Targets ascend, as do the free numbers, and the i-th target
 * is never below the i-th free number: either it is that number itself (the usual case: the job's numbers have no
 * holes, and nothing is left to do), or a later one. So moving the last arrival first never hits one that still
 * waits, and two calls move each. What the kernel reports in the control message is compared afterwards; a
 * surprise ends the attempt.
 *
 * The socket itself stands at some number of the blank's; it is moved out of the way before the job's descriptors
 * come.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "state/file_table.h"
#include "state/file_target.h"

#define GIVE_MAX 120 /* 1 + 2 * 120 calls fit a batch */

/* Which numbers of the blank are taken. */
struct taken {
	uint64_t *bits;
	size_t words;
};

static bool taken_has(const struct taken *t, unsigned fd)
{
	return fd / 64 < t->words && (t->bits[fd / 64] >> (fd % 64) & 1);
}

static void taken_set(struct taken *t, unsigned fd)
{
	size_t words = fd / 64 + 1;

	if (words > t->words) {
		t->bits = xrealloc(t->bits, words * sizeof *t->bits);
		memset(t->bits + t->words, 0, (words - t->words) * sizeof *t->bits);
		t->words = words;
	}
	t->bits[fd / 64] |= (uint64_t)1 << (fd % 64);
}

static void taken_clear(struct taken *t, unsigned fd)
{
	if (fd / 64 < t->words)
		t->bits[fd / 64] &= ~((uint64_t)1 << (fd % 64));
}

static unsigned taken_lowest_free(const struct taken *t, unsigned from)
{
	while (from / 64 < t->words && t->bits[from / 64] == UINT64_MAX)
		from = (from / 64 + 1) * 64;
	while (taken_has(t, from))
		from++;
	return from;
}

static int taken_read(const struct state_target *d, struct taken *t, struct err *e)
{
	int fd = openat(d->proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return err_errno(e, "descriptors of the new process");
	dir = fdopendir(fd);
	if (!dir) {
		(void)close(fd);
		return err_set(e, -ENOMEM, "out of memory");
	}
	while ((entry = readdir(dir)))
		if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
			taken_set(t, (unsigned)atoi(entry->d_name));
	(void)closedir(dir);
	return 0;
}

static void taken_free(struct taken *t)
{
	free(t->bits);
}
#define _cleanup_taken_ __attribute__((cleanup(taken_free)))

static int send_fds(int sock, const int *fds, size_t n)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(253 * sizeof(int))];
	} control = { 0 };
	char byte = 'f';
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.space,
			      .msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	ssize_t sent;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	do
		sent = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

struct inbox { /* a msghdr and what it points to, in a batch's data */
	uint32_t control;
};

/* Queues the recvmsg() for `n` descriptors. The pointers in the header are those of the blank. */
static struct inbox queue_receive(struct state_target *d, struct batch *b, size_t n)
{
	uint64_t there = remote_batch_addr(d->remote, 0).a;
	size_t control_len = CMSG_SPACE(n * sizeof(int));
	uint32_t byte = batch_room(b, 8), iov_at = batch_room(b, sizeof(struct iovec));
	uint32_t control = batch_room(b, control_len), header = batch_room(b, sizeof(struct msghdr));
	struct iovec iov = { (void *)(there + byte), 1 };
	struct msghdr msg = { .msg_iov = (void *)(there + iov_at),
			      .msg_iovlen = 1,
			      .msg_control = (void *)(there + control),
			      .msg_controllen = control_len };

	memcpy(batch_at(b, iov_at), &iov, sizeof iov);
	memcpy(batch_at(b, header), &msg, sizeof msg);
	(void)batch_call(b, "recvmsg", SYS_recvmsg, bval((uint64_t)d->agent_sock_there), bdata(header),
			 bval(MSG_DONTWAIT));
	return (struct inbox) { control };
}

static int inbox_fds(struct batch *b, struct inbox in, int *fds, size_t n, struct err *e)
{
	struct cmsghdr c;

	memcpy(&c, batch_at(b, in.control), sizeof c);
	if (c.cmsg_level != SOL_SOCKET || c.cmsg_type != SCM_RIGHTS || c.cmsg_len != CMSG_LEN(n * sizeof(int)))
		return err_set(e, -EMFILE, "the new process could not take %zu descriptors", n);
	memcpy(fds, (const char *)batch_at(b, in.control) + CMSG_LEN(0), n * sizeof(int));
	return 0;
}

/* One message. `slot` is where they will arrive; `taken` becomes what it will be afterwards. */
static int give_some(struct state_target *d, struct batch *b, struct taken *taken, const struct file_give *list,
		     size_t n, struct err *e)
{
	unsigned slot[GIVE_MAX], at = 0;
	int ours[GIVE_MAX], arrived[GIVE_MAX], r;
	struct inbox in;

	for (size_t i = 0; i < n; i++) {
		slot[i] = at = taken_lowest_free(taken, at);
		taken_set(taken, at);
		ours[i] = list[i].ours;
	}
	batch_init(b);
	in = queue_receive(d, b, n);
	for (size_t i = n; i-- > 0;) {
		unsigned to = (unsigned)list[i].there;

		if (slot[i] == to) {
			if (list[i].cloexec)
				(void)batch_call(b, "F_SETFD", SYS_fcntl, bval(to), bval(F_SETFD),
						 bval(FD_CLOEXEC));
			continue;
		}
		(void)batch_call(b, "dup3", SYS_dup3, bval(slot[i]), bval(to),
				 bval(list[i].cloexec ? O_CLOEXEC : 0));
		(void)batch_call(b, "close", SYS_close, bval(slot[i]));
	}
	for (size_t i = 0; i < n; i++)
		taken_clear(taken, slot[i]);
	for (size_t i = 0; i < n; i++)
		taken_set(taken, (unsigned)list[i].there);
	r = send_fds(d->agent_sock, ours, n);
	if (r < 0)
		return err_code(e, r, "handing descriptors to the new process");
	r = batch_run(d->remote, &d->remote->threads[0], b, e);
	if (r < 0)
		return r;
	r = inbox_fds(b, in, arrived, n, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++)
		if (arrived[i] != (int)slot[i])
			return err_set(e, -EPROTO, "a descriptor arrived at number %d, not %u", arrived[i],
				       slot[i]);
	return 0;
}

int file_give(struct state_target *d, const struct file_give *list, size_t n, struct err *e)
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	_cleanup_taken_ struct taken taken = { 0 };
	int r = taken_read(d, &taken, e);

	if (r < 0)
		return r;
	/* What stands at a target's number goes first, so that every target is a free number. */
	batch_init(b);
	for (size_t i = 0; i < n; i++) {
		if (!taken_has(&taken, (unsigned)list[i].there))
			continue;
		if (list[i].there == d->agent_sock_there)
			return err_set(e, -EBUSY, "descriptor %d is in the way", list[i].there);
		(void)batch_call(b, "close", SYS_close, bval((uint64_t)list[i].there));
		taken_clear(&taken, (unsigned)list[i].there);
		if (batch_fits(b, 1, 0))
			continue;
		r = batch_run(d->remote, &d->remote->threads[0], b, e);
		if (r < 0)
			return r;
		batch_init(b);
	}
	r = b->n_calls ? batch_run(d->remote, &d->remote->threads[0], b, e) : 0;
	for (size_t i = 0; r == 0 && i < n; i += GIVE_MAX)
		r = give_some(d, b, &taken, list + i, MIN(n - i, (size_t)GIVE_MAX), e);
	return r;
}

/* The number of the socket must be none that the job uses; one above all of them is none. */
static int move_socket(struct state_target *d, struct batch *b, unsigned to, struct err *e)
{
	int r;

	if (d->agent_sock_there == (int)to)
		return 0;
	batch_init(b);
	(void)batch_call(b, "dup3", SYS_dup3, bval((uint64_t)d->agent_sock_there), bval(to), bval(O_CLOEXEC));
	(void)batch_call(b, "close", SYS_close, bval((uint64_t)d->agent_sock_there));
	r = batch_run(d->remote, &d->remote->threads[0], b, e);
	if (r == 0)
		d->agent_sock_there = (int)to;
	return r;
}

static int close_inherited(struct state_target *d, struct batch *b, const struct taken *taken, struct err *e)
{
	batch_init(b);
	for (unsigned fd = 0; fd < taken->words * 64; fd++) {
		if (!taken_has(taken, fd) || fd == (unsigned)d->agent_sock_there)
			continue;
		(void)batch_call(b, NULL, SYS_close, bval(fd));
		if (!batch_fits(b, 2, 0))
			break; /* a blank that inherits 250 descriptors is a mistake elsewhere */
	}
	return b->n_calls ? batch_run(d->remote, &d->remote->threads[0], b, e) : 0;
}

int file_give_room(struct state_target *d, int highest, struct err *e)
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	struct rlimit limit;

	if (prlimit(d->pid, RLIMIT_NOFILE, NULL, &limit) < 0)
		return err_errno(e, "limit of open files of the new process");
	if (limit.rlim_cur < limit.rlim_max) {
		/* The job's own limits come later, with the other limits. */
		limit.rlim_cur = limit.rlim_max;
		if (prlimit(d->pid, RLIMIT_NOFILE, &limit, NULL) < 0)
			return err_errno(e, "limit of open files of the new process");
	}
	if ((rlim_t)highest + 2 > limit.rlim_max)
		return err_set(e, -EMFILE, "the job has descriptor %d open, the limit here is %llu", highest,
			       (unsigned long long)limit.rlim_max);
	return d->agent_sock_there > highest ? 0 : move_socket(d, b, (unsigned)highest + 1, e);
}

int file_give_begin(struct state_target *d, int highest, struct err *e)
{
	_cleanup_free_ struct batch *b = xmalloc(sizeof *b);
	_cleanup_taken_ struct taken taken = { 0 };
	int r = taken_read(d, &taken, e);

	if (r < 0)
		return r;
	r = close_inherited(d, b, &taken, e);
	return r < 0 ? r : file_give_room(d, highest, e);
}

int file_give_end(struct state_target *d, struct batch *b, struct err *e)
{
	(void)e;
	(void)batch_call(b, NULL, SYS_close, bval((uint64_t)d->agent_sock_there));
	return 0;
}
