/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_FILE_TARGET_H
#define GW_STATE_FILE_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"
#include "state/file.h"
#include "state/state.h"

/*
 * Private to the file modules: the destination's side. A *home* is where the content of one of the source's inodes
 * lives here; a *target* is an open file description made on it, ours until we exit, and handed to the blank as
 * often as it has descriptors for it.
 */

enum file_how { FILE_HOW_NONE, FILE_HOW_SHARED, FILE_HOW_SAME, FILE_HOW_CARRIED, FILE_HOW_PLACED };

struct file_home {
	uint64_t dev, ino; /* at the source */
	enum file_how how;
	bool writes; /* by one of its targets at least */
	bool wanted; /* asked of the source: the answer settles `how` */
	bool network;
	bool may_place; /* a written file that we may put where it was */
	bool replaces;	/* its own older version */
	bool base_rw;
	int base; /* handle: O_PATH of what is here, or the carried copy */
	char *path;
	const Godwit__Ckpt__OpenFile *m; /* one of its files, for mode, owner, times */
};

struct file_target {
	const Godwit__Ckpt__OpenFile *m;
	uint32_t id;
	size_t home;	 /* index + 1, 0: has none */
	int fd;		 /* the open file description */
	int map_fd;	 /* for mmap() */
	bool there_only; /* made in the blank (/dev/tty) */
};

struct pipe_target {
	uint32_t id;
	int read, write;
	bool filled;
};

struct shared_dev {
	uint64_t source, here;
};

struct file_given {
	uint32_t fd, file;
	bool cloexec;
};

struct file_targets {
	int root; /* of the job's mount namespace */
	struct file_home *homes;
	size_t n_homes;
	struct file_target *v; /* ascending ids */
	size_t n;
	struct pipe_target *pipes;
	size_t n_pipes;
	struct shared_dev *shared;
	size_t n_shared;
	struct file_given *given; /* ascending fds */
	size_t n_given;
	bool ready; /* everything restored: placed files stay */
};

#define FILE_FRAME_MAX (16u << 20)

struct file_targets *file_targets_get(struct state_target *d);
struct file_target *file_targets_find(struct file_targets *t, uint32_t id);

/* file.c */
void file_raise_own_limit(void);

/* file_content.c: source; written files on network file systems reach their server */
int file_sync(struct state_source *s, struct err *e) must_check;

/* file_admit.c */
int file_admit(struct state_target *d, const Godwit__Ckpt__Requirements *q, struct err *e) must_check;
bool file_is_shared(const struct file_targets *t, const Godwit__Ckpt__OpenFile *m, const struct stat *here);
bool file_is_volatile(const struct file_targets *t, const Godwit__Ckpt__OpenFile *m, const struct stat *here);
bool file_is_same(const Godwit__Ckpt__OpenFile *m, const struct stat *st, uint64_t fsid);
/* Opens a path of the source below `root`: no link leads out, nothing is triggered. -ENOENT and so on as open. */
int file_open_path(int root, const char *path, uint64_t flags) must_check;
bool file_path_is_sane(const char *path);
uint64_t file_fsid(int fd);

/* file_carry.c */
/* Answers one question with that file: the same, or all of its content. */
int file_carry_answer(const struct file_io *io, const Godwit__Ckpt__FileWant *w, int fd, const struct stat *st,
		      struct err *e) must_check;
int file_frame_send(const struct file_io *io, const void *msg, size_t len, struct err *e) must_check;
int file_frame_recv(const struct file_io *io, uint8_t **ret, size_t *ret_len, struct err *e) must_check;
/* What it holds, if it is a part of a file. */
int file_part_decode(const struct file_io *io, const uint8_t *msg, size_t len, Godwit__Ckpt__FilePart **ret,
		     struct err *e) must_check;
int file_homes_settle(struct state_target *d, struct err *e) must_check;

/* file_open.c: makes targets of what d->job says */
int file_open_all(struct state_target *d, bool late, struct err *e) must_check;
int file_open_target(struct state_target *d, struct file_target *f, struct err *e) must_check;
int file_reopen(int base, uint64_t flags) must_check;
int file_take_end(int end, uint64_t flags) must_check;
int file_home_of(struct state_target *d, const Godwit__Ckpt__OpenFile *m);
int file_targets_add(struct state_target *d, const Godwit__Ckpt__OpenFile *m, struct file_target **ret,
		     struct err *e) must_check;

/* pipe.c */
int pipe_target_open(struct state_target *d, const Godwit__Ckpt__OpenFile *m, struct err *e) must_check;
int pipe_targets_fill(struct state_target *d, struct err *e) must_check;
void pipe_targets_close(struct file_targets *t);

/* eventfd.c */
int eventfd_target_open(const Godwit__Ckpt__OpenFile *m);
int eventfd_target_set(int fd, const Godwit__Ckpt__OpenFile *m, struct err *e) must_check;

/* file_give.c */
struct file_give {
	int there, ours;
	bool cloexec;
};
/* `list` ascends by `there`. Numbers in use are replaced. */
int file_give(struct state_target *d, const struct file_give *list, size_t n, struct err *e) must_check;
/* Raises the limit and moves the socket for the job's highest number; begin also closes what the blank inherited.
 */
int file_give_room(struct state_target *d, int highest, struct err *e) must_check;
int file_give_begin(struct state_target *d, int highest, struct err *e) must_check;
int file_give_end(struct state_target *d, struct batch *b, struct err *e) must_check;

/* file_locks.c: the last of the files' turn, since closing a descriptor would release a POSIX lock */
int file_locks_take(struct state_target *d, struct batch *b, struct err *e) must_check;

/* file_restore.c */
int file_prepare(struct state_target *d, struct err *e) must_check;
int file_restore(struct state_target *d, struct batch *b, struct err *e) must_check;

/* A piece of a carried file, and the word that no more comes: to a destination, or out of an image. */
int file_part_send(const struct file_io *io, const Godwit__Ckpt__FilePart *part, struct err *e) must_check;
int file_part_send_end(const struct file_io *io, struct err *e) must_check;

#endif
