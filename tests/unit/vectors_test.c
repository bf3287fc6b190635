/* SPDX-License-Identifier: Apache-2.0 */
/* The protocols against the packets in tests/vectors, which were not made by the code under test. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "flip/packet.h"
#include "rpc/header.h"

#define BYTES_MAX 1024u

struct field {
	const char *name;
	size_t offset, size;
};

static void put(void *to, const struct field *f, uint64_t value)
{
	uint8_t v8 = (uint8_t)value;
	uint16_t v16 = (uint16_t)value;
	uint32_t v32 = (uint32_t)value;
	const void *from = f->size == 1	  ? (void *)&v8
			   : f->size == 2 ? (void *)&v16
			   : f->size == 4 ? (void *)&v32
					  : &value;

	memcpy((char *)to + f->offset, from, f->size);
}

static size_t unhex(const char *text, uint8_t *to, size_t room)
{
	size_t n = 0;

	for (unsigned byte; n < room && sscanf(text + 2 * n, "%2x", &byte) == 1; n++)
		to[n] = (uint8_t)byte;
	return n;
}

/* A line of fields into a header. */
static void read_fields(char *line, void *to, const struct field *fields, size_t n,
			const char *(*type_name)(unsigned))
{
	char *save = NULL;

	for (char *word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		char *value = strchr(word, '=');
		size_t i = 0;

		assert_non_null(value);
		*value++ = '\0';
		while (i < n && strcmp(fields[i].name, word) != 0)
			i++;
		if (i == n)
			fail_msg("no field is called %s", word);
		if (!strcmp(word, "type")) {
			unsigned type = 1;

			while (type < 32 && strcmp(type_name(type), value) != 0)
				type++;
			put(to, &fields[i], type);
		} else if (fields[i].size > sizeof(uint64_t)) {
			assert_int_equal(unhex(value, (uint8_t *)to + fields[i].offset, fields[i].size),
					 fields[i].size);
		} else {
			put(to, &fields[i], strtoull(value, NULL, 0));
		}
	}
}

/* Runs `check` for each record; returns how many there are. */
static unsigned each(const char *file, void (*check)(char *fields, const uint8_t *bytes, size_t len))
{
	_cleanup_free_ char *path = xasprintf("tests/vectors/%s", file);
	char line[1024], fields[1024] = "";
	uint8_t bytes[BYTES_MAX];
	size_t len = 0;
	unsigned n = 0;
	FILE *in = fopen(path, "re");

	if (!in)
		fail_msg("%s: %s", path, strerror(errno));
	for (;;) {
		char *got = fgets(line, sizeof(line), in);

		if (got && line[0] == '\t') {
			len += unhex(line + 1, bytes + len, sizeof(bytes) - len);
			continue;
		}
		if (len) {
			check(fields, bytes, len);
			n++;
		}
		len = 0;
		if (!got)
			break;
		if (line[0] != '#' && line[0] != '\n')
			strcpy(fields, line);
	}
	(void)fclose(in);
	return n;
}

#define FIELD(type, name)                                                                                         \
	{                                                                                                         \
#name, offsetof(struct type, name), sizeof(((struct type *)0)->name)                              \
	}

static void check_flip(char *line, const uint8_t *bytes, size_t len)
{
	static const struct field fields[] = {
		FIELD(flip_hdr, type),	   FIELD(flip_hdr, flags),  FIELD(flip_hdr, hops),
		FIELD(flip_hdr, hops_max), FIELD(flip_hdr, frag),   FIELD(flip_hdr, dst),
		FIELD(flip_hdr, src),	   FIELD(flip_hdr, messid), FIELD(flip_hdr, length),
		FIELD(flip_hdr, offset),   FIELD(flip_hdr, total),  FIELD(flip_hdr, src_inc),
		FIELD(flip_hdr, dst_inc),
	};
	struct flip_hdr want = { 0 }, have = { 0 };
	uint8_t head[FLIP_HDR_LEN];
	const uint8_t *data;

	read_fields(line, &want, fields, ARRAY_LEN(fields), flip_type_name);
	flip_hdr_encode(&want, head);
	assert_memory_equal(head, bytes, FLIP_HDR_LEN);
	assert_int_equal(flip_hdr_decode(&have, bytes, len, &data), 0);
	assert_memory_equal(&have, &want, sizeof(want));
	assert_ptr_equal(data, bytes + FLIP_HDR_LEN);
}

static void check_rpc(char *line, const uint8_t *bytes, size_t len)
{
	static const struct field fields[] = {
		FIELD(rpc_hdr, type),  FIELD(rpc_hdr, flags), FIELD(rpc_hdr, why), FIELD(rpc_hdr, tid),
		FIELD(rpc_hdr, acked), FIELD(rpc_hdr, port),  FIELD(rpc_hdr, uid), FIELD(rpc_hdr, gid),
	};
	struct rpc_hdr want = { 0 }, have = { 0 };
	uint8_t head[RPC_HDR_LEN], user[RPC_USER_HDR_LEN];
	struct gw_hdr u;

	read_fields(line, &want, fields, ARRAY_LEN(fields), rpc_type_name);
	rpc_hdr_encode(&want, head);
	assert_memory_equal(head, bytes, RPC_HDR_LEN);
	assert_int_equal(rpc_hdr_decode(&have, bytes, len), 0);
	assert_memory_equal(&have, &want, sizeof(want));
	if (len == RPC_HDR_LEN)
		return;
	assert_int_equal(rpc_user_hdr_decode(&u, bytes + RPC_HDR_LEN, len - RPC_HDR_LEN), 0);
	rpc_user_hdr_encode(&u, user);
	assert_memory_equal(user, bytes + RPC_HDR_LEN, RPC_USER_HDR_LEN);
	/* What both requests and the reply in the file have. */
	assert_int_equal(u.priv.object, 42);
	assert_int_equal(u.priv.check[15], 0x1f);
	assert_int_equal(u.command, want.type == RPC_REPLY ? -7 : 1001);
	assert_int_equal(u.size, len - RPC_HDR_LEN - RPC_USER_HDR_LEN);
}

static void flip_packets(void **state)
{
	(void)state;
	assert_int_equal(each("flip.txt", check_flip), 16);
}

static void rpc_messages(void **state)
{
	(void)state;
	assert_int_equal(each("rpc.txt", check_rpc), 14);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flip_packets),
		cmocka_unit_test(rpc_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
