/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flip/packet.h"
#include "lib/frame.h"
#include "rpc/header.h"

static const struct flip_hdr samples[] = {
	{ .type = FLIP_UNIDATA,
	  .hops = 1,
	  .hops_max = 3,
	  .frag = 1360,
	  .dst = 0x1100,
	  .src = 0x2200,
	  .messid = 7,
	  .length = 100,
	  .total = 100,
	  .src_inc = 4,
	  .dst_inc = 5 },
	{ .type = FLIP_UNIDATA,
	  .frag = 300,
	  .dst = 1,
	  .src = 2,
	  .messid = UINT32_MAX,
	  .length = 300,
	  .offset = 600,
	  .total = 1000 },
	{ .type = FLIP_UNIDATA, .frag = 300, .dst = 1, .src = 2, .length = 100, .offset = 900, .total = 1000 },
	{ .type = FLIP_UNIDATA, .frag = 300, .dst = 1, .src = 2 },
	{ .type = FLIP_LOCATE, .flags = FLIP_F_ANSWER, .frag = 1360, .dst = 9, .src = 8, .hops_max = 25 },
	{ .type = FLIP_LOCATE, .flags = FLIP_F_PORT, .frag = 1360, .src = 8, .length = 16, .total = 16 },
	{ .type = FLIP_HEREIS, .flags = FLIP_F_ANNOUNCE, .frag = 1360, .dst = 9, .src = 8, .src_inc = 3 },
	{ .type = FLIP_NOTHERE, .frag = 1360, .dst = 9, .src = 8, .messid = 3, .offset = 1360, .total = 5000 },
	{ .type = FLIP_BUSY,
	  .flags = FLIP_F_LOCATE | FLIP_F_PORT,
	  .frag = 1360,
	  .dst = 9,
	  .length = 16,
	  .total = 16 },
	{ .type = FLIP_CREDIT, .frag = 1360, .dst = 9, .src = 8, .length = 6 },
};
#define N (sizeof(samples) / sizeof(samples[0]))

static size_t make(const struct flip_hdr *h, uint8_t *p)
{
	flip_hdr_encode(h, p);
	for (size_t i = 0; i < h->length; i++)
		p[FLIP_HDR_LEN + i] = (uint8_t)i;
	return FLIP_HDR_LEN + h->length;
}

static void packet_round_trip(void **state)
{
	uint8_t p[FLIP_PACKET_MAX];
	const uint8_t *data;
	struct flip_hdr h;

	(void)state;
	for (size_t i = 0; i < N; i++) {
		size_t len = make(&samples[i], p);

		memset(&h, 0, sizeof(h));
		assert_int_equal(flip_hdr_decode(&h, p, len, &data), 0);
		assert_memory_equal(&h, &samples[i], sizeof(h));
		assert_ptr_equal(data, p + FLIP_HDR_LEN);
	}
}

static void packet_of_any_other_length_is_refused(void **state)
{
	uint8_t p[FLIP_PACKET_MAX + 1] = { 0 };
	const uint8_t *data;
	struct flip_hdr h;

	(void)state;
	for (size_t i = 0; i < N; i++) {
		size_t len = make(&samples[i], p);

		for (size_t cut = 0; cut <= len + 1; cut++) {
			/* A copy of exactly that size, so that a sanitizer sees a read beyond it. */
			uint8_t *copy = malloc(cut ? cut : 1);

			memcpy(copy, p, cut);
			assert_int_equal(flip_hdr_decode(&h, copy, cut, &data) == 0, cut == len);
			free(copy);
		}
	}
}

/* Whatever is accepted keeps the promises that the code above relies on. */
static void packet_of_any_bytes_is_sane_or_refused(void **state)
{
	uint8_t p[FLIP_PACKET_MAX];
	const uint8_t *data;
	struct flip_hdr h;
	uint32_t x = 12345;

	(void)state;
	for (int round = 0; round < 300000; round++) {
		size_t len = make(&samples[(size_t)round % N], p);

		for (int i = 0; i < 3; i++) {
			x = x * 1664525 + 1013904223;
			p[(x >> 8) % FLIP_HDR_LEN] = (uint8_t)(x >> 24);
		}
		if (flip_hdr_decode(&h, p, len, &data) < 0)
			continue;
		assert_true(h.total <= FLIP_MSG_MAX && h.offset <= h.total && h.hops <= h.hops_max);
		if (h.type == FLIP_UNIDATA) {
			assert_true(h.frag >= FLIP_FRAG_MIN && h.offset % h.frag == 0);
			assert_true(h.offset + h.length <= h.total && h.length <= h.frag);
			assert_true(h.src && h.dst);
		}
		if (h.flags & FLIP_F_PORT && (h.type == FLIP_LOCATE || h.type == FLIP_HEREIS))
			assert_int_equal(h.length, FLIP_PORT_LEN);
	}
}

static void rpc_header_round_trip_and_truncation(void **state)
{
	struct rpc_hdr in = { .type = RPC_REQUEST,
			      .flags = RPC_F_RETRANS,
			      .tid = 1ull << 40,
			      .acked = 77,
			      .port = { { 1, 2, 3 } },
			      .uid = 1000,
			      .gid = 100 };
	uint8_t p[RPC_HDR_LEN + RPC_USER_HDR_LEN] = { 0 };
	struct rpc_hdr h;

	(void)state;
	rpc_hdr_encode(&in, p);
	for (size_t cut = 0; cut < sizeof(p); cut++)
		assert_int_not_equal(rpc_hdr_decode(&h, p, cut), 0);
	memset(&h, 0, sizeof(h));
	assert_int_equal(rpc_hdr_decode(&h, p, sizeof(p)), 0);
	assert_memory_equal(&h, &in, sizeof(h));
	in.type = RPC_ACK;
	rpc_hdr_encode(&in, p);
	assert_int_equal(rpc_hdr_decode(&h, p, RPC_HDR_LEN), 0);
	assert_int_not_equal(rpc_hdr_decode(&h, p, RPC_HDR_LEN + 1), 0);
}

static void user_header_round_trip(void **state)
{
	struct gw_hdr in = { .priv = { .object = 1ull << 50, .rights = 7, .check = "0123456789abcde" },
			     .command = -1001,
			     .offset = 1ull << 33,
			     .size = 5,
			     .extra = 6 };
	uint8_t p[RPC_USER_HDR_LEN];
	struct gw_hdr h;

	(void)state;
	rpc_user_hdr_encode(&in, p);
	for (size_t cut = 0; cut < sizeof(p); cut++)
		assert_int_not_equal(rpc_user_hdr_decode(&h, p, cut), 0);
	assert_int_equal(rpc_user_hdr_decode(&h, p, sizeof(p)), 0);
	assert_memory_equal(h.priv.check, in.priv.check, GW_CHECK_LEN);
	assert_int_equal(h.command, in.command);
	assert_true(h.offset == in.offset && h.size == in.size && h.extra == in.extra);
	assert_true(h.priv.object == in.priv.object && h.priv.rights == in.priv.rights);
}

static void frame_round_trip(void **state)
{
	struct frame in = { .length = 5,
			    .type = FRAME_TRANS,
			    .flags = 1,
			    .endpoint = 2,
			    .status = -5,
			    .id = 1ull << 60,
			    .port = { { 9 } },
			    .client = 3,
			    .uid = 4,
			    .gid = 5,
			    .aux = 6 };
	uint8_t p[FRAME_HDR_LEN];
	struct frame f;

	(void)state;
	frame_encode(&in, p);
	memset(&f, 0, sizeof(f));
	assert_int_equal(frame_decode(&f, p), 0);
	assert_memory_equal(&f, &in, sizeof(f));
	in.length = FRAME_PAYLOAD_MAX + 1;
	frame_encode(&in, p);
	assert_int_equal(frame_decode(&f, p), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packet_round_trip),
		cmocka_unit_test(packet_of_any_other_length_is_refused),
		cmocka_unit_test(packet_of_any_bytes_is_sane_or_refused),
		cmocka_unit_test(rpc_header_round_trip_and_truncation),
		cmocka_unit_test(user_header_round_trip),
		cmocka_unit_test(frame_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
