/* SPDX-License-Identifier: Apache-2.0 */
/* Event counters: made in prepare, counted up at the freeze through our own descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "state/file_table.h"
#include "state/file_target.h"

void eventfd_fill(Godwit__Ckpt__OpenFile *m, const struct fdinfo *info)
{
	m->counter = info->eventfd_count;
	m->semaphore = info->semaphore;
}

int eventfd_target_open(const Godwit__Ckpt__OpenFile *m)
{
	int fd = eventfd(0, EFD_CLOEXEC | (m->semaphore ? EFD_SEMAPHORE : 0) |
				    (m->flags & O_NONBLOCK ? EFD_NONBLOCK : 0));

	return fd < 0 ? -errno : fd;
}

int eventfd_target_set(int fd, const Godwit__Ckpt__OpenFile *m, struct err *e)
{
	uint64_t count = m->counter;

	/* UINT64_MAX can only come of 2^64 - 1 in-kernel signals; write() takes one less. */
	if (!count)
		return 0;
	if (write(fd, &count, sizeof count) != sizeof count)
		return err_errno(e, "counter of an eventfd");
	return 0;
}
