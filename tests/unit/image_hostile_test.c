/* SPDX-License-Identifier: Apache-2.0 */
/* Images that a stranger made up: each is refused, and the refusal says what is wrong. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/user.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "image/image.h"

#define PAGE ((uint64_t)IMAGE_PAGE)
#define NOTE_TYPE 0x57444f47u
#define HEAP 0x10000000ull

/* --- a small image that is right, to be spoiled --- */

struct fake {
	Godwit__Image__Image m;
	Godwit__Ckpt__Process process;
	Godwit__Ckpt__Job job;
	Godwit__Ckpt__Thread thread[2], *threads[2];
	Godwit__Ckpt__Memory memory;
	Godwit__Ckpt__Region region[2], *regions[2];
	Godwit__Image__Chunk chunk[2], *chunks[2];
	uint8_t regs[sizeof(struct user_regs_struct)], hash[32], page[IMAGE_PAGE];
	/* What of the file's frame is spoiled. */
	Elf64_Ehdr head;
	Elf64_Phdr note[2];
	Elf64_Nhdr nhdr;
	unsigned notes;	  /* how often the note comes */
	uint64_t size;	  /* of the file; 0: as it is */
	const char *name; /* of the file */
	uint8_t *raw;	  /* instead of the message */
	size_t raw_len;
};

static void hash_page(struct fake *f)
{
	uint8_t head[12] = { 0 };
	uint64_t start = HEAP;
	crypto_generichash_state st;

	memcpy(head + 4, &start, sizeof start);
	(void)crypto_generichash_init(&st, NULL, 0, sizeof f->hash);
	(void)crypto_generichash_update(&st, head, sizeof head);
	(void)crypto_generichash(f->hash, sizeof f->hash, f->page, sizeof f->page, NULL, 0);
	(void)crypto_generichash_update(&st, f->hash, sizeof f->hash);
	(void)crypto_generichash_final(&st, f->hash, sizeof f->hash);
}

static void make_message(struct fake *f)
{
	godwit__image__image__init(&f->m);
	godwit__ckpt__process__init(&f->process);
	godwit__ckpt__job__init(&f->job);
	godwit__ckpt__memory__init(&f->memory);
	for (unsigned i = 0; i < 2; i++) {
		godwit__ckpt__thread__init(&f->thread[i]);
		godwit__ckpt__region__init(&f->region[i]);
		godwit__image__chunk__init(&f->chunk[i]);
		f->threads[i] = &f->thread[i];
		f->regions[i] = &f->region[i];
		f->chunks[i] = &f->chunk[i];
		f->thread[i].tid = 7 + (int)i;
		f->thread[i].regs = (ProtobufCBinaryData) { sizeof f->regs, f->regs };
		f->region[i].kind = GODWIT__CKPT__REGION__KIND__ANON_PRIVATE;
		f->region[i].start = HEAP + i * 16 * PAGE;
		f->region[i].end = f->region[i].start + 4 * PAGE;
		f->region[i].prot = PROT_READ;
		f->chunk[i].start = f->region[i].start;
		f->chunk[i].bytes = PAGE;
		f->chunk[i].offset = PAGE;
	}
	memset(f->page, 'x', sizeof f->page);
	hash_page(f);
	f->memory.regions = f->regions;
	f->memory.n_regions = 2;
	f->process.pid = 7;
	f->process.threads = f->threads;
	f->process.n_threads = 2;
	f->process.memory = &f->memory;
	f->m.version = IMAGE_VERSION;
	f->m.of = 1;
	f->m.process = &f->process;
	f->m.job = &f->job;
	f->m.chunks = f->chunks;
	f->m.n_chunks = 1;
	f->m.hash = (ProtobufCBinaryData) { sizeof f->hash, f->hash };
}

static void make_frame(struct fake *f)
{
	memcpy(f->head.e_ident, ELFMAG, SELFMAG);
	f->head.e_ident[EI_CLASS] = ELFCLASS64;
	f->head.e_ident[EI_DATA] = ELFDATA2LSB;
	f->head.e_ident[EI_VERSION] = EV_CURRENT;
	f->head.e_type = ET_CORE;
	f->head.e_machine = EM_X86_64;
	f->head.e_version = EV_CURRENT;
	f->head.e_phoff = sizeof f->head;
	f->head.e_ehsize = sizeof f->head;
	f->head.e_phentsize = sizeof f->note[0];
	f->head.e_phnum = 1;
	f->note[0] = (Elf64_Phdr) { .p_type = PT_NOTE, .p_offset = 2 * PAGE };
	f->note[1] = (Elf64_Phdr) { .p_type = PT_LOAD };
	f->nhdr = (Elf64_Nhdr) { .n_namesz = 7, .n_type = NOTE_TYPE };
	f->notes = 1;
	f->name = "7.core";
}

static void write_at(int fd, const void *bytes, size_t len, uint64_t at)
{
	assert_int_equal(pwrite(fd, bytes, len, (off_t)at), (ssize_t)len);
}

static void write_fake(struct fake *f, const char *dir)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, f->name);
	size_t len = f->raw ? f->raw_len : godwit__image__image__get_packed_size(&f->m);
	_cleanup_free_ uint8_t *bytes = xmalloc(len + 8);
	Elf64_Phdr note[2] = { f->note[0], f->note[1] };
	Elf64_Nhdr nhdr = f->nhdr;
	uint64_t at = 2 * PAGE, padded = ALIGN_UP(len, (size_t)4);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	if (f->raw)
		memcpy(bytes, f->raw, len);
	else
		(void)godwit__image__image__pack(&f->m, bytes);
	write_at(fd, f->page, sizeof f->page, PAGE);
	if (!nhdr.n_descsz)
		nhdr.n_descsz = (uint32_t)len;
	for (unsigned i = 0; i < f->notes; i++) {
		write_at(fd, &nhdr, sizeof nhdr, at);
		write_at(fd, "GODWIT\0", 8, at + sizeof nhdr);
		write_at(fd, bytes, len, at + sizeof nhdr + 8);
		at += sizeof nhdr + 8 + padded;
	}
	assert_int_equal(ftruncate(fd, (off_t)at), 0);
	if (!note[0].p_filesz)
		note[0].p_filesz = at - 2 * PAGE;
	write_at(fd, note, sizeof note, sizeof f->head);
	write_at(fd, &f->head, sizeof f->head, 0);
	if (f->size)
		assert_int_equal(ftruncate(fd, (off_t)f->size), 0);
	(void)close(fd);
}

/* --- what is spoiled, and what must be said about it --- */

#define SPOIL(name, ...)                                                                                          \
	static void name(struct fake *f)                                                                          \
	{                                                                                                         \
		__VA_ARGS__;                                                                                      \
	}

SPOIL(empty_file, f->size = 1; f->head.e_ident[0] = 0)
SPOIL(no_magic, f->head.e_ident[1] = 'e')
SPOIL(other_class, f->head.e_ident[EI_CLASS] = ELFCLASS32)
SPOIL(other_machine, f->head.e_machine = EM_AARCH64)
SPOIL(executable, f->head.e_type = ET_EXEC)
SPOIL(header_sizes, f->head.e_phentsize = 8)
SPOIL(headers_outside, f->head.e_phoff = UINT64_MAX - 8)
SPOIL(many_headers, f->head.e_phnum = 60000)
SPOIL(number_missing, f->head.e_phnum = PN_XNUM)
SPOIL(number_outside, f->head.e_phnum = PN_XNUM; f->head.e_shentsize = sizeof(Elf64_Shdr); f->head.e_shnum = 1;
      f->head.e_shoff = UINT64_MAX - 63)
SPOIL(number_impossible, f->head.e_phnum = PN_XNUM; f->head.e_shentsize = sizeof(Elf64_Shdr); f->head.e_shnum = 1;
      f->head.e_shoff = 2 * PAGE)
SPOIL(no_notes, f->note[0].p_type = PT_LOAD)
SPOIL(two_note_segments, f->head.e_phnum = 2; f->note[1] = f->note[0]; f->note[1].p_filesz = 12)
SPOIL(notes_outside, f->note[0].p_offset = UINT64_MAX - 100; f->note[0].p_filesz = 100)
SPOIL(notes_huge, f->note[0].p_filesz = UINT64_MAX / 2)
SPOIL(note_too_long, f->nhdr.n_descsz = UINT32_MAX - 2)
SPOIL(note_name_too_long, f->nhdr.n_namesz = UINT32_MAX)
SPOIL(note_of_others, f->nhdr.n_type = 1)
SPOIL(note_twice, f->notes = 2)
SPOIL(note_torn, f->note[0].p_filesz = 30)
SPOIL(no_message, static uint8_t junk[] = { 0xff, 0xff, 0xff, 0xff, 0xff }; f->raw = junk;
      f->raw_len = sizeof junk)
SPOIL(length_lies, static uint8_t lie[] = { 0x22, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x08 }; f->raw = lie;
      f->raw_len = sizeof lie)
SPOIL(other_version, f->m.version = 3)
SPOIL(no_process, f->m.process = NULL)
SPOIL(no_job, f->m.job = NULL)
SPOIL(nested_job, static Godwit__Ckpt__Process *again[1]; again[0] = &f->process; f->job.processes = again;
      f->job.n_processes = 1)
SPOIL(index_beyond, f->m.index = 1)
SPOIL(too_many_processes, f->m.of = UINT32_MAX)
SPOIL(processes_missing, f->m.of = 2)
SPOIL(pid_zero, f->process.pid = 0)
SPOIL(pid_negative, f->process.pid = -1)
SPOIL(other_pid, f->process.pid = 1; f->thread[0].tid = 1)
SPOIL(no_threads, f->process.n_threads = 0)
SPOIL(not_the_leader, f->thread[0].tid = 8)
SPOIL(tid_negative, f->thread[1].tid = INT32_MIN)
SPOIL(short_registers, f->thread[1].regs.len = 8)
SPOIL(no_memory, f->process.memory = NULL)
SPOIL(overlap, f->region[1].start = HEAP + 3 * PAGE)
SPOIL(backwards, f->region[1].end = f->region[1].start)
SPOIL(unaligned, f->region[0].end += 1)
SPOIL(kernel_address, f->region[1].end = 0xffffffff80000000)
SPOIL(unknown_kind, f->region[1].kind = 77)
SPOIL(odd_protection, f->region[1].prot = 0xff)
SPOIL(odd_auxv, f->memory.auxv = (ProtobufCBinaryData) { 5, f->page })
SPOIL(odd_vdso, f->memory.vdso_len = 1ull << 40)
SPOIL(wrong_vdso, f->m.vdso = (ProtobufCBinaryData) { 100, f->page })
SPOIL(odd_siginfo, f->m.siginfo = (ProtobufCBinaryData) { 100, f->page })
SPOIL(chunk_nowhere, f->chunk[0].start = HEAP + 8 * PAGE)
SPOIL(chunk_half_nowhere, f->chunk[0].start += 3 * PAGE; f->chunk[0].bytes = 2 * PAGE; f->chunk[0].offset = 0)
SPOIL(chunk_outside, f->chunk[0].offset = 1ull << 60)
SPOIL(chunk_empty, f->chunk[0].bytes = 0)
SPOIL(chunk_huge, f->chunk[0].bytes = 1ull << 40)
SPOIL(chunk_unaligned, f->chunk[0].start += 8)
SPOIL(chunk_wraps, f->chunk[0].start = UINT64_MAX - PAGE + 1)
SPOIL(chunks_overlap, f->m.n_chunks = 2; f->chunk[1].start = f->chunk[0].start)
SPOIL(chunk_stored_huge, f->chunk[0].stored = UINT64_MAX)
SPOIL(no_hash, f->m.hash.len = 0)
SPOIL(short_hash, f->m.hash.len = 8)
SPOIL(far_hashes, f->m.hashes = UINT64_MAX - 8)

static const struct {
	const char *name;
	void (*spoil)(struct fake *f);
	const char *words;
} cases[] = {
#define CASE(name, words)                                                                                         \
	{                                                                                                         \
#name, name, words                                                                                \
	}
	CASE(empty_file, "outside of the file"),
	CASE(no_magic, "not an ELF file"),
	CASE(other_class, "another architecture"),
	CASE(other_machine, "another architecture"),
	CASE(executable, "not a core file"),
	CASE(header_sizes, "unknown version"),
	CASE(headers_outside, "program headers are outside"),
	CASE(many_headers, "program headers are outside"),
	CASE(number_missing, "number of segments is missing"),
	CASE(number_outside, "section headers are outside"),
	CASE(number_impossible, "impossible number of segments"),
	CASE(no_notes, "no notes"),
	CASE(two_note_segments, "more than one segment of notes"),
	CASE(notes_outside, "notes are outside"),
	CASE(notes_huge, "too many notes"),
	CASE(note_too_long, "longer than all notes"),
	CASE(note_name_too_long, "longer than all notes"),
	CASE(note_of_others, "no GODWIT note"),
	CASE(note_twice, "more than one GODWIT note"),
	CASE(note_torn, "longer than all notes"),
	CASE(no_message, "not a message"),
	CASE(length_lies, "not a message"),
	CASE(other_version, "version 3"),
	CASE(no_process, "without a process"),
	CASE(no_job, "the job is not where it should be"),
	CASE(nested_job, "the job is not where it should be"),
	CASE(index_beyond, "impossible number of processes"),
	CASE(too_many_processes, "impossible number of processes"),
	CASE(processes_missing, "do not belong together"),
	CASE(pid_zero, "without a process"),
	CASE(pid_negative, "without a process"),
	CASE(other_pid, "under the name of another"),
	CASE(no_threads, "without threads"),
	CASE(not_the_leader, "not the process's leader"),
	CASE(tid_negative, "impossible number"),
	CASE(short_registers, "impossible number of registers"),
	CASE(no_memory, "without memory"),
	CASE(overlap, "overlapping mappings"),
	CASE(backwards, "impossible bounds"),
	CASE(unaligned, "impossible bounds"),
	CASE(kernel_address, "impossible bounds"),
	CASE(unknown_kind, "unknown kind"),
	CASE(odd_protection, "impossible protections"),
	CASE(odd_auxv, "impossible auxiliary vector"),
	CASE(odd_vdso, "impossible vDSO"),
	CASE(wrong_vdso, "vDSO of another length"),
	CASE(odd_siginfo, "impossible siginfo"),
	CASE(chunk_nowhere, "where nothing is mapped"),
	CASE(chunk_half_nowhere, "where nothing is mapped"),
	CASE(chunk_outside, "outside of the file"),
	CASE(chunk_empty, "impossible bounds"),
	CASE(chunk_huge, "impossible bounds"),
	CASE(chunk_unaligned, "impossible bounds"),
	CASE(chunk_wraps, "impossible bounds"),
	CASE(chunks_overlap, "out of order"),
	CASE(chunk_stored_huge, "outside of the file"),
	CASE(no_hash, "no hash"),
	CASE(short_hash, "no hash"),
	CASE(far_hashes, "hashes of page contents outside"),
};

static char dir[64], image[96];

static int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof dir, "/tmp/godwit-hostile-XXXXXX");
	assert_non_null(mkdtemp(dir));
	(void)snprintf(image, sizeof image, "%s/image", dir);
	assert_int_equal(mkdir(image, 0700), 0);
	return sodium_init() < 0;
}

static int teardown(void **state)
{
	_cleanup_free_ char *command = xasprintf("rm -rf %s", dir);

	(void)state;
	return system(command);
}

static struct fake *make(void)
{
	struct fake *f = xcalloc(1, sizeof *f);

	make_message(f);
	make_frame(f);
	return f;
}

static void refused(const char *words)
{
	struct image *im = NULL;
	struct err e = { 0 };
	int err = image_open(image, &im, &e);

	image_close(im);
	if (!err)
		fail_msg("taken, though: %s", words);
	if (!strstr(err_text(&e), words))
		fail_msg("refused, but not for \"%s\": %s", words, err_text(&e));
}

static void right_one_is_taken(void **state)
{
	_cleanup_free_ struct fake *f = make();
	struct image *im = NULL;
	struct err e = { 0 };

	(void)state;
	write_fake(f, image);
	if (image_open(image, &im, &e) < 0 || image_pages(im, 0, NULL, NULL, &e) < 0)
		fail_msg("%s", err_text(&e));
	image_close(im);
}

static void each_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ struct fake *f = make();

		cases[i].spoil(f);
		write_fake(f, image);
		refused(cases[i].words);
	}
	print_message("# %zu images were refused by name\n", ARRAY_LEN(cases));
}

static void not_what_was_written(void **state)
{
	_cleanup_free_ struct fake *f = make();
	struct image *im = NULL;
	struct err e = { 0 };

	(void)state;
	f->page[100]++;
	write_fake(f, image);
	assert_int_equal(image_open(image, &im, &e), 0);
	assert_int_equal(image_pages(im, 0, NULL, NULL, &e), -EBADMSG);
	assert_non_null(strstr(err_text(&e), "not what was written"));
	image_close(im);
	f->page[100]--;
	f->chunk[0].stored = 64;
	write_fake(f, image);
	assert_int_equal(image_open(image, &im, &e), 0);
	assert_int_equal(image_pages(im, 0, NULL, NULL, &e), -EBADMSG);
	assert_non_null(strstr(err_text(&e), "cannot be decompressed"));
	image_close(im);
}

/* Things in the directory that are no files, and directories that are links. */
static void other_things(void **state)
{
	_cleanup_free_ struct fake *f = make();
	_cleanup_free_ char *core = xasprintf("%s/7.core", image), *other = xasprintf("%s/x", image);
	_cleanup_free_ char *second = xasprintf("%s/8.core", image), *link = xasprintf("%s/link", dir);
	struct image *im = NULL;
	struct err e = { 0 };

	(void)state;
	(void)unlink(core);
	refused("no core files");
	write_fake(f, image);
	assert_int_equal(rename(core, other), 0);
	assert_int_equal(symlink("x", core), 0);
	refused("cannot open it");
	(void)unlink(core);
	assert_int_equal(mkfifo(core, 0600), 0);
	refused("not a regular file");
	(void)unlink(core);
	assert_int_equal(mkdir(core, 0700), 0);
	refused("not a regular file");
	(void)rmdir(core);
	assert_int_equal(rename(other, core), 0);
	/* The same process a second time, under another name and under its own. */
	f->name = "8.core";
	write_fake(f, image);
	refused("under the name of another");
	f->process.pid = f->thread[0].tid = 8;
	f->thread[1].tid = 9;
	write_fake(f, image);
	refused("do not belong together");
	(void)unlink(second);
	/* Names that only look like one are none of ours. */
	f->name = "08.core";
	write_fake(f, image);
	f->name = "7.core.old";
	write_fake(f, image);
	assert_int_equal(image_open(image, &im, &e), 0);
	image_close(im);
	assert_int_equal(symlink("image", link), 0);
	assert_int_equal(image_open(link, &im, &e), -ENOTDIR);
	assert_int_equal(image_open("/nonexistent/image", &im, &e), -ENOENT);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(right_one_is_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(each_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(not_what_was_written, setup, teardown),
		cmocka_unit_test_setup_teardown(other_things, setup, teardown),
	};

	return cmocka_run_group_tests_name("hostile images", tests, NULL, NULL);
}
