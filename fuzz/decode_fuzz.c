/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cell that decodes what another host sent, without the process around it: a description and a checkpoint
 * message after it, or one message of another kind. What it lets out must be what its maker takes in.
 */
#include "fuzz.h"
#include "image/decode.c"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return 0;
}

static void must_be_taken(const ProtobufCMessageDescriptor *d, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *bytes = xmalloc(len + 1);
	ProtobufCMessage *again;
	struct err e = { 0 };

	(void)protobuf_c_message_pack(m, bytes);
	if (message_scan(d, bytes, len, SCAN_ROOM, true, &e) < 0) {
		(void)fprintf(stderr, "%s\n", err_text(&e));
		abort();
	}
	again = protobuf_c_message_unpack(d, NULL, len, bytes);
	if (!again)
		abort();
	protobuf_c_message_free_unpacked(again, NULL);
	free(bytes);
}

/* As serve() does; NULL if it is refused. */
static ProtobufCMessage *decode(struct inside *s, enum decode what, const uint8_t *bytes, size_t len)
{
	const ProtobufCMessageDescriptor *d = kinds[what].message;
	ProtobufCMessage *m = NULL;
	struct err e = { 0 };

	if (!message_scan(d, bytes, len, SCAN_ROOM, false, &e))
		m = protobuf_c_message_unpack(d, NULL, len, bytes);
	if (!m)
		return NULL;
	message_forget_unknown(m);
	if (!check(s, what, m, &e)) {
		must_be_taken(d, m);
		return m;
	}
	protobuf_c_message_free_unpacked(m, NULL);
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, MIN(size, (size_t)1 << 18) };
	uint8_t how = (uint8_t)fuzz_get(&in, 1);
	struct inside s = { 0 };
	ProtobufCMessage *m = NULL;
	const uint8_t *bytes;
	size_t len;

	if (how < DECODE_REQUIREMENTS || how >= ARRAY_LEN(kinds)) {
		bytes = fuzz_bytes(&in, 65535, &len);
		s.early = (Godwit__Ckpt__Job *)decode(&s, DECODE_DESCRIPTION, bytes, len);
		how = DECODE_CHECKPOINT;
	}
	m = decode(&s, how, in.p, in.left);
	if (m)
		protobuf_c_message_free_unpacked(m, NULL);
	if (s.early)
		protobuf_c_message_free_unpacked(&s.early->base, NULL);
	return 0;
}
