/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_IMAGE_PRIVATE_H
#define GW_IMAGE_PRIVATE_H

/* What the files of src/image share; nobody else includes it. */

#include <elf.h>
#include <sodium.h>

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

/* One segment or more for each mapping, with what of its contents lies in the file. */
void segments_add_process(struct segments *s, const Godwit__Ckpt__Process *p, Godwit__Image__Chunk *const *chunks,
			  size_t n_chunks, uint64_t vdso_offset);
void segments_done(struct segments *s);

/* --- hash.c --- */

struct contents_hash {
	crypto_generichash_state state;
};

bool page_is_zero(const uint8_t *page);
void contents_hash_init(struct contents_hash *h);
/* Whole pages; those that are zero are left out. */
void contents_hash_add(struct contents_hash *h, uint32_t space, uint64_t start, const uint8_t *bytes, size_t len);
void contents_hash_end(struct contents_hash *h, uint8_t ret[IMAGE_HASH_LEN]);

/* --- check.c --- */

/* Is what a file says of itself possible? `size`: of the file. */
int image_check(const Godwit__Image__Image *m, uint64_t size, int32_t pid, struct err *e) must_check;

/* --- core.c --- */

/* Finds the GODWIT note of a core file; its contents are the caller's (heap). */
int core_read(int fd, uint64_t size, uint8_t **ret, size_t *ret_len, struct err *e) must_check;

#endif
