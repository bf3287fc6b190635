/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image that a stranger made. The first byte even: a core file as it is; odd: a message, around which a proper
 * file is made. What is taken in is copied, and must then be a good image.
 */
#include "cage.h"
#include "fuzz.h"
#include "image/private.h"

#define DIRECTORY "/tmp/image"
#define CORE DIRECTORY "/12.core"
#define COPY "/tmp/copy"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	cage_close();
	if (mkdir(DIRECTORY, 0700) < 0)
		cage_fail(DIRECTORY);
	return 0;
}

static void put(int fd, const void *bytes, size_t len, off_t at)
{
	if (pwrite(fd, bytes, len, at) != (ssize_t)len)
		abort();
}

static void put_message(int fd, const uint8_t *data, size_t size)
{
	static const uint8_t page[IMAGE_PAGE] = { 'c' };
	Elf64_Ehdr h = { .e_type = ET_CORE,
			 .e_machine = EM_X86_64,
			 .e_version = EV_CURRENT,
			 .e_phoff = sizeof h,
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 1 };
	Elf64_Phdr note = { .p_type = PT_NOTE, .p_offset = 3 * IMAGE_PAGE };
	struct notes n = { 0 };

	memcpy(h.e_ident, ELFMAG, SELFMAG);
	h.e_ident[EI_CLASS] = ELFCLASS64;
	h.e_ident[EI_DATA] = ELFDATA2LSB;
	h.e_ident[EI_VERSION] = EV_CURRENT;
	notes_add(&n, IMAGE_OWNER, IMAGE_NOTE, data, size);
	note.p_filesz = n.len;
	put(fd, &h, sizeof h, 0);
	put(fd, &note, sizeof note, sizeof h);
	put(fd, page, sizeof page, IMAGE_PAGE);
	put(fd, n.bytes, n.len, 3 * IMAGE_PAGE);
	notes_done(&n);
}

static int sink(void *arg, uint32_t space, uint64_t start, const void *buf, size_t len, struct err *e)
{
	uint64_t *total = arg;

	(void)e;
	if (len > IMAGE_CHUNK_MAX || len % IMAGE_PAGE || start % IMAGE_PAGE)
		abort();
	*total += len + space + ((const uint8_t *)buf)[len - 1];
	return 0;
}

static void look(uint8_t how)
{
	struct image *im = NULL, *again = NULL;
	struct err e = { 0 };
	uint64_t total = 0;

	if (image_open_here(DIRECTORY, &im, &e) < 0)
		return;
	if (!image_pages(im, 0, sink, &total, &e) && !image_copy(im, COPY, IMAGE_REPLACE | (how & 2), &e)) {
		if (image_open_here(COPY, &again, &e) < 0 || image_pages(again, 0, NULL, NULL, &e) < 0) {
			(void)fprintf(stderr, "%s\n", err_text(&e));
			abort();
		}
		image_close(again);
	}
	image_close(im);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, MIN(size, (size_t)1 << 20) };
	int fd = open(CORE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint8_t how = (uint8_t)fuzz_get(&in, 1);

	if (fd < 0)
		abort();
	if (how & 1)
		put_message(fd, in.p, in.left);
	else
		put(fd, in.p, in.left, 0);
	(void)close(fd);
	look(how);
	return 0;
}
