/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_IMAGE_SCAN_H
#define GW_IMAGE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "base/err.h"

/*
 * A look at the bytes of a message before anything is made of them. Reads only, allocates nothing. Refused, by the
 * name of the field: what reaches beyond its message, numbers and kinds that the schema does not have, a field
 * twice, a text with a NUL inside (of which everybody would see another part) or that is too long, and more pieces
 * than `room` bytes of memory can hold. With `canonical` also what our own encoder would not have written: fields
 * that we do not know, numbers longer than they need be, fields out of order.
 */
#define SCAN_ROOM ((size_t)1 << 30)

int message_scan(const ProtobufCMessageDescriptor *d, const uint8_t *bytes, size_t len, size_t room,
		 bool canonical, struct err *e) must_check;

/* Takes away what the schema does not know, at all depths, so that it is not written again. */
void message_forget_unknown(ProtobufCMessage *m);

#endif
