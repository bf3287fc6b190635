/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_IMAGE_DECODE_H
#define GW_IMAGE_DECODE_H

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

#include "base/err.h"

/*
 * Messages that another host sent, decoded where it does no harm: in a cell (cell.h), which checks them
 * (check_job.h) and writes them anew. What comes back is looked through once more, must be what our own encoder
 * writes, and only then becomes a message here. The cell remembers the description, so that the checkpoint is
 * judged with it.
 */
struct decoder;

enum decode {
	DECODE_REQUIREMENTS = 1, /* ckpt.Requirements */
	DECODE_DESCRIPTION,	 /* ckpt.Job */
	DECODE_CHECKPOINT,	 /* ckpt.Job */
	DECODE_FILE_PART,	 /* ckpt.FilePart */
	DECODE_FAILED,		 /* mover.Failed */
};
#define DECODE_MAX ((size_t)64 << 20)

/* Before anything secret is known: see cell.h. The caller has one thread. */
int decoder_start(struct decoder **ret, struct err *e) must_check;
void decoder_free(struct decoder *d); /* NULL is permitted */
/* A message of that kind, to be freed by protobuf_c_message_free_unpacked() or the generated free. -EBADMSG and
 * words if it is not to be had. */
int decoder_take(struct decoder *d, enum decode what, const void *bytes, size_t len, ProtobufCMessage **ret,
		 struct err *e) must_check;

#endif
