/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_FILE_H
#define GW_STATE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "state/state.h"

/*
 * Files, as the rest of the engine sees them: what is mapped is told to file_add_mapped() at the source and asked
 * of file_target_fd() at the destination; what has to be carried flows over the movers' own stream in four calls,
 * two a side, once before the freeze and once in it.
 *
 *   source                                       destination
 *   check:    file_check (module)                admit:    file_admit (module)
 *   prepare:  describe, then the description ->
 *             file_carry_serve    <- asks          file_carry_fetch, before any module's prepare
 *                                 -> content
 *   move:     take, then the checkpoint ->
 *             file_carry_push     -> what changed  file_carry_pull, before any module's restore
 *
 * file_source_done() and file_target_done() belong on every way out, the successful one included.
 */

/* The movers' stream, sealed or not: the whole length or -errno. */
struct file_io {
	void *ctx;
	int (*send)(void *ctx, const void *buf, size_t len, struct err *e);
	int (*recv)(void *ctx, void *buf, size_t len, struct err *e);
	struct decoder *decoder; /* where what comes is decoded (image/decode.h); NULL: here */
	/* FILE_FRAME_FAILED came in place of a length: says why the other side has given up. May be NULL. */
	int (*failed)(void *ctx, struct err *e);
};
#define FILE_FRAME_FAILED 0x6c696166u

/* --- source --- */

/*
 * A file that is mapped (or is the executable). `fd` is any descriptor of it, O_PATH excepted, as from
 * /proc/PID/map_files or /proc/PID/exe; it is borrowed. `writes`: the mapping is shared and may be written through
 * (VM_SHARED and VM_MAYWRITE). Returns the id that Region.object carries, the same one for the same file and
 * `writes`; it stays the same from check to take. May be called in check, describe and take, in any order with
 * file's own turn. A file that cannot move is named in s->problems (if there is a list) and still gets an id.
 */
int file_add_mapped(struct state_source *s, int fd, bool writes, struct err *e) must_check;

/* Answers the destination's file_carry_fetch(); reads no more than it asks for. */
int file_carry_serve(struct state_source *s, const struct file_io *io, struct err *e) must_check;
/* In the freeze: sends again what changed since it was served. */
int file_carry_push(struct state_source *s, const struct file_io *io, struct err *e) must_check;

/* When the threads have been stopped: -EAGAIN if the job holds what it cannot take along and may soon let go: a
 * lock to write with on a shared file, or one of any kind (`reading_too`). It should run on, and be stopped again.
 */
int file_may_freeze(struct state_source *s, bool reading_too, struct err *e) must_check;
/* Waits, while the job runs, until it holds nothing of that kind; false if it does so to the end. */
bool file_wait_unlocked(struct state_source *s, bool reading_too, uint64_t until_us);

/* Removes the probe files by which the destination has recognised shared file systems. Idempotent; describe does
 * so, when the destination has answered, and so does file_source_done(). */
void file_probe_done(struct state_source *s);
void file_source_done(struct state_source *s);

/* Connections to flipd, in a job's message: are there any, and, when flipd keeps still, what the program has not
 * read yet of each. */
bool file_flip_any(const Godwit__Ckpt__Job *job);
int file_flip_take_unread(struct state_source *s, Godwit__Ckpt__Job *job, struct err *e) must_check;

/* --- destination --- */

int file_carry_fetch(struct state_target *d, const struct file_io *io, struct err *e) must_check;
int file_carry_pull(struct state_target *d, const struct file_io *io, struct err *e) must_check;

/* --- an image in place of either, file_image.c --- */

struct file_parts {
	Godwit__Ckpt__FilePart **list;
	size_t n;
};
/* As file_carry_fetch and file_carry_pull: asks for what has no name, and keeps it (malloc'ed). */
int file_image_fetch(const Godwit__Ckpt__Job *early, const struct file_io *io, struct file_parts *ret,
		     struct err *e) must_check;
int file_image_pull(const struct file_io *io, struct file_parts *ret, struct err *e) must_check;
/* Fills in hashes of the files that are only read; those that cannot be opened, or have changed, go without. */
void file_image_note(Godwit__Ckpt__Job *early);
/* Refuses a file that is what it was by its name and inode only. */
int file_image_check(const Godwit__Ckpt__Job *early, struct err *e) must_check;
/* As file_carry_serve and file_carry_push. */
int file_image_serve(const Godwit__Ckpt__Job *early, const struct file_parts *kept, const struct file_io *io,
		     struct err *e) must_check;
int file_image_push(const struct file_parts *late, const struct file_io *io, struct err *e) must_check;

/* The file behind an id of Job.files, open for what its mappings need (O_RDWR if one of them writes, else
 * O_RDONLY). Borrowed: valid until file_target_done(). Works from file_carry_fetch() on. */
int file_target_fd(struct state_target *d, uint32_t id, struct err *e) must_check;

/* The migration was called off after all: what was made under a name goes when file_target_done() comes. */
void file_target_undo(struct state_target *d);
void file_target_done(struct state_target *d);

#endif
