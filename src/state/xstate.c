/* SPDX-License-Identifier: Apache-2.0 */
#include "state/xstate.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>

#define LEGACY_LEN 512 /* x87 and SSE */
#define HEADER_LEN 64
#define XSTATE_BV 512 /* offset of the bitmap of components in use */
#define LEAF 0xd

uint64_t xstate_features(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

size_t xstate_size(void)
{
	uint32_t a, b, c, d;

	if (!__get_cpuid_count(LEAF, 0, &a, &b, &c, &d))
		return LEGACY_LEN;
	return b;
}

/* CPUID costs tens of microseconds in a virtual machine, so what it says is kept: a memo of a fact. */
static const size_t *component_ends(void)
{
	static size_t end[64];

	if (end[0])
		return end;
	for (unsigned i = 2; i < 63; i++) {
		uint32_t size, offset, c, d;

		if (xstate_features() >> i & 1 && __get_cpuid_count(LEAF, i, &size, &offset, &c, &d))
			end[i] = (size_t)size + offset;
	}
	end[0] = end[1] = LEGACY_LEN + HEADER_LEN;
	return end;
}

void xstate_learn(void)
{
	(void)component_ends();
}

static uint64_t in_use(const uint8_t *area)
{
	uint64_t bv;

	memcpy(&bv, area + XSTATE_BV, sizeof bv);
	return bv;
}

uint64_t xstate_in_use(const uint8_t *area, size_t len)
{
	return len < LEGACY_LEN + HEADER_LEN ? 0 : in_use(area);
}

size_t xstate_used(const uint8_t *area, size_t len)
{
	const size_t *ends = component_ends();
	size_t end = LEGACY_LEN + HEADER_LEN;

	if (len < end)
		return len;
	for (unsigned i = 2; i < 63; i++)
		if (in_use(area) >> i & 1 && ends[i] > end)
			end = ends[i];
	return end < len ? end : len;
}

int xstate_fit(const uint8_t *from, size_t len, uint8_t *to, size_t size, struct err *e)
{
	uint64_t missing;

	if (len < LEGACY_LEN + HEADER_LEN || len > XSTATE_MAX || size > XSTATE_MAX)
		return err_set(e, -EPROTO, "a vector register area has %zu bytes", len);
	missing = in_use(from) & ~xstate_features();
	if (missing)
		return err_set(e, -ENOTSUP, "this CPU lacks vector state %#llx that is in use",
			       (unsigned long long)missing);
	memset(to, 0, size);
	memcpy(to, from, len < size ? len : size);
	return 0;
}
