/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers that a stop cuts short. A write to a full pipe that has got rid of half of its bytes returns that half
 * when its thread is stopped, as it would for a signal; a program that has no signals has no reason to expect
 * that. The rest is done by a call that lingers, and the program sees the sum.
 *
 * Only calls that never return a part by themselves are here: a blocking write ends short for nothing but an
 * interruption or an error, and the error comes back when the rest is tried. A read of a pipe, or splice, does,
 * and is not. For the same reason it does no harm if a call is taken for cut that was not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include "base/fd.h"
#include "base/util.h"
#include "inject/interrupted.h"
#include "state/call.h"

#define MEM_MAJOR 1 /* /dev/zero, /dev/urandom, ...: they give all that is asked for, page by page */
#define IOV_MAX_HERE 1024
#define IOVS ((LINGER_PAYLOAD - sizeof(struct msghdr)) / sizeof(struct iovec))

enum shape { BUFFER, VECTOR, MESSAGE, COUNT };

static const struct {
	long nr;
	enum shape shape;
	int fd, where, len, flags; /* which arguments; -1: there is none */
	int need;		   /* flags that must be set, */
	int bar;		   /* and that must not */
} transfers[] = {
	{ SYS_write, BUFFER, 0, 1, 2, -1, 0, 0 },
	{ SYS_writev, VECTOR, 0, 1, 2, -1, 0, 0 },
	{ SYS_sendto, BUFFER, 0, 1, 2, 3, 0, MSG_DONTWAIT },
	{ SYS_sendmsg, MESSAGE, 0, 1, -1, 2, 0, MSG_DONTWAIT },
	{ SYS_recvfrom, BUFFER, 0, 1, 2, 3, MSG_WAITALL, MSG_DONTWAIT | MSG_PEEK },
	{ SYS_recvmsg, MESSAGE, 0, 1, -1, 2, MSG_WAITALL, MSG_DONTWAIT | MSG_PEEK },
	{ SYS_sendfile, COUNT, 0, -1, 3, -1, 0, 0 },
	{ SYS_getrandom, BUFFER, -1, 0, 1, -1, 0, 0 },
	{ SYS_read, BUFFER, 0, 1, 2, -1, 0, 0 },
};

static void arguments(const struct remote_thread *t, uint64_t arg[6])
{
	const struct user_regs_struct *r = &t->regs;
	const uint64_t a[6] = { r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 };

	memcpy(arg, a, sizeof a);
}

static int find(long nr)
{
	for (size_t i = 0; i < ARRAY_LEN(transfers); i++)
		if (transfers[i].nr == nr)
			return (int)i;
	return -1;
}

/* Blocking, and of a kind that ends short only when it is interrupted. */
static bool fd_waits(int proc, long nr, uint64_t fd)
{
	char path[48];
	_cleanup_free_ char *info = NULL;
	const char *flags;
	struct stat st;

	(void)snprintf(path, sizeof path, "fdinfo/%d", (int)fd);
	if (fd_slurp(proc, path, 65536, &info) < 0)
		return false;
	flags = strstr(info, "flags:\t");
	if (!flags || strtoul(flags + 7, NULL, 8) & O_NONBLOCK)
		return false;
	(void)snprintf(path, sizeof path, "fd/%d", (int)fd);
	if (fstatat(proc, path, &st, 0) < 0 || S_ISREG(st.st_mode))
		return false;
	if (nr == SYS_read)
		return S_ISCHR(st.st_mode) && major(st.st_rdev) == MEM_MAJOR;
	if (nr == SYS_sendfile)
		return !S_ISFIFO(st.st_mode);
	return true;
}

static int read_vector(const struct remote *r, uint64_t at, uint64_t n, struct iovec *iov)
{
	return n > IOV_MAX_HERE ? -EINVAL : remote_read(r, (raddr_t) { at }, iov, n * sizeof *iov);
}

static uint64_t vector_len(const struct iovec *iov, uint64_t n)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* How much the call was asked to transfer; 0 if that cannot be told. */
static uint64_t asked(const struct remote *r, int row, const uint64_t arg[6])
{
	struct iovec iov[IOV_MAX_HERE];
	struct msghdr m;

	switch (transfers[row].shape) {
	case BUFFER:
	case COUNT:
		return arg[transfers[row].len];
	case VECTOR:
		return read_vector(r, arg[1], arg[2], iov) < 0 ? 0 : vector_len(iov, arg[2]);
	case MESSAGE:
		if (remote_read(r, (raddr_t) { arg[1] }, &m, sizeof m) < 0 ||
		    read_vector(r, (uintptr_t)m.msg_iov, m.msg_iovlen, iov) < 0)
			return 0;
		return vector_len(iov, m.msg_iovlen);
	}
	return 0;
}

static bool flags_fit(int row, const uint64_t arg[6])
{
	uint64_t flags = transfers[row].flags < 0 ? 0 : arg[transfers[row].flags];

	return (flags & (unsigned)transfers[row].need) == (unsigned)transfers[row].need &&
	       !(flags & (unsigned)transfers[row].bar);
}

bool transfer_may_be_cut(int proc, long nr, const uint64_t arg[6])
{
	int row = find(nr);

	return row >= 0 && flags_fit(row, arg) &&
	       (transfers[row].fd < 0 || fd_waits(proc, nr, arg[transfers[row].fd]));
}

/* One that lingers already knows what is left of it. */
bool transfer_was_cut(const struct remote *r, const struct remote_thread *t, int proc, uint64_t *ret_done)
{
	uint64_t arg[6];
	int row = find(t->call_nr);

	if (row < 0 || (int64_t)t->regs.rax <= 0)
		return false;
	arguments(t, arg);
	if (!flags_fit(row, arg) || t->regs.rax >= asked(r, row, arg))
		return false;
	if (transfers[row].fd >= 0 && !fd_waits(proc, t->call_nr, arg[transfers[row].fd]))
		return false;
	if (linger_holds_at(r, t->regs.rip))
		return false;
	*ret_done = t->regs.rax;
	return true;
}

/* Drops what is done from the front; what does not fit is left to the program, which sees a part after all. */
static size_t rest_of_vector(const struct iovec *iov, size_t n, uint64_t done, struct iovec *to)
{
	size_t used = 0;

	for (size_t i = 0; i < n && used < IOVS; i++) {
		if (done >= iov[i].iov_len) {
			done -= iov[i].iov_len;
			continue;
		}
		to[used].iov_base = (char *)iov[i].iov_base + done;
		to[used++].iov_len = iov[i].iov_len - done;
		done = 0;
	}
	return used;
}

static int rest_vector(const struct remote *r, const uint64_t arg[6], uint64_t done, struct linger_call *l)
{
	struct iovec iov[IOV_MAX_HERE], rest[IOVS];
	int err = read_vector(r, arg[1], arg[2], iov);

	if (err < 0)
		return err;
	l->arg[1] = 0;
	l->in_payload = 1 << 1;
	l->arg[2] = rest_of_vector(iov, arg[2], done, rest);
	memcpy(l->payload, rest, l->arg[2] * sizeof rest[0]);
	return l->arg[2] ? 0 : -EFAULT;
}

/* Ancillary data went with the first byte. */
static int rest_message(const struct remote *r, const uint64_t arg[6], uint64_t done, struct linger_call *l)
{
	struct iovec iov[IOV_MAX_HERE], rest[IOVS];
	struct msghdr m;
	int err = remote_read(r, (raddr_t) { arg[1] }, &m, sizeof m);

	if (!err)
		err = read_vector(r, (uintptr_t)m.msg_iov, m.msg_iovlen, iov);
	if (err < 0)
		return err;
	m.msg_iovlen = rest_of_vector(iov, m.msg_iovlen, done, rest);
	m.msg_control = NULL;
	m.msg_controllen = 0;
	memcpy(l->payload, &m, sizeof m);
	memcpy(l->payload + sizeof m, rest, m.msg_iovlen * sizeof rest[0]);
	l->fix_at = offsetof(struct msghdr, msg_iov);
	l->fix_to = sizeof m;
	l->arg[1] = 0;
	l->in_payload = 1 << 1;
	return m.msg_iovlen ? 0 : -EFAULT;
}

int transfer_rest(const struct remote *r, const struct remote_thread *t, long nr, uint64_t done,
		  struct linger_call *l)
{
	uint64_t arg[6];
	int row = find(nr);

	if (row < 0)
		return -EFAULT;
	arguments(t, arg);
	if (done >= asked(r, row, arg))
		return -EFAULT;
	l->nr = nr;
	l->done = done;
	l->result = -ERESTARTSYS;
	memcpy(l->arg, arg, sizeof arg);
	switch (transfers[row].shape) {
	case BUFFER:
		l->shape = transfers[row].where ? LINGER_BUFFER : LINGER_BUFFER0;
		l->arg[transfers[row].where] += done;
		l->arg[transfers[row].len] -= done;
		return 0;
	case COUNT:
		l->shape = LINGER_COUNT;
		l->arg[transfers[row].len] -= done;
		return 0;
	case VECTOR:
		l->shape = LINGER_VECTOR;
		return rest_vector(r, arg, done, l);
	case MESSAGE:
		l->shape = LINGER_MESSAGE;
		return rest_message(r, arg, done, l);
	}
	return -EFAULT;
}
