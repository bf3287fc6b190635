/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image's seal: the file `seal` beside the cores. It covers every byte of them.
 *
 *	"GODWIT SEAL 1" and zeros (16)  id of the key (8)  number of cores (4)  zero (4)
 *	for each core, by index:  pid (4)  zero (4)  size of the file (8)
 *	                          hash of the message in its note (32)  hash of its frame (32)
 *	the key's word (32)
 *
 * All numbers little-endian, all hashes BLAKE2b-256. The message holds the hash of the page contents; the frame is
 *all of the file that is neither uncompressed contents nor a zero page. The key's word is over the BLAKE2b-512
 *hash of what stands before it; whoever holds the key works it out (procd), not whoever writes the image.
 *
 * What is sealed was hashed in the writer's memory on its way to the file: the file system may be the user's own
 * invention, and the file is his.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/util.h"
#include "image/private.h"

static const char magic[16] = "GODWIT SEAL 1";

#define HEAD_LEN 32u
#define CORE_LEN 80u
#define SEALED_MAX (HEAD_LEN + IMAGE_PROCESSES_MAX * CORE_LEN + IMAGE_HASH_LEN)

static void put_u32(uint8_t *to, uint32_t v)
{
	v = htole32(v);
	memcpy(to, &v, sizeof v);
}

static void put_u64(uint8_t *to, uint64_t v)
{
	v = htole64(v);
	memcpy(to, &v, sizeof v);
}

static uint32_t get_u32(const uint8_t *from)
{
	uint32_t v;

	memcpy(&v, from, sizeof v);
	return le32toh(v);
}

static uint64_t get_u64(const uint8_t *from)
{
	uint64_t v;

	memcpy(&v, from, sizeof v);
	return le64toh(v);
}

/* --- the frame --- */

void frame_hash_init(struct frame_hash *h)
{
	*h = (struct frame_hash) { 0 };
	(void)crypto_generichash_init(&h->state, NULL, 0, IMAGE_HASH_LEN);
}

static void end_page(struct frame_hash *h)
{
	uint8_t number[8];

	if (page_is_zero(h->bytes))
		return;
	put_u64(number, h->page);
	(void)crypto_generichash_update(&h->state, number, sizeof number);
	(void)crypto_generichash_update(&h->state, h->bytes, sizeof h->bytes);
	memset(h->bytes, 0, sizeof h->bytes);
}

void frame_hash_add(struct frame_hash *h, const void *bytes, size_t len, uint64_t at)
{
	const uint8_t *from = bytes;

	while (len) {
		size_t in = at % IMAGE_PAGE, n = MIN(len, IMAGE_PAGE - in);

		if (at / IMAGE_PAGE != h->page) {
			end_page(h);
			h->page = at / IMAGE_PAGE;
		}
		memcpy(h->bytes + in, from, n);
		from += n;
		at += n;
		len -= n;
	}
}

void frame_hash_end(struct frame_hash *h, uint8_t ret[IMAGE_HASH_LEN])
{
	end_page(h);
	(void)crypto_generichash_final(&h->state, ret, IMAGE_HASH_LEN);
}

/* --- making one --- */

void message_hash(const void *bytes, size_t len, uint8_t ret[IMAGE_HASH_LEN])
{
	(void)crypto_generichash(ret, IMAGE_HASH_LEN, bytes, len, NULL, 0);
}

static void digest_of(const uint8_t *bytes, size_t len, uint8_t ret[IMAGE_DIGEST_LEN])
{
	(void)crypto_generichash(ret, IMAGE_DIGEST_LEN, bytes, len, NULL, 0);
}

static size_t statement(const struct sealed_core *cores, uint32_t n, uint8_t *to)
{
	memcpy(to, magic, sizeof magic);
	put_u32(to + 24, n);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *at = to + HEAD_LEN + (size_t)i * CORE_LEN;

		put_u32(at, (uint32_t)cores[i].pid);
		put_u64(at + 8, cores[i].size);
		memcpy(at + 16, cores[i].message, IMAGE_HASH_LEN);
		memcpy(at + 48, cores[i].frame, IMAGE_HASH_LEN);
	}
	return HEAD_LEN + (size_t)n * CORE_LEN;
}

int seal_write(int dir, const struct sealed_core *cores, uint32_t n, image_seal_fn *fn, void *arg, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = xcalloc(1, SEALED_MAX);
	_cleanup_fd_ int fd = -EBADF;
	uint8_t digest[IMAGE_DIGEST_LEN];
	size_t len = statement(cores, n, bytes);
	int err;

	/* The id is in the word already, by the key. */
	digest_of(bytes, len, digest);
	err = fn(arg, digest, bytes + 16, bytes + len, e);
	if (err < 0)
		return err;
	fd = openat(dir, IMAGE_SEAL_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, "cannot make the seal");
	err = file_write_at(fd, bytes, len + IMAGE_HASH_LEN, 0);
	if (!err && fsync(fd) < 0)
		err = -errno;
	return err < 0 ? err_code(e, err, "cannot write the seal") : 0;
}

/* --- reading one --- */

static int broken(struct err *e, const char *what)
{
	return err_set(e, -EBADMSG, "its seal is broken: %s", what);
}

int seal_read(int dir, struct image_seal *ret, struct sealed_core **ret_cores, uint32_t *ret_n, struct err *e)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	_cleanup_fd_ int fd = openat(dir, IMAGE_SEAL_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	size_t len;
	uint32_t n;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : err_errno(e, "cannot open the seal");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < (off_t)(HEAD_LEN + IMAGE_HASH_LEN) ||
	    st.st_size > (off_t)SEALED_MAX)
		return broken(e, "it is no seal");
	len = (size_t)st.st_size;
	bytes = xmalloc(len);
	if (file_read_at(fd, bytes, len, 0) < 0)
		return broken(e, "it cannot be read");
	n = get_u32(bytes + 24);
	if (memcmp(bytes, magic, sizeof magic) != 0 || n > IMAGE_PROCESSES_MAX ||
	    len != HEAD_LEN + (size_t)n * CORE_LEN + IMAGE_HASH_LEN || get_u32(bytes + 28))
		return broken(e, "it is no seal");
	*ret_cores = xcalloc(n + 1, sizeof **ret_cores);
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *at = bytes + HEAD_LEN + (size_t)i * CORE_LEN;
		struct sealed_core *c = &(*ret_cores)[i];

		c->pid = (int32_t)get_u32(at);
		c->size = get_u64(at + 8);
		memcpy(c->message, at + 16, IMAGE_HASH_LEN);
		memcpy(c->frame, at + 48, IMAGE_HASH_LEN);
	}
	*ret_n = n;
	memcpy(ret->id, bytes + 16, sizeof ret->id);
	memcpy(ret->word, bytes + len - IMAGE_HASH_LEN, sizeof ret->word);
	memset(bytes + 16, 0, sizeof ret->id);
	digest_of(bytes, len - IMAGE_HASH_LEN, ret->digest);
	return 0;
}

/* Where uncompressed contents lie. */
struct range {
	uint64_t at, end;
};

static int by_offset(const void *pa, const void *pb)
{
	const struct range *a = pa, *b = pb;

	return a->at < b->at ? -1 : a->at > b->at;
}

static int add_range(struct frame_hash *h, const struct core *c, uint64_t at, uint64_t end, uint8_t *buf)
{
	int err = 0;

	while (at < end && !err) {
		size_t n = (size_t)MIN(end - at, (uint64_t)IMAGE_CHUNK_MAX);

		err = file_read_at(c->fd, buf, n, at);
		if (!err)
			frame_hash_add(h, buf, n, at);
		at += n;
	}
	return err;
}

/* The first page comes last: its writer knows it last. */
static int hash_frame(const struct core *c, uint8_t ret[IMAGE_HASH_LEN])
{
	_cleanup_free_ struct range *r = xcalloc(c->message->n_chunks + 1, sizeof *r);
	_cleanup_free_ uint8_t *buf = xmalloc(IMAGE_CHUNK_MAX);
	uint64_t at = IMAGE_PAGE;
	struct frame_hash h;
	size_t n = 0;
	int err = 0;

	for (size_t i = 0; i < c->message->n_chunks; i++) {
		const Godwit__Image__Chunk *k = c->message->chunks[i];

		if (!k->stored)
			r[n++] = (struct range) { k->offset, k->offset + k->bytes };
	}
	qsort(r, n, sizeof *r, by_offset);
	r[n] = (struct range) { c->size, c->size };
	frame_hash_init(&h);
	for (size_t i = 0; i <= n && !err; i++) {
		if (r[i].at > at)
			err = add_range(&h, c, at, r[i].at, buf);
		at = MAX(at, r[i].end);
	}
	if (!err)
		err = add_range(&h, c, 0, MIN(c->size, (uint64_t)IMAGE_PAGE), buf);
	frame_hash_end(&h, ret);
	return err;
}

int seal_check(const struct core *c, const struct sealed_core *s, struct err *e)
{
	uint8_t frame[IMAGE_HASH_LEN];
	int err;

	if (c->pid != s->pid)
		return broken(e, "it is that of another process");
	if (c->size != s->size)
		return broken(e, "the file had another length");
	if (sodium_memcmp(c->hash, s->message, IMAGE_HASH_LEN) != 0)
		return broken(e, "the checkpoint message was another");
	err = hash_frame(c, frame);
	if (err < 0)
		return err_code(e, err, "cannot read it");
	return sodium_memcmp(frame, s->frame, IMAGE_HASH_LEN)
		       ? broken(e, "headers, notes or hashes were others, or there is something between them")
		       : 0;
}
