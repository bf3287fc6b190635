/* SPDX-License-Identifier: Apache-2.0 */
#include "flip/addr.h"

#include <sodium.h>

#include "base/wire.h"

#define SPACE_MASK 0xffu

flip_addr flip_addr_random(void)
{
	flip_addr a = 0;

	while (!(a & ~(flip_addr)SPACE_MASK))
		randombytes_buf(&a, sizeof(a));
	return a & ~(flip_addr)SPACE_MASK;
}

flip_addr flip_addr_publish(flip_addr private_addr)
{
	static const char domain[] = "godwit flip address";
	uint8_t in[8], out[crypto_generichash_BYTES_MIN];
	struct wire_out w = wire_out(in, sizeof(in));
	struct wire_in r = wire_in(out, 8);
	flip_addr a;

	if (!private_addr)
		return 0;
	wire_put_u64(&w, private_addr);
	crypto_generichash(out, sizeof(out), in, sizeof(in), (const uint8_t *)domain, sizeof(domain) - 1);
	a = wire_get_u64(&r) & ~(flip_addr)SPACE_MASK;
	return (a ? a : 1u << 8) | (private_addr & SPACE_MASK);
}
