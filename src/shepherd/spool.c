/* SPDX-License-Identifier: Apache-2.0 */
#include "shepherd/spool.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"

/* Punching a hole costs a few microseconds whatever its size: not for every page. */
#define TRIM_STEP (128u * 1024u)

int spool_open(struct spool *s, const char *name, uint64_t offset, struct err *e)
{
	s->start = offset;
	s->end = offset;
	s->fd = memfd_create(name, MFD_CLOEXEC);
	if (s->fd < 0)
		return err_errno(e, "cannot make a spool");
	return 0;
}

void spool_close(struct spool *s)
{
	fd_close(&s->fd);
}

int spool_append(struct spool *s, const void *bytes, size_t len)
{
	const char *at = bytes;

	while (len) {
		ssize_t n = pwrite(s->fd, at, len, (off_t)s->end);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
		s->end += (uint64_t)n;
	}
	return 0;
}

ssize_t spool_read(const struct spool *s, uint64_t offset, void *buf, size_t max)
{
	ssize_t n;

	if (offset < s->start || offset > s->end)
		return -ERANGE;
	max = MIN(max, s->end - offset);
	if (!max)
		return 0;
	do
		n = pread(s->fd, buf, max, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

void spool_trim(struct spool *s, uint64_t offset)
{
	uint64_t from = ALIGN_DOWN(s->start, TRIM_STEP);
	uint64_t to = ALIGN_DOWN(MIN(offset, s->end), TRIM_STEP);

	if (to <= s->start)
		return;
	(void)fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from));
	s->start = to;
}
