/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_BASE_WIRE_H
#define GW_BASE_WIRE_H

/*
 * Cursors over bytes in network order. An error is sticky: decode straight through, look at `bad` once at the end.
 * What is read after an error is zero; what is written after one is dropped.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct wire_in {
	const uint8_t *p;
	size_t left;
	bool bad;
};

struct wire_out {
	uint8_t *p;
	size_t len, cap;
	bool bad;
};

static inline struct wire_in wire_in(const void *p, size_t len)
{
	return (struct wire_in) { .p = p, .left = len };
}

static inline struct wire_out wire_out(void *p, size_t cap)
{
	return (struct wire_out) { .p = p, .cap = cap };
}

/* Points at the next n bytes and steps over them; NULL if there are not that many. */
static inline const uint8_t *wire_skip(struct wire_in *w, size_t n)
{
	const uint8_t *at = w->p;

	if (w->bad || n > w->left) {
		w->bad = true;
		return NULL;
	}
	w->p += n;
	w->left -= n;
	return at;
}

static inline uint64_t wire_get(struct wire_in *w, unsigned bytes)
{
	const uint8_t *p = wire_skip(w, bytes);
	uint64_t x = 0;

	if (!p)
		return 0;
	for (unsigned i = 0; i < bytes; i++)
		x = x << 8 | p[i];
	return x;
}

#define wire_get_u8(w) ((uint8_t)wire_get(w, 1))
#define wire_get_u16(w) ((uint16_t)wire_get(w, 2))
#define wire_get_u32(w) ((uint32_t)wire_get(w, 4))
#define wire_get_u64(w) wire_get(w, 8)

static inline void wire_get_bytes(struct wire_in *w, void *to, size_t n)
{
	const uint8_t *p = wire_skip(w, n);

	if (p)
		memcpy(to, p, n);
	else
		memset(to, 0, n);
}

static inline uint8_t *wire_room(struct wire_out *w, size_t n)
{
	uint8_t *at = w->p + w->len;

	if (w->bad || n > w->cap - w->len) {
		w->bad = true;
		return NULL;
	}
	w->len += n;
	return at;
}

static inline void wire_put(struct wire_out *w, uint64_t x, unsigned bytes)
{
	uint8_t *p = wire_room(w, bytes);

	for (unsigned i = 0; p && i < bytes; i++)
		p[i] = (uint8_t)(x >> 8 * (bytes - 1 - i));
}

#define wire_put_u8(w, x) wire_put(w, x, 1)
#define wire_put_u16(w, x) wire_put(w, x, 2)
#define wire_put_u32(w, x) wire_put(w, x, 4)
#define wire_put_u64(w, x) wire_put(w, x, 8)

static inline void wire_put_bytes(struct wire_out *w, const void *from, size_t n)
{
	uint8_t *p = wire_room(w, n);

	if (p && n)
		memcpy(p, from, n);
}

#endif
