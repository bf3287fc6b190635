/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_SHEPHERD_SPOOL_H
#define GW_SHEPHERD_SPOOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * A window onto a stream of bytes that never restarts counting: bytes are appended at `end` and forgotten at
 * `start`. It lies in a memfd whose file offsets are the stream's offsets, so a long-lived stream is a sparse file
 * with a hole in front and costs what its window holds.
 */
struct spool {
	int fd;
	uint64_t start, end;
};

/* An empty window at `offset`. */
int spool_open(struct spool *s, const char *name, uint64_t offset, struct err *e) must_check;
/* May be called on one that failed to open. */
void spool_close(struct spool *s);

int spool_append(struct spool *s, const void *bytes, size_t len) must_check;
/* At most `max` bytes from `offset`, which lies inside the window. Returns their number or -errno. */
ssize_t spool_read(const struct spool *s, uint64_t offset, void *buf, size_t max) must_check;
/* Forgets what lies below `offset`; memory comes back in steps, so `start` may stay a little lower. */
void spool_trim(struct spool *s, uint64_t offset);

#endif
