/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

struct buf *buf_new(size_t len)
{
	struct buf *b = xmalloc(sizeof(*b) + len);

	b->refs = 1;
	b->len = len;
	b->released = NULL;
	return b;
}

struct buf *buf_copy(const void *data, size_t len)
{
	struct buf *b = buf_new(len);

	if (len)
		memcpy(b->data, data, len);
	return b;
}

struct buf *buf_ref(struct buf *b)
{
	if (b)
		b->refs++;
	return b;
}

void buf_unref(struct buf *b)
{
	if (!b || --b->refs)
		return;
	if (b->released)
		b->released(b->arg, b->charge);
	free(b);
}
