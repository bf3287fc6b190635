/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed images: whatever byte of one is changed, wherever, it is noticed. */
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
#define HEAP UINT64_C(0x10000000)
#define PAGES 40

static char dir[64];

/* Any key. */
static int give_word(void *arg, const uint8_t digest[IMAGE_DIGEST_LEN], uint8_t ret_id[IMAGE_SEAL_ID_LEN],
		     uint8_t ret_word[IMAGE_WORD_LEN], struct err *e)
{
	const char *key = arg;

	(void)e;
	memset(ret_id, 'k', IMAGE_SEAL_ID_LEN);
	(void)crypto_generichash(ret_word, IMAGE_WORD_LEN, digest, IMAGE_DIGEST_LEN, (const uint8_t *)key, 32);
	return 0;
}

static const char key[32] = "a key";

static bool word_is_right(const struct image_seal *s)
{
	uint8_t id[IMAGE_SEAL_ID_LEN], word[IMAGE_WORD_LEN];

	(void)give_word((void *)(uintptr_t)key, s->digest, id, word, NULL);
	return !memcmp(id, s->id, sizeof id) && !memcmp(word, s->word, sizeof word);
}

/* Some pages are zero, and there is a hole between the two extents. */
static int source(void *arg, uint32_t space, uint64_t start, void *buf, size_t len, struct err *e)
{
	(void)arg;
	(void)space;
	(void)e;
	memset(buf, 0, len);
	for (size_t at = 0; at < len; at += PAGE)
		if ((start + at) / PAGE % 5)
			memset((char *)buf + at, (int)((start + at) / PAGE % 251) + 1, PAGE);
	return 0;
}

static int write_image(const char *path, unsigned flags, struct err *e)
{
	Godwit__Ckpt__Job job = GODWIT__CKPT__JOB__INIT;
	Godwit__Ckpt__Process process = GODWIT__CKPT__PROCESS__INIT;
	Godwit__Ckpt__Memory memory = GODWIT__CKPT__MEMORY__INIT;
	Godwit__Ckpt__Region region = GODWIT__CKPT__REGION__INIT, *regions[] = { &region };
	Godwit__Ckpt__Thread thread = GODWIT__CKPT__THREAD__INIT, *threads[] = { &thread };
	struct image_extent extents[] = { { 0, HEAP, HEAP + PAGES * PAGE },
					  { 0, HEAP + (PAGES + 10) * PAGE, HEAP + (PAGES + 20) * PAGE } };
	static uint8_t regs[sizeof(struct user_regs_struct)], vdso[2 * IMAGE_PAGE] = { 'v' };
	struct image_process p = {
		.process = &process, .extents = extents, .n_extents = 2, .source = source, .vdso = vdso
	};
	struct image_writer *w = NULL;
	int err;

	region.kind = GODWIT__CKPT__REGION__KIND__ANON_PRIVATE;
	region.start = HEAP;
	region.end = HEAP + 100 * PAGE;
	region.prot = PROT_READ | PROT_WRITE;
	memory.regions = regions;
	memory.n_regions = 1;
	memory.vdso_start = HEAP * 2;
	memory.vdso_len = sizeof vdso;
	thread.tid = process.pid = 7;
	thread.regs = (ProtobufCBinaryData) { sizeof regs, regs };
	process.threads = threads;
	process.n_threads = 1;
	process.memory = &memory;
	err = image_create(path, flags, "web", "h1", &w, e);
	if (!err) {
		image_seal_by(w, give_word, (void *)(uintptr_t)key);
		err = image_add(w, &job, &p, e);
	}
	if (!err)
		err = image_commit(w, e);
	image_writer_free(w);
	return err;
}

enum verdict { WELL, REFUSED, WORD_WRONG, UNSEALED };

/* By which it would be known. */
static enum verdict judge(const char *path, struct err *e)
{
	struct image *im = NULL;
	enum verdict v = WELL;

	if (image_open_here(path, &im, e) < 0)
		return REFUSED;
	if (!image_seal(im))
		v = UNSEALED;
	else if (!word_is_right(image_seal(im)))
		v = WORD_WRONG;
	if (image_pages(im, 0, NULL, NULL, e) < 0)
		v = REFUSED;
	image_close(im);
	return v;
}

static void change_bytes(const char *path, const char *name, off_t step)
{
	_cleanup_free_ char *file = xasprintf("%s/%s", path, name);
	int fd = open(file, O_RDWR | O_CLOEXEC);
	struct err e = { 0 };
	struct stat st;
	uint8_t last;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	for (off_t at = 0; at < st.st_size; at += step) {
		uint8_t was, now;
		enum verdict v;

		assert_int_equal(pread(fd, &was, 1, at), 1);
		now = was ^ 1;
		assert_int_equal(pwrite(fd, &now, 1, at), 1);
		v = judge(path, &e);
		if (v != REFUSED && v != WORD_WRONG)
			fail_msg("byte %ld of %s is another, and nobody minds", (long)at, file);
		assert_int_equal(pwrite(fd, &was, 1, at), 1);
	}
	/* Something behind the end, or the end missing. */
	assert_int_equal(pread(fd, &last, 1, st.st_size - 1), 1);
	assert_int_equal(ftruncate(fd, st.st_size + 1), 0);
	assert_int_equal(judge(path, &e), REFUSED);
	assert_int_equal(ftruncate(fd, st.st_size - 1), 0);
	assert_int_equal(judge(path, &e), REFUSED);
	assert_int_equal(pwrite(fd, &last, 1, st.st_size - 1), 1);
	assert_int_equal(judge(path, &e), WELL);
	(void)close(fd);
}

static void every_byte_counts(void **state)
{
	static const unsigned how[] = { IMAGE_SEAL, IMAGE_SEAL | IMAGE_COMPRESS };
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(how); i++) {
		_cleanup_free_ char *path = xasprintf("%s/image%zu", dir, i);

		if (write_image(path, how[i], &e) < 0)
			fail_msg("%s", err_text(&e));
		if (judge(path, &e) != WELL)
			fail_msg("%s", err_text(&e));
		change_bytes(path, "seal", 1);
		change_bytes(path, "7.core", how[i] & IMAGE_COMPRESS ? 29 : 307);
	}
}

static void parts_of_two_do_not_fit(void **state)
{
	_cleanup_free_ char *a = xasprintf("%s/a", dir), *b = xasprintf("%s/b", dir);
	_cleanup_free_ char *from = xasprintf("%s/seal", a), *to = xasprintf("%s/seal", b);
	struct image *im = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(write_image(a, IMAGE_SEAL, &e), 0);
	assert_int_equal(write_image(b, 0, &e), 0);
	assert_int_equal(judge(b, &e), UNSEALED);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(judge(a, &e), UNSEALED);
	assert_int_equal(judge(b, &e), REFUSED);
	assert_non_null(strstr(e.text, "its seal is broken"));
	/* In a cell it is the same. */
	assert_int_equal(image_open(b, &im, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "its seal is broken"));
	/* An unsealed checkpoint over a sealed one takes the seal away. */
	assert_int_equal(rename(to, from), 0);
	assert_int_equal(judge(a, &e), WELL);
	assert_int_equal(write_image(a, IMAGE_UPDATE, &e), 0);
	assert_int_equal(judge(a, &e), UNSEALED);
}

static void no_key_no_seal(void **state)
{
	_cleanup_free_ char *path = xasprintf("%s/none", dir);
	struct image_writer *w = NULL;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(image_create(path, IMAGE_SEAL, "web", "h1", &w, &e), 0);
	assert_int_equal(image_commit(w, &e), -EINVAL);
	image_writer_free(w);
	assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_counts),
		cmocka_unit_test(parts_of_two_do_not_fit),
		cmocka_unit_test(no_key_no_seal),
	};
	_cleanup_free_ char *remove = NULL;
	int failed;

	(void)snprintf(dir, sizeof dir, "/dev/shm/godwit-seal-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	remove = xasprintf("rm -rf %s", dir);
	return system(remove) ? 1 : failed;
}
