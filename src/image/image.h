/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_IMAGE_IMAGE_H
#define GW_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "image.pb-c.h"

/*
 * A checkpoint on disk: a directory, mode 0700, with an ELF core file PID.core for each process of the job. gdb
 * opens them like any core; what gdb does not know is in one note of owner GODWIT, a godwit.image.Image.
 *
 *	ELF header | page contents, page-aligned | their hashes | notes | program headers
 *
 * (after an update: in any order). Page contents are sparse: a page that is zero is a hole. Each mapping is a
 *PT_LOAD segment; of a file's private mapping only pages that differ from the file are there (gdb finds the others
 *in the file, by NT_FILE), in segments of their own. Memory shared under several addresses lies there once, and
 *all its segments point to it. Compressed contents are not in any segment: gdb needs the image expanded
 *(image_copy).
 *
 * An image is written beside its final place and renamed when all of it is on the disk: a full disk or a crash
 * leaves the old image, or none. An update changes the file that is there, and has the same property. It is
 *written and read with the caller's rights. No symbolic link is followed below the path's last component but one.
 *What is read is believed only after it was checked; every refusal names file and reason.
 */

#define IMAGE_VERSION 2u
#define IMAGE_PROCESSES_MAX 4096u
#define IMAGE_CHUNKS_MAX (1u << 22)
#define IMAGE_MESSAGE_MAX (256u << 20)
#define IMAGE_PAGE 4096u
/* How many bytes at most are asked of a source, or given to a sink, at once. */
#define IMAGE_CHUNK_MAX (256u << 10)

/* --- seals: see seal.c --- */

#define IMAGE_SEAL_NAME "seal"
#define IMAGE_SEAL_ID_LEN 8u
#define IMAGE_DIGEST_LEN 64u
#define IMAGE_WORD_LEN 32u
struct image_seal {
	uint8_t id[IMAGE_SEAL_ID_LEN];	  /* of the key */
	uint8_t digest[IMAGE_DIGEST_LEN]; /* of all of the image */
	uint8_t word[IMAGE_WORD_LEN];	  /* the key's, about the digest */
};
/* Asks whoever has the key for its word. */
typedef int image_seal_fn(void *arg, const uint8_t digest[IMAGE_DIGEST_LEN], uint8_t ret_id[IMAGE_SEAL_ID_LEN],
			  uint8_t ret_word[IMAGE_WORD_LEN], struct err *e);

/* --- writing --- */

enum image_flag {
	IMAGE_REPLACE = 1,  /* take the place of an image that is there */
	IMAGE_COMPRESS = 2, /* zstd */
	IMAGE_UPDATE = 4,   /* the same, but write only what has changed, if that can be done (update.c) */
	IMAGE_SEAL = 8,	    /* covers every byte; a whole image, hashed as it comes: see image_seal_by() */
};

/* Page contents exist from `start` to `end`, page-aligned, in a space as in godwit.image.Chunk. */
struct image_extent {
	uint32_t space;
	uint64_t start, end;
};

/* Copies `len` bytes (whole pages, at most IMAGE_CHUNK_MAX) from `start` of a space into `buf`. */
typedef int image_source_fn(void *arg, uint32_t space, uint64_t start, void *buf, size_t len, struct err *e);

/* One process as it goes into an image. The extents ascend by space, then start, and do not overlap. */
struct image_process {
	const Godwit__Ckpt__Process *process;
	const struct image_extent *extents;
	size_t n_extents;
	image_source_fn *source;
	void *arg;
	/* For gdb only. */
	int32_t parent;	     /* pid, as the job counts */
	const uint8_t *vdso; /* process->memory->vdso_len bytes; NULL: not known */
	const void *siginfo; /* 128 bytes: why it was stopped; NULL: not by a signal */
};

struct image_writer;

/* Begins an image that will be at `path`, whose parent exists. -EEXIST if something is there and IMAGE_REPLACE was
 * not given; something that is not an image is never replaced. `name` and `host` as in godwit.image.Image. */
int image_create(const char *path, unsigned flags, const char *name, const char *host, struct image_writer **ret,
		 struct err *e) must_check;
/* Before anything is added: what is as it is in that image need not be written, if files can share blocks there.
 */
void image_share(struct image_writer *w, const char *other);
/* Adds a process; the job's leader first. `job` has everything but processes (which may be there and are not
 * looked at). */
int image_add(struct image_writer *w, const Godwit__Ckpt__Job *job, const struct image_process *p,
	      struct err *e) must_check;
/*
 * The same for contents that come in pieces, in any order: image_begin, image_put for each piece (whole pages of a
 * space), image_end. What has been put is in the file, but not on the disk. `p` without extents and source. Not
 * with IMAGE_COMPRESS.
 */
int image_begin(struct image_writer *w, int32_t pid, struct err *e) must_check;
int image_put(struct image_writer *w, uint32_t space, uint64_t start, const void *bytes, size_t len,
	      struct err *e) must_check;
int image_end(struct image_writer *w, const Godwit__Ckpt__Job *job, const struct image_process *p,
	      struct err *e) must_check;
/* Works out hashes (in threads of its own, which are gone on return), and puts it in its place, on disk. The
 * writer is still to be freed. */
int image_commit(struct image_writer *w, struct err *e) must_check;
/* With IMAGE_SEAL: by this. */
void image_seal_by(struct image_writer *w, image_seal_fn *fn, void *arg);
/* Bytes of page contents that went into files. */
uint64_t image_written(const struct image_writer *w);
/* Removes what was written, unless it was committed. NULL is permitted. */
void image_writer_free(struct image_writer *w);

/* --- reading --- */

struct image;

/* Opens an image and checks everything but page contents and the meaning of the checkpoint message. -EBADMSG: it
 * is damaged or hostile; -ENOENT, -ELOOP, -EACCES and so on as open() says. */
int image_open(const char *path, struct image **ret, struct err *e) must_check;
/* The same without a process of its own for what has a structure: for fuzzers, who look for what happens in it. */
int image_open_here(const char *path, struct image **ret, struct err *e) must_check;
void image_close(struct image *im); /* NULL is permitted */

/* The whole job, processes included, leader first. Valid until image_close(). */
const Godwit__Ckpt__Job *image_job(const struct image *im);
/* NULL: it is not sealed. If it is, every byte but page contents has been checked against the digest, and they are
 * by image_pages(); the word is for whoever has the key. */
const struct image_seal *image_seal(const struct image *im);
/* What the i-th file says of itself; i < image_job()->n_processes. */
const Godwit__Image__Image *image_header(const struct image *im, size_t i);

/* Takes `len` bytes of page contents, whole pages. Zero pages are given too if they were in an extent. */
typedef int image_sink_fn(void *arg, uint32_t space, uint64_t start, const void *buf, size_t len, struct err *e);
/* Gives all page contents of the i-th process, ascending by space and start, and checks them against the hash: an
 * error
 * (-EBADMSG) may come after everything has been given. `sink` NULL: only checks. */
int image_pages(struct image *im, size_t i, image_sink_fn *sink, void *arg, struct err *e) must_check;

/* Writes an open image anew, compressed or not. */
int image_copy(struct image *im, const char *path, unsigned flags, struct err *e) must_check;

#endif
