/* SPDX-License-Identifier: Apache-2.0 */
#include "image/scan.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define DEPTH_MAX 12u
#define TEXT_MAX 65536u
#define FIELDS_MAX 64u

struct scan {
	size_t room; /* that is left */
	bool canonical;
	unsigned depth;
	struct err *e;
};

struct part {
	const uint8_t *at, *end;
};

static int bad(struct scan *s, const char *what)
{
	return err_set(s->e, -EBADMSG, "%s", what);
}

static int take_room(struct scan *s, size_t bytes)
{
	if (bytes > s->room)
		return bad(s, "more pieces than anyone needs");
	s->room -= bytes;
	return 0;
}

static int get_number(struct scan *s, struct part *p, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte;

		if (p->at == p->end)
			return bad(s, "it ends in the middle of a number");
		byte = *p->at++;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		if (shift == 63 && byte > 1)
			break;
		if (s->canonical && shift && !byte)
			return bad(s, "a number that is longer than it need be");
		*ret = v;
		return 0;
	}
	return bad(s, "an impossible number");
}

/* `len` bytes of their own. */
static int get_bytes(struct scan *s, struct part *p, uint64_t len, struct part *ret)
{
	if (len > (uint64_t)(p->end - p->at))
		return bad(s, "a length that reaches beyond the message");
	*ret = (struct part) { p->at, p->at + len };
	p->at += len;
	return 0;
}

static unsigned wire_of(ProtobufCType t)
{
	switch (t) {
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return PROTOBUF_C_WIRE_TYPE_32BIT;
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return PROTOBUF_C_WIRE_TYPE_64BIT;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_BYTES:
	case PROTOBUF_C_TYPE_MESSAGE:
		return PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
	default:
		return PROTOBUF_C_WIRE_TYPE_VARINT;
	}
}

static int scan_scalar(struct scan *s, const ProtobufCFieldDescriptor *f, struct part *p)
{
	struct part unused;
	uint64_t v = 0;
	int err;

	if (wire_of(f->type) == PROTOBUF_C_WIRE_TYPE_32BIT)
		return get_bytes(s, p, 4, &unused);
	if (wire_of(f->type) == PROTOBUF_C_WIRE_TYPE_64BIT)
		return get_bytes(s, p, 8, &unused);
	err = get_number(s, p, &v);
	if (!err && f->type == PROTOBUF_C_TYPE_ENUM &&
	    (v > INT32_MAX || !protobuf_c_enum_descriptor_get_value(f->descriptor, (int)v)))
		return bad(s, "an unknown kind");
	/* What does not fit would be cut down to another number. */
	if (!err && (f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_BOOL) &&
	    v > (f->type == PROTOBUF_C_TYPE_BOOL ? 1 : UINT32_MAX))
		return bad(s, "a number that is too large");
	if (!err && f->type == PROTOBUF_C_TYPE_INT32 && (int64_t)v != (int32_t)v)
		return bad(s, "a number that is too large");
	return err;
}

static int scan_packed(struct scan *s, const ProtobufCFieldDescriptor *f, struct part in)
{
	int err = take_room(s, 8 * (size_t)(in.end - in.at));

	while (in.at < in.end && !err)
		err = scan_scalar(s, f, &in);
	return err;
}

static int scan_message(struct scan *s, const ProtobufCMessageDescriptor *d, struct part p);

static int scan_prefixed(struct scan *s, const ProtobufCFieldDescriptor *f, struct part *p)
{
	struct part in;
	uint64_t len;
	int err = get_number(s, p, &len);

	if (!err)
		err = get_bytes(s, p, len, &in);
	if (err)
		return err;
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		if (len > TEXT_MAX)
			return bad(s, "a text that is too long");
		if (memchr(in.at, 0, len))
			return bad(s, "a text with a NUL inside");
		return take_room(s, sizeof(char *) + len + 1);
	case PROTOBUF_C_TYPE_BYTES:
		return take_room(s, sizeof(ProtobufCBinaryData) + len);
	case PROTOBUF_C_TYPE_MESSAGE:
		return scan_message(s, f->descriptor, in);
	default:
		return scan_packed(s, f, in);
	}
}

/* What we do not know is passed over by its length. */
static int pass_over(struct scan *s, unsigned wire, struct part *p)
{
	struct part unused;
	uint64_t len;
	int err;

	if (s->canonical)
		return bad(s, "a field that nobody knows");
	switch (wire) {
	case PROTOBUF_C_WIRE_TYPE_VARINT:
		return get_number(s, p, &len);
	case PROTOBUF_C_WIRE_TYPE_64BIT:
		return get_bytes(s, p, 8, &unused);
	case PROTOBUF_C_WIRE_TYPE_32BIT:
		return get_bytes(s, p, 4, &unused);
	case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
		err = get_number(s, p, &len);
		return err ? err : get_bytes(s, p, len, &unused);
	default:
		return bad(s, "a field of an unknown coding");
	}
}

static int scan_field(struct scan *s, const ProtobufCFieldDescriptor *f, unsigned wire, struct part *p)
{
	bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
	bool packed = repeated && wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED;
	int err;

	if (wire != wire_of(f->type) && !packed)
		return bad(s, "a field of another coding");
	if (wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
		err = scan_prefixed(s, f, p);
	else
		err = repeated ? take_room(s, 8) ?: scan_scalar(s, f, p) : scan_scalar(s, f, p);
	return err;
}

static int scan_fields(struct scan *s, const ProtobufCMessageDescriptor *d, struct part p)
{
	uint64_t seen = 0, tag, last = 0;
	int err = 0;

	if (d->n_fields > FIELDS_MAX)
		return bad(s, "a message with too many fields");
	while (p.at < p.end && !err) {
		const ProtobufCFieldDescriptor *f;
		uint64_t bit;

		err = get_number(s, &p, &tag);
		if (err)
			break;
		if (!(tag >> 3) || tag >> 3 > UINT32_MAX >> 3)
			return bad(s, "a field with an impossible number");
		if (s->canonical && tag >> 3 < last)
			return bad(s, "fields out of order");
		last = tag >> 3;
		f = protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
		if (!f) {
			err = take_room(s, 64) ?: pass_over(s, tag & 7, &p);
			continue;
		}
		bit = UINT64_C(1) << (f - d->fields);
		if (f->label != PROTOBUF_C_LABEL_REPEATED && seen & bit)
			err = bad(s, "it comes twice");
		seen |= bit;
		err = err ?: scan_field(s, f, tag & 7, &p);
		if (err)
			(void)err_wrap(s->e, "%s", f->name);
	}
	return err;
}

static int scan_message(struct scan *s, const ProtobufCMessageDescriptor *d, struct part p)
{
	int err = take_room(s, sizeof(void *) + d->sizeof_message);

	if (s->depth == DEPTH_MAX)
		return bad(s, "messages within messages, too deep");
	s->depth++;
	err = err ?: scan_fields(s, d, p);
	s->depth--;
	return err;
}

int message_scan(const ProtobufCMessageDescriptor *d, const uint8_t *bytes, size_t len, size_t room,
		 bool canonical, struct err *e)
{
	struct scan s = { .room = room, .canonical = canonical, .e = e };

	return scan_message(&s, d, (struct part) { bytes, bytes + len });
}

/* --- after it was decoded --- */

static void forget_in(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	const char *base = (const char *)m;
	ProtobufCMessage *const *list;
	size_t n;

	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		memcpy(&n, base + f->quantifier_offset, sizeof n);
		memcpy(&list, base + f->offset, sizeof list);
		for (size_t i = 0; i < n; i++)
			message_forget_unknown(list[i]);
		return;
	}
	list = (ProtobufCMessage *const *)(const void *)(base + f->offset);
	if (*list)
		message_forget_unknown(*list);
}

void message_forget_unknown(ProtobufCMessage *m)
{
	for (unsigned i = 0; i < m->n_unknown_fields; i++)
		free(m->unknown_fields[i].data);
	free(m->unknown_fields);
	m->unknown_fields = NULL;
	m->n_unknown_fields = 0;
	for (unsigned i = 0; i < m->descriptor->n_fields; i++)
		if (m->descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE &&
		    !(m->descriptor->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
			forget_in(m, &m->descriptor->fields[i]);
}
