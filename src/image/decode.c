/* SPDX-License-Identifier: Apache-2.0 */
#include "image/decode.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "image/cell.h"
#include "image/check_job.h"
#include "image/scan.h"
#include "mover.pb-c.h"

struct decoder {
	struct cell cell;
};

static const struct {
	const char *name;
	const ProtobufCMessageDescriptor *message;
} kinds[] = {
	[DECODE_REQUIREMENTS] = { "the requirements", &godwit__ckpt__requirements__descriptor },
	[DECODE_DESCRIPTION] = { "the description", &godwit__ckpt__job__descriptor },
	[DECODE_CHECKPOINT] = { "the checkpoint message", &godwit__ckpt__job__descriptor },
	[DECODE_FILE_PART] = { "a part of a file", &godwit__ckpt__file_part__descriptor },
	[DECODE_FAILED] = { "the other side's reason", &godwit__mover__failed__descriptor },
};

/* --- inside --- */

struct inside {
	Godwit__Ckpt__Job *early;
};

static int check(struct inside *s, enum decode what, ProtobufCMessage *m, struct err *e)
{
	switch (what) {
	case DECODE_REQUIREMENTS:
		return requirements_check((Godwit__Ckpt__Requirements *)m, e);
	case DECODE_DESCRIPTION:
		return job_check((Godwit__Ckpt__Job *)m, NULL, e);
	case DECODE_CHECKPOINT:
		if (!s->early)
			return err_set(e, -EBADMSG, "it comes before the description");
		return job_check((Godwit__Ckpt__Job *)m, s->early, e);
	default:
		return 0;
	}
}

static void answer(struct inside *s, int sock, enum decode what, ProtobufCMessage *m)
{
	struct err e = { 0 };
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len = 0;

	message_forget_unknown(m);
	e.code = check(s, what, m, &e);
	if (!e.code) {
		len = protobuf_c_message_get_packed_size(m);
		bytes = xmalloc(len + 1);
		(void)protobuf_c_message_pack(m, bytes);
	}
	cell_answer(sock, &e, bytes, len);
	if (what == DECODE_DESCRIPTION && !e.code && !s->early)
		s->early = (Godwit__Ckpt__Job *)m;
	else
		protobuf_c_message_free_unpacked(m, NULL);
}

/* For tests, as a mover's GODWIT_DIE_AT and GODWIT_HANG_AT. A call that is forbidden is what ends a cell. */
static void stage_boundary(enum decode what)
{
	const char *die = getenv("GODWIT_DIE_AT"), *hang = getenv("GODWIT_HANG_AT");

	if (what != DECODE_CHECKPOINT)
		return;
	if (die && !strcmp(die, "decode:destination"))
		(void)raise(SIGKILL);
	while (hang && !strcmp(hang, "decode:destination"))
		;
}

static void serve(int sock, void *arg)
{
	struct inside s = { 0 };
	struct cell_head ask;
	uint8_t *bytes;

	(void)arg;
	while (cell_next(sock, DECODE_MAX, &ask, &bytes)) {
		const ProtobufCMessageDescriptor *d;
		struct err e = { 0 };
		ProtobufCMessage *m = NULL;

		if (ask.what < DECODE_REQUIREMENTS || ask.what >= ARRAY_LEN(kinds))
			return;
		stage_boundary(ask.what);
		d = kinds[ask.what].message;
		e.code = message_scan(d, bytes, ask.len, SCAN_ROOM, false, &e);
		if (!e.code)
			m = protobuf_c_message_unpack(d, NULL, ask.len, bytes);
		free(bytes);
		if (m)
			answer(&s, sock, ask.what, m);
		else
			cell_answer(sock, e.code ? &e : &(struct err) { -EBADMSG, "it is not a message" }, NULL,
				    0);
	}
}

/* --- outside --- */

int decoder_start(struct decoder **ret, struct err *e)
{
	struct decoder *d = xcalloc(1, sizeof *d);
	int err = cell_open(&d->cell, NULL, 0, serve, NULL, e);

	if (err < 0) {
		free(d);
		return err;
	}
	*ret = d;
	return 0;
}

void decoder_free(struct decoder *d)
{
	if (!d)
		return;
	cell_close(&d->cell);
	free(d);
}

static int ask(struct decoder *d, enum decode what, const void *bytes, size_t len, ProtobufCMessage **ret,
	       struct err *e)
{
	const struct cell_head head = { .what = what, .len = len };
	const ProtobufCMessageDescriptor *m = kinds[what].message;
	_cleanup_free_ uint8_t *anew = NULL;
	size_t anew_len;
	int err = cell_ask(&d->cell, &head, bytes, len + 16, &anew, &anew_len, e);

	if (!err)
		err = message_scan(m, anew, anew_len, SCAN_ROOM, true, e);
	if (err < 0)
		return err;
	*ret = protobuf_c_message_unpack(m, NULL, anew_len, anew);
	return *ret ? 0 : err_set(e, -EBADMSG, "it is not a message");
}

int decoder_take(struct decoder *d, enum decode what, const void *bytes, size_t len, ProtobufCMessage **ret,
		 struct err *e)
{
	int err = d && len <= DECODE_MAX
			  ? ask(d, what, bytes, len, ret, e)
			  : err_set(e, -EBADMSG, d ? "it is too long" : "there is nobody to decode it");

	return err < 0 ? err_wrap(e, "%s is refused", kinds[what].name) : 0;
}
