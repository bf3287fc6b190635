/* SPDX-License-Identifier: Apache-2.0 */
/* The vDSO of another kernel, which the destination rewrites. */
#include <sys/auxv.h>

#include "fuzz.h"
#include "state/mm.h"

#define VDSO_MAX 8192u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *own = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
	uint8_t *image = xmalloc(MAX(size, (size_t)1));
	struct err e = { 0 };

	memcpy(image, data, size);
	(void)!vdso_bridge(image, size, own, own ? VDSO_MAX : 0, 0x7f0000000000, &e);
	/* And the other way round: our own is fine, what replaces it is not. */
	memcpy(image, data, size);
	if (own) {
		uint8_t *old = xmalloc(VDSO_MAX);

		memcpy(old, own, VDSO_MAX);
		(void)!vdso_bridge(old, VDSO_MAX, image, size, 0x7f0000000000, &e);
		free(old);
	}
	free(image);
	return 0;
}
