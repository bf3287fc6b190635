/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_IMAGE_PRIVATE_H
#define GW_IMAGE_PRIVATE_H

/* What the files of src/image share; nobody else includes it. */

#include <elf.h>
#include <sodium.h>
#include <zstd.h>

#include "image/image.h"

#define IMAGE_OWNER "GODWIT"
/* "GODW". BFD looks at types before owners, so it is one that nobody else has. */
#define IMAGE_NOTE 0x57444f47u
#define IMAGE_HASH_LEN 32u
/* As a job's name and pids allow. */
#define IMAGE_NAME_MAX 32u

/* --- notes.c --- */

/* Bytes that grow. */
struct notes {
	uint8_t *bytes;
	size_t len, room;
};

#define IMAGE_SIGINFO_LEN 128u
#define IMAGE_ARGS_LEN 80u

/* Appends the notes that gdb understands: of the process, and of each thread. `args`: its command line, shortened.
 */
int notes_add_process(struct notes *n, const Godwit__Ckpt__Job *job, const struct image_process *p,
		      const char *args, struct err *e) must_check;
void notes_add(struct notes *n, const char *owner, uint32_t type, const void *desc, size_t len);
void notes_done(struct notes *n);

/* --- segments.c --- */

struct segments {
	Elf64_Phdr *v;
	size_t n, room;
};

/* One segment or more for each mapping, with what of its contents lies in the file. `holes`: what the file has
 * between contents of one space is zero. */
void segments_add_process(struct segments *s, const Godwit__Ckpt__Process *p, Godwit__Image__Chunk *const *chunks,
			  size_t n_chunks, uint64_t vdso_offset, bool holes);
void segments_done(struct segments *s);

/* --- hash.c --- */

/* Over space, address and hash of each page that is not zero, in order: what godwit.image.Image.hash is. */
struct contents_hash {
	crypto_generichash_state state;
};

bool page_is_zero(const uint8_t *page);
/* BLAKE2b; of a zero page: zeros. */
void page_hash(const uint8_t *page, uint8_t ret[IMAGE_HASH_LEN]);
void contents_hash_init(struct contents_hash *h);
/* Whole pages. */
void contents_hash_add(struct contents_hash *h, uint32_t space, uint64_t start, const uint8_t *bytes, size_t len);
/* A page by its hash. */
void contents_hash_add_page(struct contents_hash *h, uint32_t space, uint64_t at,
			    const uint8_t hash[IMAGE_HASH_LEN]);
void contents_hash_end(struct contents_hash *h, uint8_t ret[IMAGE_HASH_LEN]);

/* --- contents.c --- */

/* The whole length, or -errno; the end of the file in between is -EBADMSG. */
int file_write_at(int fd, const void *buf, size_t len, uint64_t at);
int file_read_at(int fd, void *buf, size_t len, uint64_t at);

/* Where `start` to `end` of a space lies in the file. `stored` as in godwit.image.Chunk; `hash`: which of the
 * hashes is that of its first page, if they are known. */
struct piece {
	uint32_t space;
	uint64_t start, end, offset, stored;
	size_t hash;
};

struct update;

/* Page contents that are being written. */
struct contents {
	int fd; /* the caller's */
	bool compress;
	struct update *update; /* NULL: the file is new */
	struct frame_hash
		*frame;	  /* to be sealed: fed with all that is written, contents are hashed as they come */
	uint64_t end;	  /* of a new file, so far */
	uint64_t written; /* bytes of contents */
	struct piece *pieces;
	size_t n, room;
	uint8_t *hashes; /* of each page, as it came */
	size_t n_hashes, hash_room;
	uint8_t *packed;
	ZSTD_CCtx *zstd;
};

void contents_init(struct contents *c, int fd, bool compress);
void contents_done(struct contents *c);
/* Writes what is not page contents, and feeds the frame's hash. */
int contents_write(struct contents *c, const void *buf, size_t len, uint64_t at);
/* Room for `len` bytes that are not page contents, page-aligned. */
uint64_t contents_room(struct contents *c, uint64_t len);
/* Whole pages, anywhere; to be compressed: in order, and at most IMAGE_CHUNK_MAX. */
int contents_put(struct contents *c, uint32_t space, uint64_t start, const void *bytes, size_t len,
		 struct err *e) must_check;
/* All has been put: fills m->chunks. */
int contents_list(struct contents *c, Godwit__Image__Image *m, struct err *e) must_check;
/* Reads a page of the process's addresses back. -ENOENT: it was not put, or is compressed. */
int contents_get(const struct contents *c, const Godwit__Image__Image *m, uint64_t start, void *page);
/* Writes the hashes behind the contents; fills m->hash and m->hashes. Sends the contents to the disk meanwhile. */
int contents_hashes(struct contents *c, Godwit__Image__Image *m, struct err *e) must_check;

/* --- update.c --- */

struct place;

/* The image of that one process at its place, to be changed; NULL: it does not suit, write a new one. */
struct update *update_open(const struct place *p, int32_t pid);
/* The same in a file that shares its blocks with that of another image, in the directory that is to take its
 * place. */
struct update *update_clone(const struct place *p, const char *image, int32_t pid);
int update_fd(const struct update *u); /* stays its own */
/* True if the image has that page; *ret_offset: where. */
bool update_has(struct update *u, uint32_t space, uint64_t start, const uint8_t hash[IMAGE_HASH_LEN],
		uint64_t *ret_offset);
/* A free page of the file: `wanted`, if it is free (0: any). */
uint64_t update_take(struct update *u, uint64_t wanted);
uint64_t update_room(struct update *u, uint64_t len);
/* The header is about to be written: from now on the file may be needed as the old image or as the new one. */
void update_commit(struct update *u);
/* It is on the disk: frees what only the old image needed. `tail`: where notes and headers are. */
void update_committed(struct update *u, const Godwit__Image__Image *m, const Elf64_Phdr *segments, size_t n,
		      uint64_t tail, uint64_t tail_len);
/* Without a commit: the old image is all that stays. NULL is permitted. */
void update_free(struct update *u);

/* --- place.c --- */

/* Where an image goes, and the directory in which it grows until then. */
struct place {
	char *path;
	const char *last; /* of path: its last component */
	bool replace;
	int parent, dir;
	char temporary[64]; /* dir's name in parent, "" once it is gone */
};

int place_open(struct place *p, const char *path, bool replace, struct err *e) must_check;
/* All of it is on the disk: the directory takes its place. */
int place_take(struct place *p, struct err *e) must_check;
/* Removes what did not get there. */
void place_done(struct place *p);

/* --- inside.c --- */

/* A core file that is being read. */
struct core {
	int fd;
	uint64_t size;
	int32_t pid;		      /* by its name */
	uint32_t inside;	      /* what the cell calls it */
	uint8_t hash[IMAGE_HASH_LEN]; /* of the message */
	Godwit__Image__Image *message;
};

/* What of a core faces strangers' bytes: its ELF structure, our message, zstd's frames. In a cell, or, for a
 * fuzzer, here. */
int core_decode(const struct core *c, Godwit__Image__Image **ret, struct err *e) must_check;
/* `buf`, `packed`: IMAGE_CHUNK_MAX and twice that. */
int core_chunk(const struct core *c, size_t k, uint8_t *buf, uint8_t *packed, struct err *e) must_check;

enum inside { INSIDE_OPEN = 1, INSIDE_CHUNK };
/* The cell's work; `arg`: a struct image_cores, whose descriptors stay open. Questions: INSIDE_OPEN of core
 * index[0] -> its message, written anew; INSIDE_CHUNK index[1] of core index[0] -> its contents. */
struct image_cores {
	struct core *v;
	size_t n;
};
void inside_serve(int sock, void *arg);

/* --- seal.c --- */

/* What is not page contents, fed by ascending offsets, the first page last. */
struct frame_hash {
	crypto_generichash_state state;
	uint64_t page;
	uint8_t bytes[IMAGE_PAGE];
};
void frame_hash_init(struct frame_hash *h);
void frame_hash_add(struct frame_hash *h, const void *bytes, size_t len, uint64_t at);
void frame_hash_end(struct frame_hash *h, uint8_t ret[IMAGE_HASH_LEN]);
void message_hash(const void *bytes, size_t len, uint8_t ret[IMAGE_HASH_LEN]);

struct sealed_core {
	int32_t pid;
	uint64_t size;
	uint8_t message[IMAGE_HASH_LEN], frame[IMAGE_HASH_LEN];
};
int seal_write(int dir, const struct sealed_core *cores, uint32_t n, image_seal_fn *fn, void *arg,
	       struct err *e) must_check;
/* -ENOENT, without words: there is none. *ret_cores: the caller's, also after an error. */
int seal_read(int dir, struct image_seal *ret, struct sealed_core **ret_cores, uint32_t *ret_n,
	      struct err *e) must_check;
/* Is the core file what was sealed, page contents apart? */
int seal_check(const struct core *c, const struct sealed_core *s, struct err *e) must_check;

/* --- check.c --- */

/* Is what a file says of itself possible? `size`: of the file. */
int image_check(const Godwit__Image__Image *m, uint64_t size, int32_t pid, struct err *e) must_check;

/* --- core.c --- */

/* Finds the GODWIT note of a core file; its contents are the caller's (heap). */
int core_read(int fd, uint64_t size, uint8_t **ret, size_t *ret_len, struct err *e) must_check;
/* All its program headers (heap), and where they lie, a section header behind them included. */
int core_segments(int fd, uint64_t size, Elf64_Phdr **ret, size_t *ret_n, uint64_t *ret_at, uint64_t *ret_len,
		  struct err *e) must_check;

#endif
