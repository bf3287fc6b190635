/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's description of its types, in which we look for members. The first byte even: bytes as they are;
 * odd: types, and from a given place on strings, with a proper header. */
#include <linux/btf.h>

#include "fuzz.h"
#include "inject/btf.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return 0;
}

static void look(const uint8_t *data, size_t size)
{
	static const char *const members[] = { "a", "b.c", "nanosleep.clockid", "", "." };
	char path[64];
	int fd = fuzz_file(data, size, path);
	struct btf *b = NULL;
	struct err e = { 0 };

	if (!btf_load(path, &b, &e)) {
		(void)btf_function(b, "f");
		for (size_t i = 0; i < ARRAY_LEN(members); i++)
			(void)btf_member(b, "s", members[i]);
	}
	btf_free(b);
	(void)close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, MIN(size, (size_t)1 << 16) };
	struct btf_header h = { .magic = BTF_MAGIC, .version = BTF_VERSION, .hdr_len = sizeof h };
	uint8_t *all;

	if (!(fuzz_get(&in, 1) & 1)) {
		look(in.p, in.left);
		return 0;
	}
	h.str_off = (uint32_t)fuzz_get(&in, 2) & ~3u;
	h.str_off = (uint32_t)MIN(h.str_off, in.left & ~3u);
	h.type_len = h.str_off;
	h.str_len = (uint32_t)in.left - h.str_off;
	all = xmalloc(sizeof h + in.left);
	memcpy(all, &h, sizeof h);
	if (in.left)
		memcpy(all + sizeof h, in.p, in.left);
	look(all, sizeof h + in.left);
	free(all);
	return 0;
}
