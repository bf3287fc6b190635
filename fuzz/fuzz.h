/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_FUZZ_FUZZ_H
#define GW_FUZZ_FUZZ_H

/*
 * What fuzz targets share. A target is one file, NAME_fuzz.c, with LLVMFuzzerTestOneInput; its seeds lie in
 * corpus/NAME. Inputs are read as a script through a cursor: after its end everything is zero, so that every input
 * means something and short ones stay short.
 */

#include <fcntl.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_in {
	const uint8_t *p;
	size_t left;
};

static inline uint64_t fuzz_get(struct fuzz_in *in, unsigned bytes)
{
	uint64_t x = 0;

	for (unsigned i = 0; i < bytes && in->left; i++, in->p++, in->left--)
		x |= (uint64_t)*in->p << 8 * i;
	return x;
}

/* The next bytes, at most `max` of them: their number comes first, in two bytes. */
static inline const uint8_t *fuzz_bytes(struct fuzz_in *in, size_t max, size_t *ret_len)
{
	size_t n = fuzz_get(in, 2);
	const uint8_t *at = in->p;

	n = MIN(MIN(n, max), in->left);
	in->p += n;
	in->left -= n;
	*ret_len = n;
	return at;
}

/* A NUL-terminated copy. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = xmalloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

/* The bytes as a file that can be opened by `path` (64 bytes). The descriptor is to be closed. */
static inline int fuzz_file(const uint8_t *data, size_t size, char *path)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	(void)snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

/* Nothing random: an input does the same each time. */
static uint64_t fuzz_seed;

static uint32_t fuzz_random(void)
{
	fuzz_seed = fuzz_seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(fuzz_seed >> 33);
}

static void fuzz_random_buf(void *const buf, const size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)buf)[i] = (uint8_t)fuzz_random();
}

static const char *fuzz_random_name(void)
{
	return "fuzz";
}

static inline void fuzz_quiet(void)
{
	static struct randombytes_implementation rng = { .implementation_name = fuzz_random_name,
							 .random = fuzz_random,
							 .buf = fuzz_random_buf };

	log_set_level(0);
	(void)randombytes_set_implementation(&rng);
	if (sodium_init() < 0)
		abort();
}

#endif
