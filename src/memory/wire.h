/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_MEMORY_WIRE_H
#define GW_MEMORY_WIRE_H

#include <stdint.h>

/* Little-endian numbers, as the movers' stream has them. */

static inline void wire_put_u32(uint8_t *to, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		to[i] = (uint8_t)(v >> (8 * i));
}

static inline uint32_t wire_get_u32(const uint8_t *from)
{
	return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static inline void wire_put_u64(uint8_t *to, uint64_t v)
{
	wire_put_u32(to, (uint32_t)v);
	wire_put_u32(to + 4, (uint32_t)(v >> 32));
}

static inline uint64_t wire_get_u64(const uint8_t *from)
{
	return wire_get_u32(from) | (uint64_t)wire_get_u32(from + 4) << 32;
}

#endif
