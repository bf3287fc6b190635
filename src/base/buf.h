/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_BASE_BUF_H
#define GW_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that several owners share; nobody writes once a second owner exists. */
struct buf {
	unsigned refs;
	size_t len;
	/* Told when the last owner is gone, with what was charged for it; NULL: nobody. */
	void (*released)(void *arg, size_t charge);
	void *arg;
	size_t charge;
	uint8_t data[];
};

/* One owner. `len` is bounded by the caller; the contents are not initialised. */
struct buf *buf_new(size_t len);
struct buf *buf_copy(const void *data, size_t len);
struct buf *buf_ref(struct buf *b);
/* NULL is permitted. */
void buf_unref(struct buf *b);

#endif
