/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GW_STATE_FILE_TABLE_H
#define GW_STATE_FILE_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"
#include "state/state.h"

/*
 * Private to the file modules (file*.c, pipe.c, eventfd.c): the job's open file descriptions at the source.
 *
 * A *descriptor* is a number in the job; an *entry* is an open file description, or a mapped file, and has the id
 * that the checkpoint message uses. Ids stay the same from look to look as long as something of the same kind, on
 * the same inode and with the same access mode stands at the same number: which open file description it is
 * matters only for who shares it.
 */

struct fd_seen { /* a descriptor, as one look found it */
	int fd;
	bool cloexec;
	int flags; /* F_GETFL */
	int64_t pos;
	int owner_type, owner_pid, signal; /* F_GETOWN_EX, in our namespace; F_GETSIG */
	uint32_t owner_ids[2];
	struct stat st;
	uint32_t rank; /* in the kernel's order, within one inode */
	bool same;     /* description as the one before in that order */
	struct file_entry *entry;
};

struct file_entry {
	Godwit__Ckpt__OpenFile *m; /* always up to date; copied into the job's message by file_table_emit() */
	int fd;			   /* the lowest number that refers to it, -1: mapped only */
	int here;		   /* mapped only: our own descriptor of it, O_PATH or not; else -EBADF */
	bool seen;		   /* by the latest look */
	char *why;		   /* why it cannot move, NULL: it can */
	char *help;
	const Godwit__Ckpt__Job *emitted_in; /* job message that holds its copy, at this index */
	size_t emitted_at;
	/* what the destination got, for file_carry_push() */
	bool described; /* the destination has heard of it before the freeze */
	bool served;
	int64_t served_size, served_mtime_ns, served_ctime_ns, served_at_ns;
};

struct pipe_entry {
	uint32_t id;
	uint64_t dev, ino;
	uint32_t readers, writers; /* open file descriptions of the job */
	uint32_t size;
	uint32_t mode, uid, gid;
	bool packets, outside;
	char *path; /* FIFO: its name; NULL: pipe(2) */
};

struct file_probe {
	uint64_t dev;
	char *path; /* as the job's mount namespace names it */
	int dir;    /* of the directory it is in */
	int record; /* below /run, locked: ours; -1: none */
	char name[40];
	uint8_t nonce[16];
};

struct file_table {
	struct file_entry **entries; /* by id - 1 */
	size_t n_entries;
	struct fd_seen *fds; /* ascending numbers */
	size_t n_fds;
	struct pipe_entry *pipes;
	size_t n_pipes;
	struct file_probe *probes;
	size_t n_probes;
	int root;      /* root of the job's mount namespace */
	int ask_first; /* in the batch of ask: index of the first F_GETFD */
	size_t ask_n;
	bool locks_known;
};

#define FILE_FDS_MAX 100000 /* descriptors in one job */
#define FILE_PATH_MAX 4095

/* The table, made at the first call. */
struct file_table *file_table_get(struct state_source *s);
void file_table_free(struct file_table *t);

/* Looks at every descriptor of the job; classifies what is new. `stopped`: the job stands still, so a descriptor
 * that vanishes during the look is an error. */
int file_table_look(struct state_source *s, bool stopped, struct err *e) must_check;
/* Writes descriptors, files and pipes into s->job and s->process, in place of what is there. */
void file_table_emit(struct state_source *s);
void file_table_emit_entry(struct state_source *s, struct file_entry *f);
struct file_entry *file_table_add(struct file_table *t);
/* A descriptor of ours for that entry; caller closes. */
int file_entry_open(struct state_source *s, const struct file_entry *f, struct err *e) must_check;

/* file_kind.c: fills f->m from a descriptor of ours, or says in f->why what it is and why that cannot move. */
int file_classify(struct state_source *s, const struct fd_seen *seen, int here, struct file_entry *f,
		  struct err *e) must_check;
void file_fill_stat(Godwit__Ckpt__OpenFile *m, const struct stat *st);
void file_refuse(struct file_entry *f, const char *help, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void file_set_string(char **field, const char *text);
bool file_device_moves(dev_t rdev);

/* file_sock.c: "TCP connection to 1.2.3.4:80". `help` is set to a constant. */
void file_sock_words(int fd, char *words, size_t len, const char **ret_help);

/* file_flip.c: is the socket a connection to this host's flipd? Then fills what is to be known of it. */
bool file_flip_is(const struct state_source *s, int here);
int file_flip_fill(Godwit__Ckpt__OpenFile *m, struct err *e) must_check;

/* file_locks.c */
struct fdinfo {
	unsigned flags; /* O_CLOEXEC included, unlike F_GETFL */
	uint64_t eventfd_count;
	bool eventfd, semaphore;
};
int file_fdinfo_parse(const char *text, struct fdinfo *ret);
int file_fdinfo_read(int proc, int fd, struct fdinfo *ret) must_check;

struct lock_seen {
	Godwit__Ckpt__FileLock__Kind kind; /* NONE: a lease, or what else stands there */
	bool write;
	uint64_t start, len;
	char words[96]; /* the kernel's */
};
/* One line of fdinfo ("lock:" stripped) or of /proc/locks. -EBADMSG if it is none. */
int file_lock_parse(const char *line, struct lock_seen *ret, uint64_t *ret_ino) must_check;
/* Fills the locks of all entries; what cannot move makes the entry's `why`. Cheap if the job holds none. */
int file_locks_collect(struct state_source *s, struct err *e) must_check;

/* file_content.c */
#define FILE_HASH_LEN 32
int file_hash(int fd, const struct stat *st, uint8_t hash[static FILE_HASH_LEN], struct err *e) must_check;
int64_t file_time_ns(const struct timespec *t);
bool file_fs_is_network(uint32_t fs_type);
/* One probe for each file system that a written file is on; into s->requirements. */
int file_probe_make(struct state_source *s, struct err *e) must_check;

/* On an unnamed copy: the name of the original. Only root may set or see it. */
#define FILE_ORIGIN_XATTR "trusted.godwit.name"

/* file_lineage.c */
#define FILE_LINEAGE_LEN 16
/* Gives every written file a lineage: its own if it came here as a carried one, else a new one. */
void file_lineage_give(struct state_source *s);
/* Notes in which state the file of that name is left here. */
void file_lineage_note(const Godwit__Ckpt__OpenFile *m, const struct stat *st);
/* Is this the file's own older version, as it was left here? */
bool file_lineage_matches(const Godwit__Ckpt__OpenFile *m, const struct stat *st);

/* pipe.c */
int pipe_note(struct state_source *s, struct file_entry *f, int here, const struct fd_seen *seen, const char *path,
	      struct err *e) must_check;
void pipe_forget_ends(struct file_table *t);
void pipe_count_end(struct file_table *t, const struct file_entry *f);
int pipe_check_ends(struct state_source *s, bool stopped, struct err *e) must_check;
void pipe_emit(struct state_source *s);
int pipe_peek_all(struct state_source *s, struct err *e) must_check; /* job stopped, message emitted */

/* eventfd.c */
void eventfd_fill(Godwit__Ckpt__OpenFile *m, const struct fdinfo *info);

#endif
