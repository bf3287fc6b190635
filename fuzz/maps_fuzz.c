/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/PID/maps and smaps. The kernel writes them, but a program chooses the names in them. */
#include "fuzz.h"
#include "memory/vma.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vma_list l = { 0 };
	struct vma_refusal why;
	struct err e = { 0 };
	size_t len;

	if (!vma_list_parse(&l, fuzz_text(data, size), &e)) {
		for (size_t i = 0; i < l.n; i++) {
			const struct vma *v = &l.v[i];

			(void)vma_classify(v, &why);
			if (vma_anon_name(v, &len) && len > size)
				abort();
			if (v->start >= v->end || vma_list_find(&l, v->start) != v ||
			    (i && v->start < l.v[i - 1].end))
				abort();
		}
		(void)vma_list_find(&l, 0x1000);
	}
	vma_list_done(&l);
	return 0;
}
